"""SCRFD of InsightFace: a score, a box and, mostly, five points for each anchor of a cell.

Two anchors to a cell of three strides, or one to a cell of five (option `anchors`). The formula is InsightFace's
`detection/scrfd/tools/scrfd.py`: a box is four distances from the cell's corner, times the stride, a point is an offset
from it, times the stride. Outputs are told by their sizes; their names are numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from msgspec.structs import replace

from edge.data.result import Detection
from edge.data.sample import ModelInput
from edge.data.tensor import Tensors, TensorSpec
from edge.describe.head import DETECTS, Evidence, Head, HeadInfo, OutputProbe
from edge.errors import SampleError
from edge.model.manifest import Manifest, Output
from edge.postprocess.detect import faces
from edge.postprocess.detect.boxes import Candidates, Detections
from edge.postprocess.detect.grids import Grid

STRIDES = (8, 16, 32, 64, 128)
_FORMS = {6: (2, 3), 9: (2, 3), 10: (1, 5), 15: (1, 5)}
"""Anchors to a cell and number of strides, by the number of outputs."""
_KINDS = {faces.COLUMNS[kind]: kind for kind in ("score", "bbox", "kps")}


class Scrfd:
    """Reads two outputs for each stride, or three with points."""

    def __init__(self, manifest: Manifest, names: Mapping[str, str]) -> None:
        self._names = names
        self._strides = [s for s in STRIDES if f"score_{s}" in names]
        self._grid = Grid(self._strides, int(manifest.decoder_options.get("anchors", 2)))
        self._finish = Detections(manifest, threshold=0.5)
        self.threshold = self._finish.threshold

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Detection]:
        kinds = [k for k in _KINDS.values() if f"{k}_{self._strides[0]}" in self._names]
        scores, places, *points = (faces.joined(outputs, self._names, kind, self._strides) for kind in kinds)
        grid = self._grid(self._finish.size(model_input))
        if any(len(rows) != len(grid) for rows in (scores, places, *points)):
            raise SampleError(f"{len(scores)} scores and {len(places)} boxes for {len(grid)} anchors")
        which = np.flatnonzero(scores[:, 0] >= self._finish.threshold)
        stride = grid[which, 2:]
        centre, far = grid[which, :2] * stride, places[which] * stride
        corners = np.concatenate((centre - far[:, :2], centre + far[:, 2:]), axis=1)
        candidates = Candidates(corners, scores[which, 0], np.zeros(len(which), np.int64))
        if points:
            offsets = points[0][which].reshape(len(which), -1, 2)
            seen = centre[:, None] + offsets * stride[:, None]
            candidates = replace(candidates, points=np.pad(seen, ((0, 0), (0, 0), (0, 1)), constant_values=1))
        return self._finish(candidates, model_input)


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> Scrfd:
    """Raises ModelError where the outputs do not fit."""
    points = any(o.role.startswith("kps_") for o in manifest.outputs) or any(s.name.startswith("kps_") for s in specs)
    kinds = ("score", "bbox", "kps") if points else ("score", "bbox")
    return Scrfd(manifest, faces.by_stride(manifest, specs, kinds))


def recognise(probe: OutputProbe) -> Head | None:
    """By sizes alone: for each stride as many rows as anchors, of one, four and ten numbers."""
    if len(probe.outputs) not in _FORMS:
        return None
    anchors, strides = _FORMS[len(probe.outputs)]
    rows = {anchors * probe.cells(s): s for s in STRIDES[:strides]}
    roles: dict[str, str] = {}
    for name, values in probe.outputs.items():
        shape = values.shape[1:] if values.ndim == 3 and values.shape[0] == 1 else values.shape
        if len(shape) != 2 or shape[0] not in rows or shape[1] not in _KINDS or values.dtype.kind != "f":
            return None
        roles[f"{_KINDS[shape[1]]}_{rows[shape[0]]}"] = name
    if len(roles) != len(probe.outputs) or "score_8" not in roles or "bbox_8" not in roles:
        return None
    outputs = tuple(Output(name=n, role=r) for r, n in roles.items())
    options = {} if anchors == 2 else {"anchors": anchors}
    return Head("detect", "scrfd", outputs, options, Evidence.NUMBERS, "scrfd", 1, nms=0.4, labels=("face",))


HEAD = HeadInfo(edge_api=1, create=create, recognise=recognise, honours=DETECTS)
