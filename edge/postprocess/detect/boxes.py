"""What every detector ends with: threshold, suppression by class, back to the frame, clipped to it.

Suppression is OpenCV's (`cv2.dnn.NMSBoxesBatched`): boxes of different classes never suppress one another.
Boxes and keypoints are clipped to the frame: a consumer draws and crops with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from edge.data.result import Detection
from edge.data.sample import Frame, ModelInput
from edge.data.tensor import Array, Tensors, TensorSpec
from edge.errors import ModelError, SampleError, needs
from edge.model.manifest import Manifest

THRESHOLD = 0.3
NMS = 0.45
MAX_CANDIDATES = 3000
MAX_DETECTIONS = 300


@cache
def _dnn() -> Any:
    try:
        import cv2
    except ImportError:
        raise needs("a detector", "OpenCV", "vision") from None
    return cv2.dnn


@dataclass(frozen=True, slots=True)
class Found:
    """Candidates in pixels of the model's input: `corners` [N, 4] x_min y_min x_max y_max, `scores` [N],
    `classes` [N]; `points` [N, K, 3] x, y, score where there are keypoints."""

    corners: Array
    scores: Array
    classes: Array
    points: Array | None = None

    def take(self, which: Array) -> Found:
        """The candidates at these indexes."""
        points = None if self.points is None else self.points[which]
        return Found(self.corners[which], self.scores[which], self.classes[which], points)


class Detections:
    """Candidates to the predictions of a result."""

    def __init__(self, manifest: Manifest, *, suppress: bool = True, threshold: float = THRESHOLD) -> None:
        self.threshold = threshold if manifest.threshold is None else manifest.threshold
        self._nms = NMS if manifest.nms is None else manifest.nms
        self._limit = manifest.top_k or MAX_DETECTIONS
        self._labels = manifest.labels
        self._suppress = suppress and self._nms < 1
        image = next((i for i in manifest.inputs if i.kind == "image"), None)
        self._image = image.name if image else ""
        self._planar = image is not None and image.layout == "NCHW"
        if self._suppress:
            _dnn()  # a missing library is told at start

    def size(self, model_input: ModelInput) -> tuple[int, int]:
        """Width and height of the model's input in pixels."""
        tensor = model_input.tensors.get(self._image)
        if tensor is None:
            raise SampleError("a detector needs a picture: its boxes are places in it")
        height, width = tensor.shape[-2:] if self._planar else tensor.shape[-3:-1]
        return width, height

    def __call__(self, found: Found, model_input: ModelInput) -> list[Detection]:
        """Best first. Raises SampleError where the model's numbers are none."""
        found = found.take(np.flatnonzero(found.scores >= self.threshold))
        if not len(found.scores):
            return []
        numbers = [found.corners, found.scores] + ([] if found.points is None else [found.points])
        if not all(np.isfinite(values).all() for values in numbers):
            raise SampleError("the model's boxes are not finite")
        order = np.argsort(-found.scores, kind="stable")
        found = found.take(order[:MAX_CANDIDATES])
        if self._suppress:
            found = found.take(self._kept(found))
        frame = model_input.frame or Frame(*self.size(model_input))
        return self._predictions(found, frame)

    def _kept(self, found: Found) -> Array:
        x_y, w_h = found.corners[:, :2], found.corners[:, 2:] - found.corners[:, :2]
        boxes = np.concatenate((x_y, np.maximum(w_h, 0)), axis=1).astype(np.float64)
        kept = _dnn().NMSBoxesBatched(
            boxes, found.scores.astype(np.float32), found.classes.astype(np.int32), 0.0, float(self._nms)
        )
        return np.sort(np.asarray(kept, dtype=np.int64).ravel())

    def _predictions(self, found: Found, frame: Frame) -> list[Detection]:
        scale = np.array([frame.scale_x, frame.scale_y] * 2)
        offset = np.array([frame.offset_x, frame.offset_y] * 2)
        limit = np.array([frame.width, frame.height] * 2, dtype=np.float64)
        corners = np.clip((found.corners.astype(np.float64) - offset) / scale, 0, limit)
        solid = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
        points: Array | None = None
        if found.points is not None:
            points = found.points.astype(np.float64)
            points[:, :, :2] = np.clip((points[:, :, :2] - offset[:2]) / scale[:2], 0, limit[:2])
        result = []
        for at in np.flatnonzero(solid)[: self._limit].tolist():
            index = int(found.classes[at])
            x_min, y_min, x_max, y_max = (round(v, 2) for v in corners[at].tolist())
            made = Detection(
                index=index,
                label=self._labels[index] if 0 <= index < len(self._labels) else str(index),
                score=round(float(found.scores[at]), 6),
                box=(x_min, y_min, x_max, y_max),
                **(
                    {}
                    if points is None
                    else {"keypoints": [tuple(round(v, 3) for v in p) for p in points[at].tolist()]}
                ),
            )
            result.append(made)
        return result


def roles(
    manifest: Manifest, specs: tuple[TensorSpec, ...], wanted: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, str]:
    """Output names by role; outputs without roles are taken in the order of `wanted`. Raises ModelError."""
    known = [s.name for s in specs]
    found = {o.role: o.name for o in manifest.outputs if o.role}
    if not any(r in found for r in wanted):
        found = dict(zip((*wanted, *optional), known, strict=False))
    missing = [r for r in wanted if found.get(r) not in known]
    if missing:
        raise ModelError(
            f"{manifest.name}: the decoder {manifest.decoder!r} needs an output for {missing[0]!r}, the file has "
            f"{', '.join(known)}; name it in the manifest's outputs, or try --task raw"
        )
    return found


def corners(boxes: Array, form: str) -> Array:
    """Boxes of a form to x_min y_min x_max y_max.

    Forms: xyxy, yxyx, cxcywh (centre and size), xywh (corner and size).
    """
    if form == "xyxy":
        return boxes
    if form == "yxyx":
        return boxes[:, (1, 0, 3, 2)]
    x_y, w_h = boxes[:, :2], boxes[:, 2:]
    if form == "cxcywh":
        return np.concatenate((x_y - w_h / 2, x_y + w_h / 2), axis=1)
    if form == "xywh":
        return np.concatenate((x_y, x_y + w_h), axis=1)
    raise ModelError(f"box_format {form!r} is not one of xyxy, yxyx, cxcywh, xywh")


def sigmoid(values: Array) -> Array:
    """1 / (1 + e^-x), without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * values)))


def activate(values: Array, activation: str) -> Array:
    """Scores to probabilities along the last axis."""
    if activation == "sigmoid":
        return sigmoid(values)
    if activation == "softmax":
        powers = np.exp(values - values.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
    return values


def rows(outputs: Tensors, name: str, columns: int | None = None) -> Array:
    """The output [1, N, C] of one sample as [N, C]. Raises SampleError where it has another shape."""
    values = np.asarray(outputs[name])
    while values.ndim > 2 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 2 or (columns is not None and values.shape[1] != columns):
        raise SampleError(
            f"the output {name!r} has the shape {list(np.shape(outputs[name]))}, which its decoder cannot read"
        )
    return values
