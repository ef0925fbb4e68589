"""Every kind of source beside every kind of model: what no sample of it could be is told at the start."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from support.guessing import FLOAT, build, random

from edge.app import assembly, fits, loading
from edge.data.sample import Image, Payload, Sample, Sound
from edge.errors import ConfigError, SampleError
from edge.plugins import registry
from edge.preprocess import PreprocessorInfo
from edge.settings import layers
from edge.settings.settings import Settings
from edge.sources import uri as source_uri

NAMES = ["flow", "heat"]
FEATURES = [{"name": name} for name in NAMES]
MODELS = {
    "table": {"shape": [1, 2], "kind": "table", "features": FEATURES},
    "window": {"shape": [1, 3, 2], "kind": "table", "features": FEATURES, "window": {"size": 3, "hop": 1}},
    "tensor": {"shape": [1, 2], "kind": "tensor"},
    "image": {"shape": [1, 3, 8, 8], "kind": "image", "layout": "NCHW"},
    "audio": {"shape": [1, 16], "kind": "audio", "sample_rate": 16000, "window": {"size": 16, "hop": 16}},
}
REGISTERS = "flow=holding:0&heat=holding:1"
SOURCES = {
    "pictures": ["cat.jpg", "pictures/*.png", "camera:0", "picamera:", "clip.mp4", "rtsp://cam/1", "http://cam/1.jpg"],
    "sound": ["speech.wav", "microphone:"],
    "rows": ["rows.csv"],
    "readings": [f"modbus://plc?{REGISTERS}", f"modbus-rtu:/dev/ttyUSB0?{REGISTERS}", "sparkplug:plant/line1"],
    "": ["-", "rows.jsonl", "rows.npy", "arrays.npz", "folder/", "synthetic:3", "mqtt:a/b", "serial:/dev/ttyUSB0"],
}
TAKEN = {
    "table": {"rows", "readings"},
    "window": {"rows", "readings"},
    "tensor": {"rows", "readings"},
    "image": {"pictures"},
    "audio": {"sound", "rows"},
}
PAIRS = [(kind, gives, uri) for kind in MODELS for gives, uris in SOURCES.items() for uri in uris]


def settings(folder: Path, kind: str, *flags: str) -> Settings:
    """Of a run with a model of that kind, which says so."""
    said = MODELS[kind]
    path = build(folder / "m.onnx", {"x": (FLOAT, said["shape"])}, {"y": random(1, 2)})
    manifest = {"name": "m", "task": "classify", "inputs": [{"name": "x", **said}], "outputs": [{"name": "y"}]}
    manifest["outputs"][0]["role"] = "scores"
    (folder / "m.onnx.json").write_text(json.dumps(manifest))
    return layers.read(["--model", str(path), *flags], {**os.environ, "HOME": str(folder)}, "0")


@pytest.mark.parametrize(("kind", "gives", "uri"), PAIRS)
def test_a_source_whose_every_sample_would_be_refused_is_told_at_the_start(tmp_path, kind, gives, uri):
    asked = settings(tmp_path, kind, "--source", uri)
    loaded = loading.open_model(asked)
    assert assembly.input_kind(loaded.manifest) == kind
    if not gives or gives in TAKEN[kind]:
        fits.check(asked, loaded)
        return
    with pytest.raises(ConfigError, match=rf"brings {gives}, and m\.onnx takes .*--source ") as told:
        fits.check(asked, loaded)
    assert told.value.exit_code == 2
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("kind", MODELS)
def test_topics_joined_into_a_row_are_readings(tmp_path, kind):
    asked = settings(tmp_path, kind, "--join", "flow=a/flow", "--join", "heat=a/heat")
    loaded = loading.open_model(asked)
    if "readings" in TAKEN[kind]:
        fits.check(asked, loaded)
        return
    with pytest.raises(ConfigError, match=r"--join brings readings, and m\.onnx takes"):
        fits.check(asked, loaded)


def payload(gives: str, kind: str) -> Payload:
    """One that a model of the kind would take, if it took any such."""
    if gives == "pictures":
        return Image(np.zeros((8, 8, 3), np.uint8))
    if gives == "sound":
        return Sound(np.zeros(16, np.float32), 16000, last=True)
    values = [0.5] * (16 if kind == "audio" else 2)
    return dict(zip(NAMES, values, strict=False)) if gives == "readings" and kind != "tensor" else values


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("gives", [gives for gives in SOURCES if gives])
def test_what_the_start_refuses_is_what_the_preprocessor_refuses(tmp_path, kind, gives):
    preprocess = assembly.make_preprocessor(loading.open_model(settings(tmp_path, kind)))
    sample = Sample(payload(gives, kind), "s", 0, 0)
    try:
        parts = preprocess.split(sample.payload)
        for part in parts:
            preprocess(Sample(part, "s", 0, 0))
        took = True
    except SampleError:
        took = False
    assert took == (gives in TAKEN[kind])
    assert took == (gives in registry.declared(PreprocessorInfo, kind).takes)


@pytest.mark.parametrize(("gives", "uri"), [(gives, uri) for gives, uris in SOURCES.items() for uri in uris])
def test_what_a_source_gives_is_what_it_declares(gives, uri):
    assert source_uri.parse(uri).declared.gives == gives


def test_a_place_inside_the_input_may_hold_what_the_model_takes(tmp_path):
    asked = settings(tmp_path, "image", "--source", "rows.csv", "--input-path", "$[0]")
    fits.check(asked, loading.open_model(asked))


def test_a_password_in_the_address_is_not_told(tmp_path):
    asked = settings(tmp_path, "table", "--source", "rtsp://admin:geheim@cam/1")
    with pytest.raises(ConfigError, match="rtsp://cam/1 brings pictures") as told:
        fits.check(asked, loading.open_model(asked))
    assert "geheim" not in str(told.value)


def test_flags_that_make_a_picture_of_arrays_are_told(tmp_path):
    path = build(tmp_path / "m.onnx", {"x": (FLOAT, ["n", "a", "b", "c"])}, {"y": random(1, 2)})
    manifest = {"name": "m", "task": "raw", "inputs": [{"name": "x", "kind": "tensor"}], "outputs": [{"name": "y"}]}
    (tmp_path / "m.onnx.json").write_text(json.dumps(manifest))
    asked = layers.read(["--model", str(path), "--source", "cat.jpg"], {**os.environ, "HOME": str(tmp_path)}, "0")
    with pytest.raises(ConfigError, match=r"where its input holds a picture: --input-size .*; else name one"):
        fits.check(asked, loading.open_model(asked))


def test_flags_that_make_windows_of_sound_are_told(tmp_path):
    asked = settings(tmp_path, "tensor", "--source", "speech.wav")
    with pytest.raises(ConfigError, match="where its input holds sound, --frontend and --window say how it is made"):
        fits.check(asked, loading.open_model(asked))
