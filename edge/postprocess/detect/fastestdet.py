"""FastestDet: [1, 5 + C, H, W], one candidate a cell: object, four offsets, a probability for each class.

The formula is that of dog-qiuqiu's FastestDet: centre = (cell + tanh(offset)) / grid, size = sigmoid(value) of
the input, score = object^0.6 * class^0.4. Option `channels_last` for [1, H, W, 5 + C].
"""

from __future__ import annotations

import numpy as np

from edge.data.result import Detection
from edge.data.sample import ModelInput
from edge.data.scores import sigmoid
from edge.data.tensor import Tensors, TensorSpec
from edge.describe.head import DETECTS, Evidence, Head, HeadInfo, OutputProbe
from edge.errors import SampleError
from edge.model.manifest import Manifest, Output
from edge.postprocess.detect import boxes
from edge.postprocess.detect.boxes import Candidates, Detections


class FastestDet:
    """Reads one grid."""

    def __init__(self, manifest: Manifest, name: str) -> None:
        self._name = name
        self._last = bool(manifest.decoder_options.get("channels_last", False))
        self._finish = Detections(manifest, threshold=0.5)
        self.threshold = self._finish.threshold

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Detection]:
        values = np.asarray(outputs[self._name])
        if values.ndim != 4 or values.shape[0] != 1 or values.shape[3 if self._last else 1] < 6:
            raise SampleError(
                f"the output {self._name!r} has the shape {list(values.shape)}, a grid has four dimensions, and "
                "of a cell an object, a box and at least one class"
            )
        grid = values[0].transpose(2, 0, 1) if self._last else values[0]
        objects, offsets, by_class = grid[0], grid[1:5], grid[5:]
        scores = np.maximum(objects, 0) ** 0.6 * np.maximum(by_class.max(axis=0), 0) ** 0.4
        y, x = np.nonzero(scores >= self._finish.threshold)
        width, height = self._finish.size(model_input)
        chosen = offsets[:, y, x]
        centre_x = (x + np.tanh(chosen[0])) / grid.shape[2] * width
        centre_y = (y + np.tanh(chosen[1])) / grid.shape[1] * height
        sizes = sigmoid(chosen[2:4])
        places = np.stack((centre_x, centre_y, sizes[0] * width, sizes[1] * height), axis=1)
        candidates = Candidates(boxes.corners(places, "cxcywh"), scores[y, x], by_class[:, y, x].argmax(axis=0))
        return self._finish(candidates, model_input)


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> FastestDet:
    """Raises ModelError where the outputs do not fit."""
    return FastestDet(manifest, boxes.roles(manifest, specs, ("grid",))["grid"])


def recognise(probe: OutputProbe) -> Head | None:
    """One grid of stride 16 with COCO's 80 classes, or as many as there are labels."""
    if len(probe.outputs) != 1:
        return None
    ((name, values),) = probe.outputs.items()
    if values.ndim != 4 or values.dtype.kind != "f":
        return None
    grid = (probe.height // 16, probe.width // 16)
    first, last = values.shape[2:] == grid, values.shape[1:3] == grid
    columns = values.shape[1] if first else values.shape[3]
    if not (first or last) or not (columns == 85 or (probe.labels and columns - 5 == probe.labels)):
        return None
    options = {} if first else {"channels_last": True}
    outputs = (Output(name=name, role="grid"),)
    return Head("detect", "fastestdet", outputs, options, Evidence.NUMBERS, "fastestdet", columns - 5)


HEAD = HeadInfo(edge_api=1, create=create, recognise=recognise, honours=DETECTS)
