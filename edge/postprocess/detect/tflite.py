"""Detections that the model has suppressed already: TFLite_Detection_PostProcess and what resembles it.

Outputs: boxes [1, N, 4] (y_min x_min y_max x_max as shares of the input), classes [1, N], scores [1, N], and
where there is one a count. Options: `box_format`, `normalized` (false: pixels of the input), `class_offset`
(1 where class 1 is the first label).
"""

from __future__ import annotations

import numpy as np

from edge.data.result import Detection
from edge.data.sample import ModelInput
from edge.data.tensor import Tensors, TensorSpec
from edge.model.manifest import Manifest
from edge.postprocess.detect import boxes
from edge.postprocess.detect.boxes import Detections, Found


class Suppressed:
    """Reads the four outputs."""

    def __init__(self, manifest: Manifest, names: dict[str, str]) -> None:
        options = manifest.decoder_options
        self._names = names
        self._form = str(options.get("box_format", "yxyx"))
        self._normalized = bool(options.get("normalized", True))
        self._offset = int(options.get("class_offset", 0))
        self._finish = Detections(manifest, suppress=False)

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Detection]:
        corners = boxes.corners(boxes.rows(outputs, self._names["boxes"], 4), self._form)
        scores = np.asarray(outputs[self._names["scores"]]).ravel()
        classes = np.asarray(outputs[self._names["classes"]]).ravel()
        count = min(len(corners), len(scores), len(classes))
        if "count" in self._names:
            count = min(count, int(np.asarray(outputs[self._names["count"]]).ravel()[0]))
        if self._normalized:
            corners = corners * np.array(self._finish.size(model_input) * 2, dtype=np.float32)
        index = np.rint(classes[:count]).astype(np.int64) - self._offset
        known = np.flatnonzero(index >= 0)
        return self._finish(Found(corners[:count], scores[:count], index).take(known), model_input)


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> Suppressed:
    """Raises ModelError where the outputs do not fit."""
    return Suppressed(manifest, boxes.roles(manifest, specs, ("boxes", "classes", "scores"), ("count",)))
