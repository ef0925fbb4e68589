"""Detections as four corners: an output "corners" [1, N, 9], x and y of four corners in pixels, and a score."""

from __future__ import annotations

import numpy as np

from edge.data.result import Detection
from edge.data.sample import ModelInput
from edge.data.tensor import Tensors, TensorSpec
from edge.describe.head import DETECTS, Evidence, Head, HeadInfo, OutputProbe
from edge.errors import ModelError
from edge.model.manifest import Manifest
from edge.postprocess.detect.boxes import Candidates, Detections

OUTPUT = "corners"
COLUMNS = 9


class Corners:
    def __init__(self, manifest: Manifest) -> None:
        self._finish = Detections(manifest)  # threshold, overlaps, labels, back to the pixels of the picture

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Detection]:
        rows = np.asarray(outputs[OUTPUT]).reshape(-1, COLUMNS)
        points = rows[:, :8].reshape(-1, 4, 2)
        boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
        return self._finish(Candidates(boxes, rows[:, 8], np.zeros(len(rows), np.int64)), model_input)


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> Corners:
    if OUTPUT not in {spec.name for spec in specs}:
        raise ModelError(f"{manifest.name}: the decoder 'corners' reads an output {OUTPUT!r}; the model has none")
    return Corners(manifest)


def recognise(probe: OutputProbe) -> Head | None:
    rows = probe.outputs.get(OUTPUT)
    if rows is None or rows.ndim != 3 or rows.shape[2] != COLUMNS:
        return None
    return Head("detect", "corners", evidence=Evidence.NAMES, classes=1)


HEAD = HeadInfo(edge_api=1, create=create, recognise=recognise, honours=DETECTS)
