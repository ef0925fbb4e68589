"""What is laid out, read by those for whom it is: pycocotools, and Label Studio's own SDK."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from support import peers
from support.capturing import picture, result, row

from edge.capture.export import write
from edge.capture.record import Candidate
from edge.data.result import Classification, Detection

pytestmark = [
    pytest.mark.peers,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="one Python is enough for other people's packages"),
]

COCO = """
import sys
from pycocotools.coco import COCO
read = COCO(sys.argv[1])
masks = [read.annToMask(a).sum() for a in read.anns.values() if a["segmentation"]]
print(len(read.imgs), len(read.getAnnIds(catIds=read.getCatIds(["cat"]), areaRng=[1, 1e9])), len(masks), masks[0] > 0)
"""
LABEL_STUDIO = """
import json, sys
from label_studio_sdk.label_interface import LabelInterface
interface = LabelInterface(open(sys.argv[1] + "/label-studio.xml").read())
interface.validate()
for task in json.load(open(sys.argv[1] + "/label-studio.json")):
    assert interface.validate_task({"data": task["data"]})
    for prediction in task["predictions"]:
        print(interface.validate_prediction(prediction, return_errors=True))
"""


def said(program: str, *arguments: object) -> list[str]:
    bins = peers.environment(peers.CACHE, "labelling", "pycocotools", "label-studio-sdk")
    done = subprocess.run([bins / "python", "-c", program, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def found(seq: int) -> Candidate:
    cat = Detection(0, "cat", 0.9, (1.0, 2.0, 30.0, 40.0))
    masked = Detection(1, "dog", 0.8, (0.0, 0.0, 32.0, 24.0), polygons=[[(0.0, 0.0), (32.0, 0.0), (32.0, 24.0)]])
    kept = picture(seq)
    return Candidate(kept.picked, kept.payload, kept.frame, result(seq, [cat, masked]))


def about(task: str) -> bytes:
    return json.dumps({"task": task, "labels": ["cat", "dog"]}).encode()


def test_pycocotools_reads_the_boxes_and_the_masks(open_store, tmp_path):
    open_store(about=about("detect")).write([found(1), found(2)], 1)
    list(write(tmp_path / "kept", "coco"))

    assert said(COCO, tmp_path / "kept" / "coco.json")[-1] == "2 2 2 True"


@pytest.mark.parametrize("task", ["detect", "classify"])
def test_label_studio_takes_the_tasks_and_finds_no_fault_in_the_predictions(open_store, tmp_path, task):
    classified = Candidate(row(3).picked, {"x": 1}, None, result(3, [Classification(0, "cat", 0.5)]))
    open_store(about=about(task)).write([found(1), found(2)] if task == "detect" else [classified], 1)
    list(write(tmp_path / "kept", "label-studio"))

    assert set(said(LABEL_STUDIO, tmp_path / "kept")) == {"[]"}
