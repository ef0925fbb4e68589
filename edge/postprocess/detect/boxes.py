"""What every detector ends with: threshold, suppression by class, back to the frame, clipped to it.

Suppression is OpenCV's (`cv2.dnn.NMSBoxesBatched`): boxes of different classes never suppress one another.
Boxes and keypoints are clipped to the frame: a consumer draws and crops with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET
from msgspec.structs import replace

from edge.data import scores
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


class Candidates(msgspec.Struct, frozen=True):
    """Candidates in pixels of the model's input: `corners` [N, 4] x_min y_min x_max y_max, `scores` [N],
    `classes` [N]; `points` [N, K, 3] x, y, score where there are keypoints; `extras` [N, E], what else belongs to a
    candidate (mask coefficients, the oriented box)."""

    corners: Array
    scores: Array
    classes: Array
    points: Array | None = None
    extras: Array | None = None

    def take(self, which: Array) -> Candidates:
        """The candidates at these indexes."""
        points = None if self.points is None else self.points[which]
        extras = None if self.extras is None else self.extras[which]
        return Candidates(self.corners[which], self.scores[which], self.classes[which], points, extras)


Overlaps = Callable[[Candidates, float], Array]


class Detections:
    """Candidates to the predictions of a result."""

    def __init__(self, manifest: Manifest, *, suppress: bool = True, threshold: float = THRESHOLD) -> None:
        self.threshold = threshold if manifest.threshold is None else manifest.threshold
        self._nms = NMS if manifest.nms is None else manifest.nms
        self._limit = manifest.top_k or MAX_DETECTIONS
        self._labels = manifest.labels
        self._suppress = suppress and self._nms < 1
        self._watch = scores.Watch(manifest.name)
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

    def __call__(self, candidates: Candidates, model_input: ModelInput) -> list[Detection]:
        """Best first. Raises SampleError where the model's numbers are none."""
        return self.predictions(self.chosen(candidates), model_input)

    def chosen(self, candidates: Candidates, overlaps: Overlaps | None = None) -> Candidates:
        """What passes the threshold and the suppression, best first. Raises SampleError.

        `overlaps` suppresses instead of OpenCV's: candidates, best first, and the limit, to the indexes kept.
        """
        candidates = candidates.take(np.flatnonzero(candidates.scores >= self.threshold))
        if not len(candidates.scores):
            return candidates
        numbers = [candidates.corners, candidates.scores] + ([] if candidates.points is None else [candidates.points])
        if not all(np.isfinite(values).all() for values in numbers):
            raise SampleError("the model's boxes are not finite")
        order = np.argsort(-candidates.scores, kind="stable")
        candidates = candidates.take(order[:MAX_CANDIDATES])
        if self._suppress:
            candidates = candidates.take(overlaps(candidates, self._nms) if overlaps else self._kept(candidates))
        return replace(candidates, scores=self._watch(candidates.scores))

    def _kept(self, candidates: Candidates) -> Array:
        x_y, w_h = candidates.corners[:, :2], candidates.corners[:, 2:] - candidates.corners[:, :2]
        boxes = np.concatenate((x_y, np.maximum(w_h, 0)), axis=1).astype(np.float64)
        kept = _dnn().NMSBoxesBatched(
            boxes, candidates.scores.astype(np.float32), candidates.classes.astype(np.int32), 0.0, float(self._nms)
        )
        return np.sort(np.asarray(kept, dtype=np.int64).ravel())

    def frame(self, model_input: ModelInput) -> Frame:
        """How the picture lies in the model's input."""
        return model_input.frame or Frame(*self.size(model_input))

    def predictions(
        self, candidates: Candidates, model_input: ModelInput, shapes: Sequence[Mapping[str, Any]] | None = None
    ) -> list[Detection]:
        """Boxes in pixels of the frame, clipped to it; `shapes` are further fields of each, in pixels of the frame."""
        frame = self.frame(model_input)
        limit = np.array([frame.width, frame.height] * 2, dtype=np.float64)
        corners = np.clip(to_frame(candidates.corners.reshape(-1, 2), frame).reshape(-1, 4), 0, limit)
        solid = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
        points = None if candidates.points is None else candidates.points.astype(np.float64)
        if points is not None:
            points[:, :, :2] = np.clip(to_frame(points[:, :, :2], frame), 0, limit[:2])
        return [
            Detection(
                index=(index := int(candidates.classes[at])),
                label=self._labels[index] if 0 <= index < len(self._labels) else str(index),
                score=round(float(candidates.scores[at]), 6),
                box=_four(corners[at]),
                keypoints=UNSET if points is None else [_three(p) for p in points[at]],
                **(shapes[at] if shapes else {}),
            )
            for at in np.flatnonzero(solid)[: self._limit].tolist()
        ]


def to_frame(points: Array, frame: Frame) -> Array:
    """Points [..., 2] in pixels of the model's input to pixels of the captured frame, float64."""
    offset, scale = np.array((frame.offset_x, frame.offset_y)), np.array((frame.scale_x, frame.scale_y))
    return np.asarray((points.astype(np.float64) - offset) / scale)


def _four(values: Array) -> tuple[float, float, float, float]:
    a, b, c, d = (round(v, 2) for v in values.tolist())
    return a, b, c, d


def _three(values: Array) -> tuple[float, float, float]:
    a, b, c = (round(v, 3) for v in values.tolist())
    return a, b, c


def roles(
    manifest: Manifest, specs: tuple[TensorSpec, ...], wanted: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, str]:
    """Output names by role; outputs without roles are taken in the order of `wanted`. Raises ModelError."""
    known = [s.name for s in specs]
    names = {o.role: o.name for o in manifest.outputs if o.role}
    if not any(r in names for r in wanted):
        names = dict(zip((*wanted, *optional), known, strict=False))
    missing = [r for r in wanted if names.get(r) not in known]
    if missing:
        raise ModelError(
            f"{manifest.name}: the decoder {manifest.decoder!r} needs an output for {missing[0]!r}, the file has "
            f"{', '.join(known)}; name it in the manifest's outputs, or try --task raw"
        )
    return names


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


def best_class(by_class: Array, background: int | None) -> tuple[Array, Array]:
    """The best score of each row [N, C] and its column; the background's column never wins."""
    if background is None or by_class.shape[1] == 1:
        return by_class.max(axis=1), by_class.argmax(axis=1)
    others = by_class.copy()
    others[:, background] = -np.inf
    return others.max(axis=1), others.argmax(axis=1)


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


def lit(rows: Array) -> Array:
    """Rows that hold anything: what is left of the room for boxes is zeros."""
    return np.asarray(rows[np.abs(rows).max(axis=1) > 0])


def are_shares(values: Array) -> bool:
    """Scores from 0 to 1, but for what rounding adds; true of none."""
    return not values.size or (float(values.min()) >= -0.02 and float(values.max()) <= 1.02)


def are_classes(values: Array) -> bool:
    """Whole numbers, -1 for what is none; true of none."""
    return not values.size or (bool(np.array_equal(values, np.rint(values))) and float(values.min()) >= -1)
