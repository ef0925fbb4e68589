"""The heads of the YOLO family as Ultralytics and its forerunners export them, decoded inside the model.

`form` among the decoder's options: "v8" (v8, v9, v11: [1, 4 + C, N], centre and size, a score for each class),
"v8-rows" (the same turned round), "v5" (v5, v6, v7: [1, N, 5 + C], the class scores are multiplied by the
object's), "end-to-end" (v10 and later: [1, N, 6], corners, score, class; nothing left to suppress) and
"end-to-end-7" (v7: batch index, corners, class, score). `normalized`: boxes are shares of the input, as in
exports to TFLite, not pixels. `keypoints` [K, D]: K points of D numbers follow the classes. `extras`: numbers
that follow the classes and are no class (mask coefficients).
"""

from __future__ import annotations

import numpy as np

from edge.data.result import Detection
from edge.data.sample import ModelInput
from edge.data.tensor import Array, Tensors, TensorSpec
from edge.errors import ModelError, SampleError
from edge.model.manifest import Manifest
from edge.postprocess.detect import boxes
from edge.postprocess.detect.boxes import Detections, Found

THRESHOLD = 0.25  # Ultralytics' own
FORMS = ("v8", "v8-rows", "v5", "end-to-end", "end-to-end-7", "paddle")


class Yolo:
    """Reads one output of rows or columns that are boxes."""

    def __init__(self, manifest: Manifest, name: str) -> None:
        options = manifest.decoder_options
        self._name = name
        self._form = str(options.get("form", "v8"))
        if self._form not in FORMS:
            raise ModelError(f"{manifest.name}: the option form={self._form!r} is not one of {', '.join(FORMS)}")
        self._normalized = bool(options.get("normalized", False))
        points = options.get("keypoints") or (0, 0)
        self._points = (int(points[0]), int(points[1]))
        self._extras = int(options.get("extras", self._points[0] * self._points[1]))
        self._whole = self._form in FORMS[3:]  # nothing left to suppress
        self._finish = Detections(manifest, suppress=not self._whole, threshold=THRESHOLD)

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Detection]:
        values = boxes.rows(outputs, self._name)
        if self._form == "v8":
            values = values.T  # a view: what follows touches the candidates only
        found = self._end_to_end(values) if self._whole else self._scored(values)
        if self._normalized:
            size = np.array(self._finish.size(model_input), dtype=np.float32)
            points = found.points
            if points is not None:
                points = np.concatenate((points[..., :2] * size, points[..., 2:]), axis=2)
            found = Found(found.corners * np.tile(size, 2), found.scores, found.classes, points)
        return self._finish(found, model_input)

    def _scored(self, values: Array) -> Found:
        start = 5 if self._form == "v5" else 4
        stop = values.shape[1] - self._extras
        if stop <= start:
            raise SampleError(f"the output {self._name!r} has {values.shape[1]} values a box, too few for its decoder")
        threshold = self._finish.threshold
        if start == 5:
            # A score is at most the object's, so most rows need no look at their classes.
            values = values[np.flatnonzero(values[:, 4] >= threshold)]
        by_class = values[:, start:stop]
        best = by_class.max(axis=1) if len(values) else np.zeros(0, np.float32)
        scores = best * values[:, 4] if start == 5 else best
        which = np.flatnonzero(scores >= threshold)
        chosen = values[which]
        corners = boxes.corners(chosen[:, :4], "cxcywh")
        return Found(corners, scores[which], by_class[which].argmax(axis=1), self._keypoints(chosen[:, stop:]))

    def _end_to_end(self, values: Array) -> Found:
        if self._form == "end-to-end-7":
            return Found(values[:, 1:5], values[:, 6], np.rint(values[:, 5]).astype(np.int64))
        if self._form == "paddle":
            return Found(values[:, 2:6], values[:, 1], np.rint(values[:, 0]).astype(np.int64))
        points = self._keypoints(values[:, 6:])
        return Found(values[:, :4], values[:, 4], np.rint(values[:, 5]).astype(np.int64), points)

    def _keypoints(self, values: Array) -> Array | None:
        count, size = self._points
        if not count:
            return None
        points = values[:, : count * size].reshape(-1, count, size)
        if size == 2:
            points = np.concatenate((points, np.ones((*points.shape[:2], 1), points.dtype)), axis=2)
        return points[..., :3]


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> Yolo:
    """Raises ModelError where the outputs or the options do not fit."""
    return Yolo(manifest, boxes.roles(manifest, specs, ("rows",))["rows"])
