"""YOLOX: [1, N, 5 + C], a row a cell of the grids of strides 8, 16 and 32, offsets still to be decoded.

The formula is that of Megvii's YOLOX, `yolox/utils/demo_utils.py`: centre = (value + cell) * stride, size =
exp(value) * stride; a score is the object's times the class's. Option `strides`.
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


class Yolox:
    """Reads one output of rows."""

    def __init__(self, manifest: Manifest, name: str) -> None:
        self._name = name
        self._strides = tuple(int(s) for s in manifest.decoder_options.get("strides", (8, 16, 32)))
        self._finish = Detections(manifest)
        self._size = (0, 0)
        self._grid: Array = np.zeros((0, 3), np.float32)

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Detection]:
        values = boxes.rows(outputs, self._name)
        grid = self._cells(self._finish.size(model_input))
        if len(grid) != len(values):
            raise SampleError(
                f"the output {self._name!r} has {len(values)} rows, strides {self._strides} make {len(grid)} cells"
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
        return self._finish(Found(corners, best * chosen[:, 4], classes), model_input)

    def _cells(self, size: tuple[int, int]) -> Array:
        """Column, row and stride of each cell; kept, since the input's size rarely changes."""
        if size != self._size:
            parts = []
            for stride in self._strides:
                y, x = np.mgrid[: size[1] // stride, : size[0] // stride]
                parts.append(np.stack((x.ravel(), y.ravel(), np.full(x.size, stride)), axis=1))
            self._grid, self._size = np.concatenate(parts).astype(np.float32), size
        return self._grid


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> Yolox:
    """Raises ModelError where the outputs do not fit."""
    return Yolox(manifest, boxes.roles(manifest, specs, ("rows",))["rows"])
