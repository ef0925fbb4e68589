"""YuNet of the OpenCV zoo (2023 and later): `cls`, `obj`, `bbox` and `kps` for each of the strides 8, 16 and 32.

The formula is OpenCV's `modules/objdetect/src/face_detect.cpp`: score = sqrt(cls * obj), centre = (offset + cell) *
stride, size = exp(value) * stride, a point = (offset + cell) * stride.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge.data.result import Detection
from edge.data.sample import ModelInput
from edge.data.tensor import Tensors, TensorSpec
from edge.describe.head import DETECTS, Evidence, Head, HeadInfo, OutputProbe
from edge.errors import SampleError
from edge.model.manifest import Manifest, Output
from edge.postprocess.detect import boxes, faces
from edge.postprocess.detect.boxes import Detections, Found
from edge.postprocess.detect.grids import Grid

STRIDES = (8, 16, 32)
KINDS = ("cls", "obj", "bbox", "kps")


class YuNet:
    """Reads the twelve outputs."""

    def __init__(self, manifest: Manifest, names: Mapping[str, str]) -> None:
        self._names = names
        self._grid = Grid(STRIDES)
        self._finish = Detections(manifest, threshold=0.6)

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Detection]:
        objects, faces_, places, points = (
            np.concatenate([boxes.rows(outputs, self._names[f"{kind}_{s}"]) for s in STRIDES]) for kind in KINDS
        )
        grid = self._grid(self._finish.size(model_input))
        if not len(grid) == len(objects) == len(places):
            raise SampleError(f"{len(objects)} scores and {len(places)} boxes for {len(grid)} cells")
        scores = np.sqrt(np.clip(objects[:, 0], 0, 1) * np.clip(faces_[:, 0], 0, 1))
        which = np.flatnonzero(scores >= self._finish.threshold)
        cell, stride = grid[which, :2], grid[which, 2:]
        with np.errstate(over="ignore"):
            size = np.exp(places[which, 2:]) * stride
        corners = boxes.corners(np.concatenate(((places[which, :2] + cell) * stride, size), axis=1), "cxcywh")
        landmarks = (points[which].reshape(len(which), -1, 2) + cell[:, None]) * stride[:, None]
        seen = np.concatenate((landmarks, np.ones((*landmarks.shape[:2], 1), np.float32)), axis=2)
        return self._finish(Found(corners, scores[which], np.zeros(len(which), np.int64), seen), model_input)


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> YuNet:
    """Raises ModelError where the outputs do not fit."""
    return YuNet(manifest, faces.by_stride(manifest, specs, KINDS))


def recognise(probe: OutputProbe) -> Head | None:
    """By the names of its twelve outputs."""
    names = {f"{kind}_{s}" for kind in KINDS for s in STRIDES}
    if set(probe.outputs) != names:
        return None
    outputs = tuple(Output(name=n, role=n) for n in probe.outputs)
    return Head("detect", "yunet", outputs, {}, Evidence.NAMES, "yunet", 1, nms=0.3, labels=("face",))


HEAD = HeadInfo(edge_api=1, create=create, recognise=recognise, honours=DETECTS)
