"""Each model of the folder gives what its README says, through the process.

Scores are within 0.05, boxes within an overlap (IoU) of 0.9.
"""

from __future__ import annotations

import csv
import json

import numpy as np
import onnx
import pytest

from edge.data.tensor import numpy_dtype
from edge.engines import graph_cache, onnxruntime
from edge.engines.litert import load
from edge.errors import SampleError
from edge.plugins.protocols import EngineOptions


def top(result: dict) -> dict:
    return result["predictions"][0]


def iou(a, b) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(0, width) * max(0, height)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def check_detections(found: list[dict], expected: list[tuple], frame: tuple[int, int], at_least: float) -> None:
    """`expected`: label, score, x y width height; every one is found, and nothing else above `at_least`."""
    left = [d for d in found if d["score"] >= at_least]
    for label, score, (x, y, width, height) in expected:
        box = (max(0, x), max(0, y), min(frame[0], x + width), min(frame[1], y + height))
        match = max(left, key=lambda d, label=label, box=box: (d["label"] == label) * iou(d["box"], box))
        assert match["label"] == label
        assert iou(match["box"], box) >= 0.9, (match, box)
        assert match["score"] == pytest.approx(score, abs=0.05)
        left.remove(match)
    assert not [d for d in left if d["score"] >= min(e[1] for e in expected) + 0.05]


CATS = "cls-mobilenetv2-uint8-tflite"


@pytest.mark.parametrize(
    ("picture", "index", "label", "score"),
    [
        ("cat.bmp", 286, "Egyptian cat", 0.789),
        ("parrot.jpg", 89, "macaw", 0.996),
        ("grace_hopper.bmp", 653, "military uniform", 0.922),
    ],
)
def test_mobilenet_knows_its_pictures(run, picture, index, label, score):
    (result,) = run(f"{CATS}/mobilenet_v2_1.0_224_quant.tflite", f"{CATS}/{picture}")
    assert (result["task"], top(result)["index"], top(result)["label"]) == ("classify", index, label)
    assert top(result)["score"] == pytest.approx(score, abs=0.05)


@pytest.mark.parametrize("model", ["SqueezeNet_fp16.onnx", "SqueezeNet_fp32_from_fp16.onnx"])
@pytest.mark.parametrize(
    ("picture", "label", "score"),
    [("fish.png", "tench, Tinca tinca", 0.738), ("kitten_224.png", "tabby, tabby cat", 0.931)],
)
def test_squeezenet_knows_its_pictures(run, model, picture, label, score):
    (result,) = run(f"cls-squeezenet-onnx/{model}", f"cls-squeezenet-onnx/{picture}")
    assert top(result)["label"] == label
    assert top(result)["score"] == pytest.approx(score, abs=0.005)


def test_squeezenet_in_float16_gives_the_sources_own_numbers(run, models):
    folder = models / "cls-squeezenet-onnx"
    (result,) = run(f"{folder.name}/SqueezeNet_fp16.onnx", f"{folder.name}/fish.png", "--top-k", "0")
    with (folder / "Squeezenet_fp16_fish_input_CPU.csv").open() as file:
        expected = {int(r[0]): float(r[1]) for r in csv.reader(file) if r and r[0].isdigit()}
    found = {p["index"]: p["score"] for p in result["predictions"]}
    assert max(abs(found[i] - v) for i, v in expected.items()) < 1e-5


@pytest.mark.parametrize("number", [0, 1, 2])
def test_mnist_reads_its_digits(run, models, tmp_path, number):
    prefix = f"test_data_set_{number}__" if number else ""
    tensor = onnx.TensorProto.FromString((models / f"cls-mnist8-onnx/{prefix}input_0.pb").read_bytes())
    values = onnx.numpy_helper.to_array(tensor)
    np.save(tmp_path / "digit.npy", values)
    (result,) = run("cls-mnist8-onnx/model.onnx", str(tmp_path / "digit.npy"))
    assert top(result)["index"] == [2, 0, 9][number]
    from PIL import Image

    Image.fromarray(np.rint(values[0, 0]).clip(0, 255).astype(np.uint8)).save(tmp_path / "digit.png")
    (picture,) = run("cls-mnist8-onnx/model.onnx", str(tmp_path / "digit.png"))
    assert top(picture)["index"] == [2, 0, 9][number]


@pytest.mark.parametrize(
    ("model", "picture", "score"),
    [
        ("vww_96_int8.tflite", "grace_hopper.bmp", 0.895), ("vww_96_float.tflite", "grace_hopper.bmp", 0.888),
        ("vww_96_int8.tflite", "cat.bmp", 0.047), ("vww_96_float.tflite", "cat.bmp", 0.028),
    ],
)  # fmt: skip
def test_visual_wake_words_sees_the_person(run, model, picture, score):
    (result,) = run(f"vww-96-int8-tflite/{model}", f"{CATS}/{picture}")
    assert {p["index"]: p["score"] for p in result["predictions"]}[1] == pytest.approx(score, abs=0.05)


SSD = "det-ssd-mobilenetv1-tflite/coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite"


def test_ssd_finds_cats_and_dogs(run):
    (result,) = run(SSD, "det-ssd-mobilenetv1-tflite/cats_and_dogs.jpg")
    expected = [
        ("cat", 0.668, (48, 398, 399, 196)), ("cat", 0.621, (596, 158, 440, 447)), ("cat", 0.539, (262, 396, 176, 206)),
        ("dog", 0.488, (81, 231, 584, 375)), ("dog", 0.477, (379, 208, 281, 400)),
    ]  # fmt: skip
    check_detections(result["predictions"], expected, (1200, 600), 0.43)


def test_ssd_finds_the_cat_and_the_tie(run):
    (cat,) = run(SSD, f"{CATS}/cat.bmp")
    check_detections(cat["predictions"][:1], [("cat", 0.719, (47, 45, 316, 289))], (512, 341), 0.5)
    (hopper,) = run(SSD, f"{CATS}/grace_hopper.bmp")
    assert {d["label"]: d["score"] for d in reversed(hopper["predictions"])}["person"] == pytest.approx(0.711, abs=0.05)
    assert {d["label"]: d["score"] for d in reversed(hopper["predictions"])}["tie"] == pytest.approx(0.645, abs=0.05)


def test_ultraface_finds_the_face(run):
    (result,) = run("det-ultraface-rfb320-onnx/version-RFB-320.onnx", "det-ultraface-rfb320-onnx/grace_hopper.bmp")
    check_detections(result["predictions"], [("face", 1.0, (172, 121, 184, 213))], (512, 600), 0.7)


def test_yolox_finds_the_cat_and_nothing_else(run):
    (result,) = run("det-yolox-nano-onnx/yolox_nano.onnx", "det-yolox-nano-onnx/cat.bmp")
    assert len(result["predictions"]) == 1
    check_detections(result["predictions"], [("cat", 0.737, (34, 59, 353, 270))], (512, 341), 0.3)


def test_yolox_finds_kites_and_people(run):
    (result,) = run("det-yolox-nano-onnx/yolox_nano.onnx", "det-yolox-nano-onnx/kite_and_cold.jpg")
    expected = [
        ("kite", 0.855, (590, 76, 83, 79)),
        ("person", 0.832, (111, 606, 56, 156)),
        ("person", 0.814, (210, 684, 66, 179)),
        ("kite", 0.743, (277, 232, 30, 46)),
        ("person", 0.616, (80, 505, 30, 61)),
        ("person", 0.464, (1081, 387, 23, 40)),
    ]
    check_detections(result["predictions"], expected, (1352, 900), 0.46)
    assert [p["score"] for p in result["predictions"]][6:10] == pytest.approx([0.462, 0.429, 0.379, 0.353], abs=0.05)


@pytest.mark.parametrize(
    ("sound", "index", "score"), [("yes", 2, 0.996), ("no", 3, 0.906), ("silence", 0, 0.477), ("noise", 0, 0.867)]
)
def test_micro_speech_hears_the_word(run, models, tmp_path, sound, index, score):
    folder = "audio-microspeech-kws-int8-tflite"
    (tmp_path / "labels.txt").write_text("silence\nunknown\nyes\nno\n")
    flags = ("--labels", str(tmp_path / "labels.txt"))
    (result,) = run(f"{folder}/micro_speech_quantized.tflite", f"{folder}/{sound}_1000ms.wav", *flags)
    assert (top(result)["index"], top(result)["label"]) == (index, ["silence", "unknown", "yes", "no"][index])
    assert top(result)["score"] == pytest.approx(score, abs=0.01)
    np.save(tmp_path / "features.npy", np.load(models / folder / "features.npz")[sound])
    (ready,) = run(f"{folder}/micro_speech_quantized.tflite", str(tmp_path / "features.npy"), *flags)
    assert top(ready)["index"] == index


def test_silero_hears_when_there_is_speech(run):
    results = run("audio-silero-vad-onnx/silero_vad.onnx", "audio-silero-vad-onnx/test.wav")
    speech = [next(p["score"] for p in r["predictions"] if p["label"] == "speech") for r in results]
    expected = [0.2083, 0.8179, 0.8912, 0.9964, 0.9992, 0.9999, 0.9999, 0.9998, 0.9994, 0.9999]
    assert len(speech) == 1875
    assert speech[:10] == pytest.approx(expected, abs=1e-3)
    assert np.mean(speech) == pytest.approx(0.7783, abs=1e-3)
    assert np.mean(np.array(speech) > 0.5) == pytest.approx(0.7744, abs=1e-3)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("hello_world_float.tflite", [0.0264, 0.8630, 0.9957, -0.0050, -1.0033]),
        ("hello_world_int8.tflite", [-0.0083, 0.8208, 1.0032, -0.0083, -1.0861]),
    ],
)
def test_hello_world_is_a_sine(run, tmp_path, model, expected):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(f"[{x}]\n" for x in (0, 1, 1.5708, 3.14159, 4.7)))
    results = run(f"reg-hello-world-tflite/{model}", str(rows))
    assert [top(r)["value"] for r in results] == pytest.approx(expected, abs=1e-4)


def test_point_history_names_its_gestures(run, models, tmp_path):
    with (models / "sensor-point-history-tflite/point_history.csv").open() as file:
        rows = [next_row[1:] for next_row in csv.reader(file)]
    chosen = tmp_path / "rows.jsonl"
    chosen.write_text("".join(json.dumps([float(v) for v in rows[i]]) + "\n" for i in (0, 1481, 2715)))
    results = run("sensor-point-history-tflite/point_history_classifier.tflite", str(chosen))
    assert [top(r)["label"] for r in results] == ["Stop", "Clockwise", "Counter Clockwise"]
    assert [top(r)["score"] for r in results] == pytest.approx([0.801, 0.995, 0.963], abs=0.001)


def test_toycars_autoencoders_agree(run, models, tmp_path):
    rows = np.random.RandomState(0).normal(-20, 8, (6, 640)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    scores = {}
    for kind in ("fp32", "int8"):
        results = run(f"anomaly-toycar-ad-tflite/ad01_{kind}.tflite", str(tmp_path / "rows.npy"), "--threshold", "1")
        assert [r["task"] for r in results] == ["anomaly"] * 6
        assert all(top(r)["is_anomaly"] for r in results)
        scores[kind] = [top(r)["score"] for r in results]
    engine = load(models / "anomaly-toycar-ad-tflite/ad01_fp32.tflite", EngineOptions())
    back = engine.infer({"input_1": rows})["Identity"]
    assert scores["fp32"] == pytest.approx(((rows - back) ** 2).mean(axis=1).tolist(), rel=1e-4)
    assert scores["int8"] == pytest.approx(scores["fp32"], rel=0.1)


def test_dtln_keeps_its_state(run, tmp_path):
    magnitude = np.abs(np.random.RandomState(0).randn(1, 1, 257)).astype(np.float32)
    lines = tmp_path / "rows.jsonl"
    lines.write_text(2 * (json.dumps(magnitude.tolist()) + "\n"))
    first, second = run("multi-dtln-denoise-onnx/model_1.onnx", str(lines))
    assert [p["name"] for p in first["predictions"]] == ["activation_2"]
    assert np.mean(top(first)["data"]) == pytest.approx(0.28047, abs=1e-4)
    assert top(second)["data"] != top(first)["data"]


def test_a_model_read_from_its_optimised_graph_gives_the_same_to_the_bit(models, tmp_path, monkeypatch):
    monkeypatch.setattr(graph_cache, "LEAST_BYTES", 1)
    rng = np.random.default_rng(3)
    seen = 0
    for path in sorted(models.glob("*/*.onnx")):
        options = EngineOptions(cache_dir=tmp_path / f"state{seen}")
        plain = onnxruntime.load(path, EngineOptions())
        onnxruntime.load(path, options)
        assert list(options.cache_dir.glob("graphs/*.onnx")), path
        cached = onnxruntime.load(path, options)
        assert (cached.inputs, cached.outputs, cached.metadata) == (plain.inputs, plain.outputs, plain.metadata)
        tensors = {i.name: rng.random(i.fixed()).astype(numpy_dtype(i.dtype)) for i in plain.inputs}
        tensors |= {i.name: np.full(i.fixed(), 16000, np.int64) for i in plain.inputs if i.dtype == "int64"}
        try:
            expected = plain.infer(tensors)
        except SampleError:
            continue
        found = cached.infer(tensors)
        assert all(found[name].tobytes() == values.tobytes() for name, values in expected.items()), path
        seen += 1
    assert seen >= 6
