"""NanoDet and NanoDet-Plus: [1, N, C + 4B], a row a cell: probabilities of classes, then four distances.

A distance (left, top, right, bottom) is a distribution: the mean of the softmax of its B bins, times the stride
(`nanodet/model/head/gfl_head.py`, Integral). Option `strides`: NanoDet-Plus has 8, 16, 32, 64 and measures from the
cell's corner; its forerunner has 8, 16, 32 and measures from the middle (`offset` 0.5). Option `bins` (8).
"""

from __future__ import annotations

import numpy as np

from edge.data.result import Detection
from edge.data.sample import ModelInput
from edge.data.scores import softmax
from edge.data.tensor import Tensors, TensorSpec
from edge.describe.head import DETECTS, Evidence, Head, HeadInfo, OutputProbe
from edge.errors import SampleError
from edge.model.manifest import Manifest, Output
from edge.postprocess.detect import boxes
from edge.postprocess.detect.boxes import Candidates, Detections
from edge.postprocess.detect.grids import Grid

PLUS = (8, 16, 32, 64)
FIRST = (8, 16, 32)
BINS = 8


class NanoDet:
    """Reads one output of rows."""

    def __init__(self, manifest: Manifest, name: str) -> None:
        options = manifest.decoder_options
        self._name = name
        self._bins = int(options.get("bins", BINS))
        self._offset = float(options.get("offset", 0.0))
        self._grid = Grid([int(s) for s in options.get("strides", PLUS)])
        self._finish = Detections(manifest, threshold=0.35)
        self.threshold = self._finish.threshold

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Detection]:
        values = boxes.rows(outputs, self._name)
        grid = self._grid(self._finish.size(model_input))
        classes = values.shape[1] - 4 * self._bins
        if len(grid) != len(values) or classes < 1:
            raise SampleError(
                f"the output {self._name!r} has the shape {list(values.shape)}; strides {self._grid.strides} make "
                f"{len(grid)} cells of classes and {4 * self._bins} bins"
            )
        scores = values[:, :classes].max(axis=1)
        which = np.flatnonzero(scores >= self._finish.threshold)
        chosen, cell = values[which], grid[which]
        bins = softmax(chosen[:, classes:].reshape(-1, 4, self._bins))
        stride = cell[:, 2:]
        far = bins @ np.arange(self._bins, dtype=np.float32) * stride
        centre = (cell[:, :2] + self._offset) * stride
        corners = np.concatenate((centre - far[:, :2], centre + far[:, 2:]), axis=1)
        return self._finish(Candidates(corners, scores[which], chosen[:, :classes].argmax(axis=1)), model_input)


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> NanoDet:
    """Raises ModelError where the outputs do not fit."""
    return NanoDet(manifest, boxes.roles(manifest, specs, ("rows",))["rows"])


def recognise(probe: OutputProbe) -> Head | None:
    """Cells of its strides, with probabilities in front and distances, which are no probabilities, behind."""
    found = probe.lone_rows()
    if found is None:
        return None
    name, values = found
    rows, columns = values.shape[1:]
    strides = {probe.cells(*PLUS): PLUS, probe.cells(*FIRST): FIRST}.get(rows)
    bins, rest = divmod(columns - probe.labels, 4) if probe.labels else (BINS, 0)
    if rest or not 4 <= bins <= 17:
        bins = BINS
    classes = columns - 4 * bins
    if strides is None or classes < 1:
        return None
    scores, distances = values[..., :classes], values[..., classes:]
    if scores.min() < -0.02 or scores.max() > 1.02:
        return None
    lit = bool(distances.min() < -0.02 or distances.max() > 1.02)
    if strides == FIRST and not (lit or classes == probe.labels):
        return None
    options = {"strides": list(strides)} | ({"offset": 0.5} if strides == FIRST else {})
    options |= {"bins": bins} if bins != BINS else {}
    outputs = (Output(name=name, role="rows"),)
    return Head("detect", "nanodet", outputs, options, Evidence.NUMBERS, "nanodet", classes, nms=0.6)


HEAD = HeadInfo(edge_api=1, create=create, recognise=recognise, honours=DETECTS)
