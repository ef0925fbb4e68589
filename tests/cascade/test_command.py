"""`--then` through the process."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from support import onnxmodels
from support.processes import PATIENCE_S

from edge.app import cascade, fits, loading
from edge.cascade import gallery
from edge.errors import ConfigError
from edge.settings import layers

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


def settings(folder, *flags):
    return layers.read([str(f) for f in ("--model", folder / "first.onnx", "--state-dir", folder, *flags)], {}, "0")


def run(edge_run, folder, *flags):
    process = edge_run("--model", folder / "lit.onnx", "--source", folder / "p.png", "--mqtt", "none", "--threshold",
                       "0.5", "--sink", f"file:{folder / 'found.jsonl'}", *flags)  # fmt: skip
    return process.process.wait(PATIENCE_S), process.said()


def test_a_result_tells_what_the_second_model_says_of_each_object(edge_run, folder):
    code, said = run(edge_run, folder, "--then", folder / "colour.onnx", "--instances", "2")
    assert code == 0, said
    assert "the second model's file says little of itself" in said
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


@pytest.mark.parametrize("shape", [("n", 3), (1, 3, 1, 1), ("n", "d")])
def test_a_model_that_takes_any_number_of_pictures_gives_vectors_as_well(tmp_path, shape):
    mean = onnx.helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=len(shape) == 4)
    onnxmodels.save(tmp_path / "face.onnx", [mean], [onnxmodels.info("x", "float32", (shape[0], 3, 32, 32))],
                    [onnxmodels.info("y", "float32", shape)])  # fmt: skip
    np.savez(tmp_path / "known.npz", names=["a"], vectors=[[1.0, 0.0, 0.0]])
    loaded, known = cascade.open_second(
        settings(
            tmp_path,
            "--model",
            tmp_path / "face.onnx",
            "--then",
            tmp_path / "face.onnx",
            "--gallery",
            tmp_path / "known.npz",
        )
    )
    loaded.engine.close()
    assert known.width == 3


def test_a_second_model_of_another_kind_has_its_own_engine(tmp_path):
    onnxmodels.brightness(tmp_path / "colour.onnx")
    (tmp_path / "first.tflite").write_bytes(b"\0\0\0\0TFL3")
    named = ("--model", tmp_path / "first.tflite", "--engine", "litert", "--provider", "xnnpack")
    loaded, _ = cascade.open_second(settings(tmp_path, *named, "--then", tmp_path / "colour.onnx"))
    loaded.engine.close()
    assert loaded.engine.name == "onnxruntime"


@pytest.mark.parametrize(("labels", "refused"), [(("red", "green"), False), (("cat",), True), ((), False)])
def test_another_first_model_has_to_have_the_classes_that_are_looked_at(tmp_path, labels, refused):
    onnxmodels.one_box(tmp_path / "first.onnx")
    wanted = settings(tmp_path, "--then", tmp_path / "colour.onnx", "--then-labels", "red")
    loaded = loading.open_model(wanted)
    other = msgspec.structs.replace(loaded, manifest=msgspec.structs.replace(loaded.manifest, labels=labels))
    loaded.engine.close()
    with pytest.raises(ConfigError, match="no such label") if refused else contextlib.nullcontext():
        fits.check(wanted, other)


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


def test_a_gallery_with_a_damaged_byte_and_a_single_array_are_refused(tmp_path):
    file = tmp_path / "g.npz"
    np.savez_compressed(file, names=["a"], vectors=[[1.0]])
    whole = file.read_bytes()
    # Where what is compressed begins, of which zlib itself complains, and a version that is needed and nobody has.
    for place in (28, whole.index(b"PK\x01\x02") + 6):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with pytest.raises(ConfigError, match=r"numpy\.savez"):
            gallery.read(file, 0.5)
    with file.open("wb") as out:
        np.save(out, np.eye(3))
    with pytest.raises(ConfigError, match="one array, and no archive"):
        gallery.read(file, 0.5)


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
