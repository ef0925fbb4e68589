"""YOLOX: [1, N, 5 + C], a row a cell of the grids of strides 8, 16 and 32, offsets still to be decoded.

The formula is that of Megvii's YOLOX, `yolox/utils/demo_utils.py`: centre = (value + cell) * stride, size =
exp(value) * stride; a score is the object's times the class's. Option `strides`.
"""

from __future__ import annotations

import numpy as np

from edge.data.result import Detection
from edge.data.sample import ModelInput
from edge.data.tensor import Tensors, TensorSpec
from edge.describe.head import DETECTS, Evidence, Head, HeadInfo, OutputProbe
from edge.errors import SampleError
from edge.model.manifest import Manifest, Output
from edge.postprocess.detect import boxes
from edge.postprocess.detect.boxes import Candidates, Detections
from edge.postprocess.detect.grids import Grid


class Yolox:
    """Reads one output of rows."""

    def __init__(self, manifest: Manifest, name: str) -> None:
        self._name = name
        self._grid = Grid([int(s) for s in manifest.decoder_options.get("strides", (8, 16, 32))])
        self._finish = Detections(manifest)
        self.threshold = self._finish.threshold

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Detection]:
        values = boxes.rows(outputs, self._name)
        grid = self._grid(self._finish.size(model_input))
        if len(grid) != len(values):
            raise SampleError(
                f"the output {self._name!r} has {len(values)} rows, strides {self._grid.strides} make {len(grid)} cells"
            )
        which = np.flatnonzero(values[:, 4] >= self._finish.threshold)
        chosen, cell = values[which], grid[which]
        by_class = chosen[:, 5:]
        best = by_class.max(axis=1) if by_class.size else np.ones(len(chosen), np.float32)
        stride = cell[:, 2:]
        with np.errstate(over="ignore"):  # an infinite size is told as such
            sizes = np.exp(chosen[:, 2:4]) * stride
        centre = (chosen[:, :2] + cell[:, :2]) * stride
        corners = boxes.corners(np.concatenate((centre, sizes), axis=1), "cxcywh")
        classes = by_class.argmax(axis=1) if by_class.size else np.zeros(len(chosen), np.int64)
        return self._finish(Candidates(corners, best * chosen[:, 4], classes), model_input)


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> Yolox:
    """Raises ModelError where the outputs do not fit."""
    return Yolox(manifest, boxes.roles(manifest, specs, ("rows",))["rows"])


def recognise(probe: OutputProbe) -> Head | None:
    """One row a cell of the strides 8, 16 and 32 whose offsets are still small numbers."""
    found = probe.lone_rows()
    if found is None:
        return None
    name, values = found
    rows, columns = values.shape[1:]
    if rows != probe.cells(8, 16, 32) or columns < 6:
        return None
    offsets, objects = np.abs(values[..., :2]).max(), values[..., 4]
    if offsets > min(probe.width, probe.height) / 4 or objects.min() < -0.02 or objects.max() > 1.02:
        return None  # decoded, or no object's score
    if offsets <= 1.5 and columns - 4 == probe.labels:
        return None  # YOLOv8 turned round, in shares of the input
    if values[..., 5:].min() < -0.02 or values[..., 5:].max() > 1.02:
        return None  # NanoDet: distances where YOLOX has classes
    outputs = (Output(name=name, role="rows"),)
    return Head("detect", "yolox", outputs, {}, Evidence.NUMBERS, "yolox", columns - 5)


HEAD = HeadInfo(edge_api=1, create=create, recognise=recognise, honours=DETECTS)
