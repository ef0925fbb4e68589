"""`--mask` through the process: one picture in, one mask out, although the broker is met after the first inference."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import onnxmodels


@pytest.fixture
def model(tmp_path) -> Path:
    """Which colour is a pixel?"""
    path = onnxmodels.channels(tmp_path / "colours.onnx", (0, 1, 2))
    (tmp_path / "labels.txt").write_text("red\ngreen\nblue\n")
    return path


def test_the_mask_of_one_picture_comes_beside_its_result(edge_run, broker, client, model, tmp_path):
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, :16, 0] = pixels[:, 16:, 2] = 255
    Image.fromarray(pixels).save(tmp_path / "flag.png")
    listener = client(broker.port, "edge/pi/colours/#")
    flags = ("--model", model, "--source", tmp_path / "flag.png", "--mqtt", broker.url, "--device", "pi", "--mask")
    process = edge_run(*flags)
    process.process.wait(150)
    (result,) = listener.wait_for("result")
    listener.wait_for_text("edge/pi/colours/status", b"offline")
    ((png, properties),) = [(p, q) for t, p, q in listener.messages if t.endswith("/mask")]

    assert result["predictions"] == [{"labels": ["red", "blue"], "areas": [0.5, 0.5]}]
    mask = np.asarray(Image.open(io.BytesIO(png)))
    assert mask.shape == (32, 32)
    assert (np.unique(mask[:, :16]).tolist(), np.unique(mask[:, 16:]).tolist()) == ([0], [2])
    assert dict(properties.UserProperty)["id"] == result["id"]


@pytest.mark.parametrize(
    ("flags", "said"), [(("--mqtt", "none"), "there is nowhere to"), (("--task", "raw"), "does raw, no segmentation")]
)
def test_a_mask_that_cannot_be_is_told_at_once(edge_run, broker, model, flags, said):
    process = edge_run("--model", model, "--source", "synthetic:1", "--mqtt", broker.url, "--mask", *flags)
    assert process.process.wait(150) == 2
    assert said in process.said()
