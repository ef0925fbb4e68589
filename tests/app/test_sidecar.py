from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from support.guessing import build, detections, picture, random

from edge.app import loading, sidecar
from edge.errors import ModelError
from edge.settings import layers


def described(path: Path, *flags: str) -> dict:
    return sidecar.document(opened(path, *flags))


def opened(path: Path, *flags: str) -> loading.Loaded:
    return loading.open_model(
        layers.read(["--model", str(path), *flags], {**os.environ, "HOME": str(path.parent)}, "0")
    )


OUTPUTS = {
    "classes": {"y": random(1, 5, low=-4, high=4)},
    "boxes": {"y": detections(300)[..., :6]},
    "anomalib": {"pred_score": random(1), "pred_label": np.array([1])},
    "raw": {"y": random(1, 7, 3, 3)},
}


@pytest.mark.parametrize("outputs", OUTPUTS)
def test_what_is_described_says_the_same_as_a_sidecar(tmp_path, outputs):
    path = build(tmp_path / "m.onnx", picture(), OUTPUTS[outputs])
    before = opened(path).manifest
    (tmp_path / "m.onnx.json").write_text(json.dumps(described(path)))
    after = opened(path)
    assert after.manifest == before
    assert (after.guesses, after.warnings) == ((), ())


def test_it_says_what_is_guessed_and_why(tmp_path):
    found = described(build(tmp_path / "m.onnx", picture(), OUTPUTS["classes"]))["described"]
    assert found["known by"]["inputs.mean"] == "a guess by layout and size"
    assert "--activation softmax" in found["flags that say the same"]
    assert any("--mean" in w for w in found["warnings"])


def test_what_is_edited_is_what_counts(tmp_path):
    path = build(tmp_path / "m.onnx", picture(), OUTPUTS["classes"])
    edited = described(path)
    edited["inputs"][0] |= {"color": "BGR", "mean": [1, 2, 3]}
    (tmp_path / "m.onnx.json").write_text(json.dumps(edited))
    (image,) = opened(path).manifest.inputs
    assert (image.color, image.mean) == ("BGR", (1, 2, 3))


def test_the_empty_file_that_a_shell_makes_for_what_is_described_is_no_sidecar(tmp_path, caplog):
    path = build(tmp_path / "m.onnx", picture(), OUTPUTS["classes"])
    before = opened(path).manifest
    (tmp_path / "m.onnx.json").touch()
    assert opened(path).manifest == before
    assert "the sidecar is empty" in caplog.text


def test_a_part_of_a_sidecar_is_refused_with_the_way_to_a_whole_one(tmp_path):
    path = build(tmp_path / "m.onnx", picture(), OUTPUTS["classes"])
    (tmp_path / "m.onnx.json").write_text('{"task": "raw"}')
    with pytest.raises(ModelError, match=r"missing required field `name`.*--model m.onnx --describe"):
        opened(path)
