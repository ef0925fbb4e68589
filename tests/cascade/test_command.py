"""`--then` through the process."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support import onnxmodels
from support.processes import PATIENCE_S

from edge.cascade import gallery
from edge.errors import ConfigError

cv2 = pytest.importorskip("cv2")


@pytest.fixture
def folder(tmp_path):
    """A detector of what is lit, a model that tells colours, and a picture of a red thing and a green one."""
    onnxmodels.blobs(tmp_path / "lit.onnx", 64)
    onnxmodels.brightness(tmp_path / "colour.onnx", 32)
    (tmp_path / "colour.labels.txt").write_text("red\ngreen\nblue\n")
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[4:30, 4:30, 2] = 255
    picture[34:60, 34:60, 1] = 255
    cv2.imwrite(str(tmp_path / "p.png"), picture)
    return tmp_path


def run(edge_run, folder, *flags):
    process = edge_run("--model", folder / "lit.onnx", "--source", folder / "p.png", "--mqtt", "none", "--threshold",
                       "0.5", "--sink", f"file:{folder / 'found.jsonl'}", *flags)  # fmt: skip
    return process.process.wait(PATIENCE_S), process.said()


def test_a_result_tells_what_the_second_model_says_of_each_object(edge_run, folder):
    code, said = run(edge_run, folder, "--then", folder / "colour.onnx", "--instances", "2")
    assert code == 0, said
    (line,) = (folder / "found.jsonl").read_text().splitlines()
    assert sorted(p["then"]["predictions"][0]["label"] for p in json.loads(line)["predictions"]) == ["green", "red"]


def test_a_gallery_is_read_from_a_file(edge_run, folder):
    np.savez(folder / "known.npz", names=["apple"], vectors=[[1.0, 0.0, 0.0]])
    code, said = run(edge_run, folder, "--then", folder / "colour.onnx", "--gallery", folder / "known.npz")
    assert code == 0, said
    (line,) = (folder / "found.jsonl").read_text().splitlines()
    named = [p["then"]["predictions"] for p in json.loads(line)["predictions"]]
    assert [n[0]["label"] for n in named if n] == ["apple"]


def test_the_page_says_how_a_gallery_is_made(folder):
    page = (Path(__file__).parents[2] / "docs" / "CASCADE.md").read_text()
    code = re.search(r"<!-- test: gallery -->\n```python\n(.*?)```", page, re.DOTALL)[1]
    (folder / "colour.onnx").rename(folder / "face.onnx")
    for name, colour in (("ada", (0, 0, 255)), ("grace", (0, 255, 0))):
        cv2.imwrite(str(folder / f"{name}.jpg"), np.full((32, 32, 3), colour, np.uint8))
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    known = gallery.read(folder / "faces.npz", 0.5)
    assert known.named(np.array([0.9, 0.0, 0.0]))[0].label == "Ada"


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"names": ["a"]}, "no `vectors` in it"),
        ({"names": [["a"]], "vectors": [[1.0]]}, "texts [n] belong there"),
        ({"names": [1], "vectors": [[1.0]]}, "texts [n] belong there"),
        ({"names": ["a"], "vectors": [1.0]}, "numbers [n, d] belong there"),
        ({"names": ["a", "b"], "vectors": [[1.0]]}, "2 names for 1 vectors"),
        ({"names": ["a", "b"], "vectors": [[1.0], [0.0]]}, "vector 1 is all 0"),
        ({"names": ["a"], "vectors": [[np.nan]]}, "vector 0 is all 0 or not finite"),
        ({"names": np.array([{}], dtype=object), "vectors": [[1.0]]}, "pickle"),
    ],
)
def test_a_gallery_that_cannot_be_meant_is_refused(tmp_path, parts, reason):
    np.savez(tmp_path / "g.npz", **parts)
    with pytest.raises(ConfigError, match=re.escape(reason)):
        gallery.read(tmp_path / "g.npz", 0.5)


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive"])
def test_what_is_no_gallery_is_refused(tmp_path, content):
    (tmp_path / "g.npz").write_bytes(content)
    with pytest.raises(ConfigError, match=r"numpy\.savez"):
        gallery.read(tmp_path / "g.npz", 0.5)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--then-labels", "car"], "name it by --then FILE"),
        (["--then", "{colour}", "--then-labels", "gren"], "did you mean green?"),
        (["--then", "{colour}", "--gallery", "{lit}"], "numpy.savez"),
        (["--then", "{colour}", "--gallery-score", "0.3"], "name it by --gallery FILE"),
        (["--then", "{colour}", "--then-margin", "11"], "from 0 to 10"),
    ],
)
def test_what_does_not_go_together_is_refused(edge_run, folder, flags, reason):
    (folder / "lit.labels.txt").write_text("red\ngreen\nblue\n")
    names = {"colour": folder / "colour.onnx", "lit": folder / "lit.onnx"}
    code, said = run(edge_run, folder, *(flag.format(**names) for flag in flags))
    assert code == 2
    assert reason in said
