"""MMDetection by MMDeploy: `dets` [1, N, 5] (corners in pixels of the input, score) and `labels` [1, N].

OTX and Geti, which grew out of it, call the first `boxes`.

Nothing is left to suppress; rows that only fill up have a score of 0.
"""

from __future__ import annotations

import numpy as np

from edge.data.result import Detection
from edge.data.sample import ModelInput
from edge.data.tensor import Tensors, TensorSpec
from edge.describe.head import DETECTS_ONCE, Evidence, Head, HeadInfo, OutputProbe
from edge.errors import SampleError
from edge.model.manifest import Manifest, Output
from edge.postprocess.detect import boxes
from edge.postprocess.detect.boxes import Candidates, Detections


class MmDetection:
    """Reads the two outputs."""

    def __init__(self, manifest: Manifest, names: dict[str, str]) -> None:
        self._names = names
        self._finish = Detections(manifest, suppress=False)
        self.threshold = self._finish.threshold

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Detection]:
        rows = boxes.rows(outputs, self._names["boxes"], 5)
        classes = np.asarray(outputs[self._names["classes"]]).ravel().astype(np.int64)
        if len(classes) != len(rows):
            raise SampleError(f"{len(classes)} labels for {len(rows)} boxes")
        known = np.flatnonzero(classes >= 0)
        return self._finish(Candidates(rows[:, :4], rows[:, 4], classes).take(known), model_input)


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> MmDetection:
    """Raises ModelError where the outputs do not fit."""
    return MmDetection(manifest, boxes.roles(manifest, specs, ("boxes", "classes")))


def recognise(probe: OutputProbe) -> Head | None:
    """By the names of its outputs; masks beside them are left out."""
    name = "dets" if "dets" in probe.outputs else "boxes"
    rows, classes = probe.outputs.get(name), probe.outputs.get("labels")
    if rows is None or classes is None or rows.shape[-1:] != (5,) or classes.dtype.kind not in "iu":
        return None
    outputs = (Output(name=name, role="boxes"), Output(name="labels", role="classes"))
    return Head("detect", "mmdetection", outputs, {}, Evidence.NAMES, "")


HEAD = HeadInfo(edge_api=1, create=create, recognise=recognise, honours=DETECTS_ONCE)
