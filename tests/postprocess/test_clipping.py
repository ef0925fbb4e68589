"""Keypoints beyond the frame are clipped to it as boxes are, by every decoder that has any."""

from __future__ import annotations

import numpy as np
import pytest

from edge.data.sample import Frame, ModelInput
from edge.data.tensor import TensorSpec
from edge.describe.head import HeadInfo
from edge.model.manifest import Input, Manifest, Output
from edge.plugins import registry

SIDE = 64
FRAME = Frame(128, 96, 0.5, 0.5, 0, 8)
"""128 x 96 into 64 x 64: half the size, 8 rows of padding above and below."""


def yolo():
    rows = np.zeros((1, 11, 84), np.float32)
    rows[0, :, 0] = (32, 32, 60, 60, 0.9, -30, 80, 0.7, 90, 2, 0.6)
    return {"decoder_options": {"keypoints": [2, 3]}}, {"rows": rows}


def yunet():
    outputs = {}
    for stride in (8, 16, 32):
        cells = (SIDE // stride) ** 2
        outputs |= {f"{n}_{stride}": np.zeros((1, cells, w), np.float32) for n, w in (("cls", 1), ("obj", 1))}
        outputs |= {f"bbox_{stride}": np.zeros((1, cells, 4), np.float32)}
        outputs |= {f"kps_{stride}": np.tile(np.float32([-50, -50, 50, 50, 0, 0, 50, -50, -50, 50]), (1, cells, 1))}
    outputs["cls_32"][0, 0] = outputs["obj_32"][0, 0] = 0.9
    return {}, outputs


def scrfd():
    outputs = {}
    for stride in (8, 16, 32):
        cells = (SIDE // stride) ** 2
        outputs[f"score_{stride}"] = np.zeros((cells, 1), np.float32)
        outputs[f"bbox_{stride}"] = np.ones((cells, 4), np.float32)
        outputs[f"kps_{stride}"] = np.tile(np.float32([-50, -50, 50, 50, 0, 0, 50, -50, -50, 50]), (cells, 1))
    outputs["score_32"][0] = 0.9
    return {"decoder_options": {"anchors": 1}}, outputs


def keypoints():
    return {"task": "keypoints"}, {"p": np.float32([[[[-0.5, 1.5, 0.9], [1.5, -0.5, 0.8], [0.02, 0.5, 0.9]]]])}


def heatmaps():
    maps = np.zeros((1, 2, 16, 16), np.float32)
    maps[0, 0, 0, 0] = maps[0, 1, 15, 15] = 0.9  # in the padding above, and below
    return {"task": "keypoints"}, {"maps": maps}


@pytest.mark.parametrize("made", [yolo, yunet, scrfd, keypoints, heatmaps])
def test_no_keypoint_lies_beyond_the_frame(made):
    fields, outputs = made()
    image = Input(name="in", kind="image", layout="NCHW")
    names = tuple(Output(name=n, role=n) for n in outputs)
    manifest = Manifest(
        name="m",
        decoder=made.__name__,
        inputs=(image,),
        outputs=names,
        **{"task": "detect", "threshold": 0.3, **fields},
    )
    specs = tuple(TensorSpec(n, "float32", a.shape) for n, a in outputs.items())
    given = ModelInput({"in": np.zeros((1, 3, SIDE, SIDE), np.float32)}, FRAME)

    found = registry.declared(HeadInfo, manifest.decoder).create(manifest, specs)(outputs, given)

    points = np.array([p[:2] for d in found for p in d.keypoints])
    assert len(points) >= 2
    assert points.min() >= 0
    assert (points <= [FRAME.width, FRAME.height]).all()
    on_the_rim = (points == 0) | (points == [FRAME.width, FRAME.height])
    assert on_the_rim.any()
