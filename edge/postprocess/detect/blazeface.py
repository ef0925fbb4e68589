"""MediaPipe's detectors (BlazeFace, palms, poses): offsets from fixed anchors and a score each, keypoints behind.

Outputs: boxes [1, N, 4 + 2K] (centre x, centre y, width, height, then K points x, y, all in pixels of the model's
input, from the anchor's centre) and scores [1, N, 1], before the sigmoid. The anchors are the centres of the cells
of some strides, several to a cell, and all as large as the picture: MediaPipe's `ssd_anchors_calculator` with
`fixed_anchor_size`. Which strides follows from N and the input's size.
"""

from __future__ import annotations

import numpy as np

from edge.data.result import Detection
from edge.data.sample import ModelInput
from edge.data.scores import sigmoid
from edge.data.tensor import Array, Tensors, TensorSpec
from edge.describe.head import DETECTS, Evidence, Head, HeadInfo, OutputProbe
from edge.errors import SampleError
from edge.model.manifest import Manifest, Output
from edge.postprocess.detect import boxes
from edge.postprocess.detect.boxes import Candidates, Detections

THRESHOLD = 0.5  # MediaPipe's own
_LAYOUTS = (
    ((8, 2), (16, 6)),  # faces at short range, palms
    ((16, 2), (32, 6)),  # faces of the back camera
    ((8, 2), (16, 2), (32, 6)),  # poses
    ((4, 1),),  # faces at full range
)
"""Pairs of a stride and its anchors to a cell."""


class BlazeFace:
    """Reads the two outputs; the anchors are made once for each size of input."""

    def __init__(self, manifest: Manifest, names: dict[str, str]) -> None:
        self._names = names
        self._finish = Detections(manifest, threshold=THRESHOLD)
        self.threshold = self._finish.threshold
        self._centres: dict[tuple[int, int, int], Array] = {}

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Detection]:
        scores = sigmoid(boxes.rows(outputs, self._names["scores"], 1)[:, 0])
        values = boxes.rows(outputs, self._names["boxes"])
        centres = self._anchors(len(values), self._finish.size(model_input))
        if len(scores) != len(values) or values.shape[1] < 4 or values.shape[1] % 2:
            raise SampleError(f"{len(scores)} scores for boxes of the shape {list(values.shape)}")
        which = np.flatnonzero(scores >= self._finish.threshold)
        chosen, places = values[which], centres[which]
        middle = chosen[:, :2] + places
        corners = np.concatenate((middle - chosen[:, 2:4] / 2, middle + chosen[:, 2:4] / 2), axis=1)
        return self._finish(
            Candidates(corners, scores[which], np.zeros(len(which), np.int64), _points(chosen, places)), model_input
        )

    def _anchors(self, count: int, size: tuple[int, int]) -> Array:
        key = (count, *size)
        centres = self._centres.get(key)
        if centres is None:
            strides = layout(count, *size)
            if strides is None:
                raise SampleError(f"{count} boxes are no anchors of an input of {size[0]} x {size[1]}")
            centres = self._centres[key] = anchors(strides, *size)
        return centres


def _points(rows: Array, places: Array) -> Array | None:
    points = rows[:, 4:].reshape(len(rows), rows.shape[1] // 2 - 2, 2) + places[:, None, :]
    if not points.shape[1]:
        return None
    return np.concatenate((points, np.ones((*points.shape[:2], 1), points.dtype)), axis=2)


def anchors(strides: tuple[tuple[int, int], ...], width: int, height: int) -> Array:
    """Centres x, y in pixels of the input, [N, 2]; `strides` are pairs of a stride and the anchors to a cell."""
    centres = []
    for stride, each in strides:
        y, x = np.mgrid[: height // stride, : width // stride]
        cells = (np.stack((x, y), axis=2).reshape(-1, 2) + 0.5) * stride
        centres.append(np.repeat(cells, each, axis=0))
    return np.concatenate(centres).astype(np.float32)


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> BlazeFace:
    """Raises ModelError where the outputs do not fit."""
    return BlazeFace(manifest, boxes.roles(manifest, specs, ("boxes", "scores")))


def layout(count: int, width: int, height: int) -> tuple[tuple[int, int], ...] | None:
    """Pairs of a stride and its anchors to a cell, for `count` boxes of an input of this size; None: none fits."""
    for strides in _LAYOUTS:
        if sum((width // s) * (height // s) * each for s, each in strides) == count:
            return strides
    return None


def recognise(probe: OutputProbe) -> Head | None:
    """[1, N, 4 + 2K] and [1, N, 1], where N anchors fit the input."""
    three = probe.ranked(3)
    if len(three) != 2 or len(probe.outputs) != 2:
        return None
    (scores, one), (places, values) = sorted(three.items(), key=lambda item: item[1].shape[2])
    rows, columns = values.shape[1:]
    if one.shape[1:] != (rows, 1) or columns < 6 or columns % 2 or columns > 4 + 2 * 33:
        return None
    if layout(rows, probe.width, probe.height) is None:
        return None
    outputs = (Output(name=places, role="boxes"), Output(name=scores, role="scores"))
    label = {16: "face", 18: "palm"}.get(columns, "person")
    preset = "mediapipe-palm" if columns == 18 else "mediapipe"
    return Head("detect", "blazeface", outputs, {}, Evidence.NUMBERS, preset, 1, nms=0.3, labels=(label,))


HEAD = HeadInfo(edge_api=1, create=create, recognise=recognise, honours=DETECTS)
