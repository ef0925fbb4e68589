"""What is kept, as COCO, as tasks of Label Studio, and as one file of lines."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.capturing import SCORE, picture, result, row

from edge.capture.export import write
from edge.capture.record import Candidate
from edge.capture.rules import TRIAL, picked
from edge.data.result import Anomaly, Classification, Detection, Regression, Segmentation, Text
from edge.errors import ConfigError

CAT = Detection(1, "cat", 0.9, (-4.0, 8.0, 32.0, 40.0))
OUT = Detection(1, "cat", 0.9, (70.0, 8.0, 80.0, 40.0))
POSE = Detection(0, "person", 0.7, (0.0, 0.0, 32.0, 24.0), keypoints=[(16.0, 12.0, 0.9), (0.0, 0.0, 0.0)])
MASK = Detection(0, "person", 0.8, (0.0, 0.0, 32.0, 24.0), polygons=[[(0.0, 0.0), (32.0, 0.0), (32.0, 24.0)]])


def seen(seq: int, *predictions) -> Candidate:
    kept = picture(seq)
    return Candidate(kept.picked, kept.payload, kept.frame, result(seq, predictions))


def about(task: str, *labels: str) -> bytes:
    return json.dumps({"schema": 1, "task": task, "labels": labels}).encode()


def exported(folder: Path, layout: str) -> tuple[list[str], list | dict]:
    said = list(write(folder, layout))
    return said, json.loads((folder / ("coco.json" if layout == "coco" else "label-studio.json")).read_text())


def test_coco_holds_each_picture_with_what_was_found_cut_at_its_edges(open_store, tmp_path):
    store = open_store(about=about("detect", "person", "cat"))
    store.write([seen(1, CAT, OUT), seen(2), seen(3, POSE, MASK)], 1)
    store.write([row(4)], 1)
    said, coco = exported(tmp_path / "kept", "coco")

    assert said == [f"{tmp_path / 'kept' / 'coco.json'}: 3 samples"]
    assert [(i["id"], i["width"], i["height"]) for i in coco["images"]] == [(1, 64, 48), (2, 64, 48), (3, 64, 48)]
    assert all((tmp_path / "kept" / image["file_name"]).is_file() for image in coco["images"])
    assert [(c["id"], c["name"]) for c in coco["categories"]] == [(1, "person"), (2, "cat")]
    cat, pose, mask = coco["annotations"]
    assert (cat["image_id"], cat["category_id"], cat["bbox"], cat["area"]) == (1, 2, [0, 8, 32, 32], 1024)
    assert (pose["keypoints"], pose["num_keypoints"]) == ([16, 12, 2, 0, 0, 0], 1)
    assert coco["categories"][0]["keypoints"] == ["0", "1"]
    assert mask["segmentation"] == [[0, 0, 32, 0, 32, 24]]


def test_in_coco_a_class_is_of_the_whole_picture(open_store, tmp_path):
    open_store(about=about("classify", "cat")).write([picture(1)], 1)
    _, coco = exported(tmp_path / "kept", "coco")

    assert [(a["bbox"], a["category_id"]) for a in coco["annotations"]] == [([0, 0, 64, 48], 1)]


@pytest.mark.parametrize(("task", "says"), [("regress", "no place for regress"), ("classify", "none is kept")])
def test_what_coco_cannot_hold_is_refused(open_store, tmp_path, task, says):
    open_store(about=about(task)).write([row(1)], 1)

    with pytest.raises(ConfigError, match=says):
        list(write(tmp_path / "kept", "coco"))
    assert not (tmp_path / "kept" / "coco.json").exists()


@pytest.mark.parametrize(
    ("task", "labels", "predictions", "found"),
    [
        ("detect", ("cat",), [CAT], ("box", "rectanglelabels", {"x": 0, "y": 100 / 6, "width": 50, "height": 200 / 3,
                                                               "rotation": 0, "rectanglelabels": ["cat"]})),
        ("detect", ("person",), [MASK], ("outline", "polygonlabels", {
            "points": [[0, 0], [50, 0], [50, 50]], "polygonlabels": ["person"]})),
        ("classify", ("a<b&c",), [Classification(0, "a<b&c", 0.5)], ("label", "choices", {"choices": ["a<b&c"]})),
        ("anomaly", (), [Anomaly(0.9, True)], ("label", "choices", {"choices": ["anomaly"]})),
        ("segment", ("sky",), [Segmentation(["sky"], [1.0])], ("label", "choices", {"choices": ["sky"]})),
        ("regress", (), [Regression("y", 1.5)], ("number", "number", {"number": 1.5})),
        ("text", (), [Text("A 1", 0.5)], ("text", "textarea", {"text": ["A 1"]})),
    ],
)  # fmt: skip
def test_a_task_of_label_studio_fits_the_interface_beside_it(open_store, tmp_path, task, labels, predictions, found):
    open_store(about=about(task, *labels)).write([seen(1, *predictions)], 1)
    _, (one,) = exported(tmp_path / "kept", "label-studio")

    ((said,),) = [prediction["result"] for prediction in one["predictions"]]
    assert (said["from_name"], said["type"]) == found[:2]
    assert said["value"] == {k: pytest.approx(v) if isinstance(v, float) else v for k, v in found[2].items()}
    interface = ElementTree.parse(tmp_path / "kept" / "label-studio.xml").getroot()
    (control,) = [e for e in interface if e.get("name") == said["from_name"]]
    assert control.tag.lower() == said["type"]
    assert control.get("toName") == said["to_name"] == interface[0].get("name")
    if len(control):
        assert {choice.get("value") for choice in control} >= set(said["value"][said["type"]])
    assert one["data"]["image"].startswith("/data/local-files/?d=kept/random-")


def test_a_row_is_a_table_by_name(open_store, tmp_path):
    open_store(about=about("classify", "cat")).write([row(1), row(2, payload=[1, 2])], 1)
    _, tasks = exported(tmp_path / "kept", "label-studio")

    assert [task["data"]["row"] for task in tasks] == [{"x": 1}, {"0": 1, "1": 2}]
    assert 'Table name="sample" value="$row"' in (tmp_path / "kept" / "label-studio.xml").read_text()


def test_a_sample_that_was_kept_twice_is_told_once_with_both_reasons(open_store, tmp_path):
    store, trial = open_store(), result(1, [Classification(1, "dog", 0.7)])
    store.write([row(1, SCORE)], 3)
    store.write([Candidate(picked([TRIAL]), {"x": 1}, None, result(1), trial)], 6)
    list(write(tmp_path / "kept", "jsonl"))

    (line,) = (tmp_path / "kept" / "samples.jsonl").read_text().splitlines()
    assert json.loads(line)["reasons"] == ["score<0.6", "trial-differs"]
    assert json.loads(line)["trial"]["predictions"][0]["label"] == "dog"
    assert json.loads(line)["row"] == {"x": 1}


def test_damaged_lines_and_files_that_are_gone_or_lie_elsewhere_are_left_out_and_told(open_store, tmp_path):
    folder = tmp_path / "kept"
    open_store().write([picture(1), picture(2), picture(3)], 1)
    (segment,) = folder.glob("*.jsonl")
    first, second, third = segment.read_text().splitlines()
    outside = json.dumps({**json.loads(second), "file": "../secret.jpg"})
    segment.write_text(f"{first}\n{outside}\n{third}\n{{half\n")
    (folder / json.loads(third)["file"]).unlink()
    (tmp_path / "secret.jpg").write_bytes(b"x")
    said = list(write(folder, "jsonl"))

    assert said == [f"{folder / 'samples.jsonl'}: 1 samples; 3 left out: damaged, or the file is gone"]


def test_an_empty_folder_is_an_empty_list(open_store, tmp_path):
    open_store()
    _, tasks = exported(tmp_path / "kept", "label-studio")

    assert tasks == []


def test_exports_are_for_the_owner_alone_as_the_samples_are(open_store, tmp_path):
    open_store(about=about("classify", "cat")).write([picture(1)], 1)
    for layout in ("jsonl", "coco", "label-studio"):
        list(write(tmp_path / "kept", layout))

    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "kept").iterdir()} == {0}


@pytest.mark.parametrize(
    "result_of",
    [
        '{"predictions":5}',
        '{"predictions":[7]}',
        '{"predictions":[{"label":"cat","box":[null,"1",2,3]}]}',
        '{"predictions":[{"label":"cat","box":[0,0,1]}]}',
        '{"predictions":[{"label":"cat","box":[0,0,1,1],"polygons":[5]}]}',
        '{"predictions":[{"label":"cat","box":[0,0,1,1],"keypoints":[[1]]}]}',
        '{"predictions":[],"model":"a text"}',
    ],
)
@pytest.mark.parametrize("layout", ["coco", "label-studio"])
def test_what_is_no_result_in_a_line_is_left_out_and_said(open_store, tmp_path, result_of, layout):
    open_store(about=about("detect", "cat")).write([seen(1, CAT)], 1)
    (segment,) = (tmp_path / "kept").glob("*.jsonl")
    (file,) = (tmp_path / "kept").glob("*.jpg")
    line = f'{{"id":"x","reasons":[],"file":"{file.name}","width":9,"height":9,"result":{result_of}}}\n'
    segment.write_text(segment.read_text() + line)

    said, _ = exported(tmp_path / "kept", layout)
    assert said[-1].endswith("1 samples; 1 left out: damaged, or the file is gone")


def test_a_folder_in_the_place_of_lines_costs_only_itself(open_store, tmp_path):
    open_store().write([row(1)], 1)
    (tmp_path / "kept" / "random-20260101T000000-0123abcd-000009.jsonl").mkdir()

    assert list(write(tmp_path / "kept", "jsonl")) == [
        f"{tmp_path / 'kept' / 'samples.jsonl'}: 1 samples; 1 left out: damaged, or the file is gone"
    ]
