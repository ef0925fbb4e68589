"""FOMO of Edge Impulse: [1, H/8, W/8, C], for each cell the probabilities of the background, first, and the classes.

As in Edge Impulse's SDK (`ei_fill_result_struct.h`): cells of one class that touch are one object, and its score is the
best of them. The box is made of whole cells: it says where the object's middle is, not how large it is.
"""

from __future__ import annotations

import msgspec
import numpy as np

from edge.data.result import Detection
from edge.data.sample import ModelInput
from edge.data.tensor import Array, Tensors, TensorSpec
from edge.describe.head import DETECTS_ONCE, Evidence, Head, HeadInfo, OutputProbe
from edge.errors import SampleError
from edge.model.manifest import Manifest, Output
from edge.postprocess.detect import boxes
from edge.postprocess.detect.boxes import Candidates, Detections

CELL = 8


class _Cube(msgspec.Struct):
    left: int
    top: int
    right: int
    bottom: int
    score: float
    label: int

    def takes(self, x: int, y: int, score: float) -> bool:
        """Grows by the cell where it touches; False where it does not."""
        if self.right < x or self.bottom < y or self.left > x + 1 or self.top > y + 1:
            return False
        self.left, self.top = min(self.left, x), min(self.top, y)
        self.right, self.bottom = max(self.right, x + 1), max(self.bottom, y + 1)
        self.score = max(self.score, score)
        return True


class Fomo:
    """Reads one grid."""

    def __init__(self, manifest: Manifest, name: str) -> None:
        self._name = name
        self._finish = Detections(manifest, suppress=False, threshold=0.5)

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Detection]:
        values = np.asarray(outputs[self._name])
        if values.ndim != 4 or values.shape[0] != 1 or values.shape[3] < 2:
            raise SampleError(f"the output {self._name!r} has the shape {list(values.shape)}, which is no grid of FOMO")
        cubes = self._cubes(values[0])
        width, height = self._finish.size(model_input)
        cell = np.array((width / values.shape[2], height / values.shape[1]) * 2)
        corners = np.array([(c.left, c.top, c.right, c.bottom) for c in cubes], np.float64).reshape(-1, 4) * cell
        scores = np.array([c.score for c in cubes])
        return self._finish(Candidates(corners, scores, np.array([c.label for c in cubes], np.int64)), model_input)

    def _cubes(self, grid: Array) -> list[_Cube]:
        cubes: list[_Cube] = []
        lit = np.argwhere(grid[..., 1:] >= self._finish.threshold)
        for y, x, at in lit.tolist():
            score, label = float(grid[y, x, at + 1]), at + 1
            if not any(c.label == label and c.takes(x, y, score) for c in cubes):
                cubes.append(_Cube(x, y, x + 1, y + 1, score, label))
        return cubes


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> Fomo:
    """Raises ModelError where the outputs do not fit."""
    return Fomo(manifest, boxes.roles(manifest, specs, ("grid",))["grid"])


def recognise(probe: OutputProbe) -> Head | None:
    """One grid of cells of 8 pixels, channels last, whose cells are distributions, in a model of any size."""
    if len(probe.outputs) != 1 or probe.layout != "NHWC" or probe.width < 2 * CELL:
        return None
    ((name, values),) = probe.outputs.items()
    grid = (probe.height // CELL, probe.width // CELL)
    if values.ndim != 4 or values.shape[1:3] != grid or not 2 <= values.shape[3] <= 100 or values.dtype.kind != "f":
        return None
    if values.min() < -0.02 or not np.allclose(values.sum(axis=3), 1, atol=0.05):
        return None
    outputs = (Output(name=name, role="grid"),)
    return Head(
        "detect", "fomo", outputs, {}, Evidence.NUMBERS, "fomo", values.shape[3], background=True,
        warning="boxes are the cells of 8 pixels that hold the middle of an object (FOMO)",
    )  # fmt: skip


HEAD = HeadInfo(edge_api=1, create=create, recognise=recognise, honours=DETECTS_ONCE)
