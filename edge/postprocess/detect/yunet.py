"""YuNet of the OpenCV zoo, in two forms.

2023 and later: `cls`, `obj`, `bbox` and `kps` for each of the strides 8, 16 and 32. The formula is OpenCV's
`modules/objdetect/src/face_detect.cpp`: score = sqrt(cls * obj), centre = (offset + cell) * stride, size = exp(value) *
stride, a point = (offset + cell) * stride.

2021 and 2022 (option `priors`): `loc`, `conf` and `iou`, a row for each prior box of the strides 8 to 64, whose cells
are rounded down. The formula is the zoo's `yunet.py` of then: score = sqrt(conf[1] * iou), centre and points = prior's
centre + 0.1 * offset * prior's size, size = prior's size * exp(0.1 or 0.2 * value).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np

from edge.data.result import Detection
from edge.data.sample import ModelInput
from edge.data.tensor import Array, Tensors, TensorSpec
from edge.describe.head import DETECTS, Evidence, Head, HeadInfo, OutputProbe
from edge.errors import SampleError
from edge.model.manifest import Manifest, Output
from edge.postprocess.detect import boxes, faces
from edge.postprocess.detect.boxes import Candidates, Detections
from edge.postprocess.detect.grids import Grid

STRIDES = (8, 16, 32)
KINDS = ("cls", "obj", "bbox", "kps")
_PRIORS = {8: (10, 16, 24), 16: (32, 48), 32: (64, 96), 64: (128, 192, 256)}
"""Sizes of the prior boxes, in pixels, by stride."""
_OLDER = ("loc", "conf", "iou")


class YuNet:
    """Reads the twelve outputs."""

    def __init__(self, manifest: Manifest, names: Mapping[str, str]) -> None:
        self._names = names
        self._grid = Grid(STRIDES)
        self._finish = Detections(manifest, threshold=0.6)
        self.threshold = self._finish.threshold

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Detection]:
        objects, faces_, places, points = (faces.joined(outputs, self._names, kind, STRIDES) for kind in KINDS)
        grid = self._grid(self._finish.size(model_input))
        if any(len(rows) != len(grid) for rows in (objects, faces_, places, points)):
            raise SampleError(f"{len(objects)} scores and {len(places)} boxes for {len(grid)} cells")
        scores = np.sqrt(np.clip(objects[:, 0], 0, 1) * np.clip(faces_[:, 0], 0, 1))
        which = np.flatnonzero(scores >= self._finish.threshold)
        cell, stride = grid[which, :2], grid[which, 2:]
        with np.errstate(over="ignore"):
            size = np.exp(places[which, 2:]) * stride
        corners = boxes.corners(np.concatenate(((places[which, :2] + cell) * stride, size), axis=1), "cxcywh")
        landmarks = (points[which].reshape(len(which), -1, 2) + cell[:, None]) * stride[:, None]
        seen = np.concatenate((landmarks, np.ones((*landmarks.shape[:2], 1), np.float32)), axis=2)
        return self._finish(Candidates(corners, scores[which], np.zeros(len(which), np.int64), seen), model_input)


class YuNetOfPriors:
    """Reads `loc`, `conf` and `iou`."""

    def __init__(self, manifest: Manifest, names: Mapping[str, str]) -> None:
        self._names = names
        self._finish = Detections(manifest, threshold=0.6)
        self.threshold = self._finish.threshold

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Detection]:
        places, chances, overlaps = (boxes.rows(outputs, self._names[role]) for role in _OLDER)
        priors = _priors(*self._finish.size(model_input))
        if not len(priors) == len(places) == len(chances) == len(overlaps):
            raise SampleError(f"{len(chances)} scores and {len(places)} boxes for {len(priors)} prior boxes")
        scores = np.sqrt(np.clip(chances[:, 1], 0, 1) * np.clip(overlaps[:, 0], 0, 1))
        which = np.flatnonzero(scores >= self._finish.threshold)
        centre, side = priors[which, :2], priors[which, 2:]
        with np.errstate(over="ignore"):
            size = side * np.exp(places[which, 2:4] * np.array((0.1, 0.2), np.float32))
        rectangles = np.concatenate((centre + 0.1 * places[which, :2] * side, size), axis=1)
        landmarks = centre[:, None] + 0.1 * places[which, 4:].reshape(len(which), -1, 2) * side[:, None]
        seen = np.concatenate((landmarks, np.ones((*landmarks.shape[:2], 1), np.float32)), axis=2)
        corners = boxes.corners(rectangles, "cxcywh")
        return self._finish(Candidates(corners, scores[which], np.zeros(len(which), np.int64), seen), model_input)


@cache
def _priors(width: int, height: int) -> Array:
    """Centre and side of each prior box in pixels [N, 3], float32: rows, columns, sizes."""
    return np.array(
        [
            ((x + 0.5) * stride, (y + 0.5) * stride, side)
            for stride, sides in _PRIORS.items()
            for y in range(_cells(height, stride))
            for x in range(_cells(width, stride))
            for side in sides
        ],
        np.float32,
    ).reshape(-1, 3)


def _cells(side: int, stride: int) -> int:
    """How often a stride fits: halved, rounded up once and down from then on."""
    return (side + 1) // 2 // (stride // 2)


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> YuNet | YuNetOfPriors:
    """Raises ModelError where the outputs do not fit."""
    if manifest.decoder_options.get("priors"):
        return YuNetOfPriors(manifest, boxes.roles(manifest, specs, _OLDER))
    return YuNet(manifest, faces.by_stride(manifest, specs, KINDS, STRIDES))


def recognise(probe: OutputProbe) -> Head | None:
    """By the names of its outputs, twelve or three."""
    if set(probe.outputs) == set(_OLDER):
        return _of_priors(probe)
    names = {f"{kind}_{s}" for kind in KINDS for s in STRIDES}
    if set(probe.outputs) != names:
        return None
    outputs = tuple(Output(name=n, role=n) for n in probe.outputs)
    return Head("detect", "yunet", outputs, {}, Evidence.NAMES, "yunet", 1, nms=0.3, labels=("face",))


def _of_priors(probe: OutputProbe) -> Head | None:
    count = len(_priors(probe.width, probe.height))
    sizes = {"loc": count * 14, "conf": count * 2, "iou": count}
    if any(probe.outputs[n].size != size for n, size in sizes.items()):
        return None
    outputs = tuple(Output(name=n, role=n) for n in _OLDER)
    warning = (
        "loc, conf and iou are taken for faces (YuNet of 2022); the zoo's detector of licence plates has the same "
        "outputs, its corners come as keypoints: --labels plate"
    )
    return Head(
        "detect", "yunet", outputs, {"priors": True}, Evidence.NAMES, "yunet", 1, nms=0.3, labels=("face",),
        warning=warning,
    )  # fmt: skip


HEAD = HeadInfo(edge_api=1, create=create, recognise=recognise, honours=DETECTS)
