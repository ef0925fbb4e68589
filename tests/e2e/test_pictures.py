"""Pictures, videos and models that are not what they should be, through the process."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image
from support import tinytflite

EDGE_RUN = str(Path(sys.executable).with_name("edge-run"))


def run(*flags: str) -> tuple[int, list[dict], str]:
    done = subprocess.run(
        [EDGE_RUN, *flags, "--mqtt", "none"], capture_output=True, text=True, timeout=150, check=False
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.fixture
def model(tmp_path) -> Path:
    """The mean of each colour, as three classes."""
    graph = helper.make_graph(
        [helper.make_node("GlobalAveragePool", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 1, 1])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "colour.onnx"
    onnx.save(made, path)
    (tmp_path / "labels.txt").write_text("red\ngreen\nblue\n")
    return path


def picture(
    color: tuple[int, int, int], kind: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (20, 30)
) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, color).convert(mode).save(file, kind)
    return file.getvalue()


def bomb() -> bytes:
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    packed = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def test_what_is_wrong_with_one_picture_costs_the_others_nothing(model, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    noise = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)).save(noise, "JPEG")
    content = {
        "a-red.png": picture((255, 0, 0)),
        "b-truncated.jpg": noise.getvalue()[:2000],
        "c-green.bmp": picture((0, 255, 0), "BMP"),
        "d-bomb.png": bomb(),
        "e-one-pixel.png": picture((0, 0, 255), size=(1, 1)),
        "f-text.jpg": b"this is no picture",
        "g-cmyk.jpg": picture((0, 255, 0), "JPEG", "CMYK"),
        "h-grey.png": picture((9, 9, 9), mode="L"),
        "i-blue.webp": picture((0, 0, 255), "WEBP"),
    }
    for name, data in content.items():
        (folder / name).write_bytes(data)

    code, results, log = run("--model", str(model), "--source", str(folder))

    named = [(Path(r["source"]).name[0], r["predictions"][0]["label"]) for r in results if "predictions" in r]
    assert code == 0
    assert [n for n in named if n[0] != "h"] == [
        ("a", "red"),
        ("c", "green"),
        ("e", "blue"),
        ("g", "green"),
        ("i", "blue"),
    ]
    assert "truncated" in log or "damaged" in log


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (lambda: tinytflite.build(tinytflite.CUSTOM, custom="MyOp"), "no operator 'MyOp'"),
        (lambda: tinytflite.build(version=9), "schema version 9"),
        (lambda: tinytflite.build()[:200], "LiteRT cannot load it"),
        (lambda: b"\x00\x00\x00\x00TFL3" + bytes(50), "LiteRT cannot load it"),
        (lambda: picture((1, 2, 3), "JPEG"), "this is a JPEG picture"),
    ],
    ids=["custom operator", "wrong schema", "truncated", "nothing behind the head", "a picture"],
)
def test_a_model_that_cannot_run_ends_the_process_with_3_and_one_line(tmp_path, data, said):
    path = tmp_path / "m.tflite"
    path.write_bytes(data())
    code, results, log = run("--model", str(path), "--source", "synthetic:1")
    assert (code, results) == (3, [])
    lines = [line for line in log.splitlines() if not line.startswith("INFO:")]
    assert len(lines) == 1
    assert said in lines[0]


def test_a_video_that_ends_in_the_middle_ends_with_5_and_its_pictures_are_told(model, film):
    path = film("film.avi", "-c:v", "mjpeg")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    code, results, log = run("--model", str(model), "--source", str(path))
    assert code == 5
    assert 5 < len(results) < 25
    assert "ends in the middle" in log


def damaged() -> bytes:
    """A JPEG that lacks a half of its scan, and ends as it should."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()[: len(file.getvalue()) // 2] + b"\xff\xd9"


def test_a_jpeg_with_a_damaged_scan_is_skipped_and_told(model, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(damaged())
    (folder / "b.jpg").write_bytes(picture((255, 0, 0), "JPEG"))
    code, results, log = run("--model", str(model), "--source", str(folder))
    assert (code, [r["predictions"][0]["label"] for r in results]) == (0, ["red"])
    assert "a damaged JPEG picture: Corrupt JPEG data" in log
    assert not [line for line in log.splitlines() if line.startswith("Corrupt")]


def test_a_video_goes_on_behind_a_damaged_place(model, film):
    path = film("film.avi", "-c:v", "mjpeg")
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    path.write_bytes(data)
    code, results, log = run("--model", str(model), "--source", str(path))
    assert code == 0
    assert 15 < len(results) < 30
    assert f"for 30 pictures, {len(results)} could be read: the others are damaged" in log or "goes on behind it" in log


def test_labels_that_do_not_fit_the_outputs_leave_numbers_and_are_told(model, tmp_path):
    (tmp_path / "labels.txt").write_text("red\n")
    (tmp_path / "p.png").write_bytes(picture((0, 0, 255)))
    _, results, log = run("--model", str(model), "--source", str(tmp_path / "p.png"))
    assert {p["label"] for p in results[0]["predictions"]} == {"0", "1", "2"}
    assert "1 labels for a model of 3 classes" in log


def test_a_detector_whose_outputs_nobody_knows_is_told_with_their_shapes(model, tmp_path):
    (tmp_path / "p.png").write_bytes(picture((0, 0, 255)))
    code, _, log = run("--model", str(model), "--source", str(tmp_path / "p.png"), "--task", "detect")
    assert code == 2
    assert "no decoder is known to fit the outputs y [1, 3, 1, 1]; name one with --decoder" in log


def test_flags_that_were_guessed_give_the_same_result_when_given_back(model, tmp_path):
    (tmp_path / "p.png").write_bytes(picture((200, 30, 90)))
    _, (guessed,), log = run("--model", str(model), "--source", str(tmp_path / "p.png"))
    flags = next(line for line in log.splitlines() if "flags=" in line).partition("flags=")[2]
    _, (given,), _ = run("--model", str(model), "--source", str(tmp_path / "p.png"), *flags.split())
    assert given["predictions"] == guessed["predictions"]


def remembering(path: Path, shape: list[int | str]) -> Path:
    """Pictures that leave a trace: what is told is the sum of all so far. `shape`: of the state that is fed back."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["src"], ["mean"]),
        helper.make_node("Add", ["mean", "r1i"], ["r1o"]),
        helper.make_node("Flatten", ["r1o"], ["sums"]),
    ]
    value = helper.make_tensor_value_info
    inputs = [value("src", TensorProto.FLOAT, [1, 3, 16, 16]), value("r1i", TensorProto.FLOAT, shape)]
    outputs = [value("sums", TensorProto.FLOAT, [1, 3]), value("r1o", TensorProto.FLOAT, shape)]
    made = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    onnx.save(made, path)
    return path


@pytest.mark.parametrize("shape", [[1, 3, 1, 1], ["b", "c", "h", "w"]])
def test_the_state_of_a_model_that_takes_pictures_is_fed_back_from_one_to_the_next(tmp_path, shape):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, red in (("a", 10), ("b", 20), ("c", 40)):
        (folder / f"{name}.png").write_bytes(picture((red, 0, 0)))
    path = remembering(tmp_path / "sums.onnx", shape)

    code, results, log = run(
        "--model", str(path), "--source", f"{folder}/", "--task", "raw", "--mean", "0", "--std", "1"
    )

    assert code == 0, log
    (first, *_), *rest = [[p for p in r["predictions"] if p["name"] == "sums"] for r in results]
    assert [first["data"][0], *(r[0]["data"][0] for r in rest)] == pytest.approx([10, 30, 70])
    assert all({p["name"] for p in r["predictions"]} == {"sums"} for r in results)
