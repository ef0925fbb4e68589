"""Two outputs, decoded: scores [1, N, C] and boxes [1, N, 4] (UltraFace, DETR and many SSD exports).

Options: `box_format` (xyxy), `normalized` (true: shares of the input), `background` (the column that is no
class), `activation` (softmax or sigmoid, where the scores are not probabilities yet).
"""

from __future__ import annotations

import numpy as np

from edge.data.result import Detection
from edge.data.sample import ModelInput
from edge.data.tensor import Array, Tensors, TensorSpec
from edge.errors import SampleError
from edge.model.manifest import Manifest
from edge.postprocess.detect import boxes
from edge.postprocess.detect.boxes import Detections, Found


class ScoresBoxes:
    """Reads the two outputs."""

    def __init__(self, manifest: Manifest, names: dict[str, str]) -> None:
        options = manifest.decoder_options
        self._names = names
        self._form = str(options.get("box_format", "xyxy"))
        self._normalized = bool(options.get("normalized", True))
        self._background = options.get("background")
        self._activation = str(options.get("activation", manifest.activation))
        self._finish = Detections(manifest, threshold=0.5)

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Detection]:
        by_class = boxes.activate(boxes.rows(outputs, self._names["scores"]), self._activation)
        places = boxes.rows(outputs, self._names["boxes"], 4)
        if len(by_class) != len(places):
            raise SampleError(f"{len(by_class)} scores for {len(places)} boxes")
        best, classes = best_class(by_class, self._background)
        which = np.flatnonzero(best >= self._finish.threshold)
        corners = boxes.corners(places[which], self._form)
        if self._normalized:
            corners = corners * np.array(self._finish.size(model_input) * 2, dtype=np.float32)
        return self._finish(Found(corners, best[which], classes[which]), model_input)


def best_class(by_class: Array, background: int | None) -> tuple[Array, Array]:
    """The best score of each row [N, C] and its column; the background's column never wins."""
    if background is None or by_class.shape[1] == 1:
        return by_class.max(axis=1), by_class.argmax(axis=1)
    others = by_class.copy()
    others[:, background] = -np.inf
    return others.max(axis=1), others.argmax(axis=1)


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> ScoresBoxes:
    """Raises ModelError where the outputs do not fit."""
    return ScoresBoxes(manifest, boxes.roles(manifest, specs, ("scores", "boxes")))
