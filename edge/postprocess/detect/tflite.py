"""Detections that the model has suppressed already: TFLite_Detection_PostProcess and what resembles it.

Outputs: boxes [1, N, 4] (y_min x_min y_max x_max as shares of the input), classes [1, N], scores [1, N], and
where there is one a count. Options: `box_format`, `normalized` (false: pixels of the input), `class_offset`
(1 where class 1 is the first label).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from edge.data.result import Detection
from edge.data.sample import ModelInput
from edge.data.tensor import Array, Tensors, TensorSpec
from edge.describe.head import DETECTS_ONCE, Evidence, Head, HeadInfo, OutputProbe
from edge.model.manifest import Manifest, Output
from edge.postprocess.detect import boxes
from edge.postprocess.detect.boxes import Candidates, Detections

_NAMES = (
    ("boxes", r"^(detection_|det_)?b?boxes$"),
    ("classes", r"^(detection_|det_)?(classes|labels)$"),
    ("scores", r"^(detection_|det_)?scores$"),
    ("count", r"^(num_(detections|dets)|count)$"),
)


class Suppressed:
    """Reads the four outputs."""

    def __init__(self, manifest: Manifest, names: dict[str, str]) -> None:
        options = manifest.decoder_options
        self._names = names
        self._form = str(options.get("box_format", "yxyx"))
        self._normalized = bool(options.get("normalized", True))
        self._offset = int(options.get("class_offset", 0))
        self._finish = Detections(manifest, suppress=False)
        self.threshold = self._finish.threshold

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
        return self._finish(Candidates(corners[:count], scores[:count], index).take(known), model_input)


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> Suppressed:
    """Raises ModelError where the outputs do not fit."""
    return Suppressed(manifest, boxes.roles(manifest, specs, ("boxes", "classes", "scores"), ("count",)))


# --- recognised -------------------------------------------------------------------------------------------------


def recognise(probe: OutputProbe) -> Head | None:
    """By the operator in the graph, by telling names, else by four outputs of its shapes."""
    operator = probe.metadata.detection_outputs
    if set(operator) == set(probe.outputs) and len(operator) == 4:
        return _of_tensorflow(operator, Evidence.METADATA)
    named = _named(probe)
    if named is not None:
        return named
    by_shape = _by_shape(probe.outputs)
    return _of_tensorflow(by_shape, Evidence.NUMBERS) if by_shape else None


def _of_tensorflow(names: tuple[str, ...], evidence: Evidence) -> Head:
    roles = ("boxes", "classes", "scores", "count")
    outputs = tuple(Output(name=n, role=r) for n, r in zip(names, roles, strict=True))
    # Class 0 is the first object, though old files of labels begin with "???" for the background.
    return Head("detect", "tflite-detection", outputs, {}, evidence, "tflite-detection", objects_only=True)


def _by_shape(outputs: Mapping[str, Array]) -> tuple[str, ...]:
    """Boxes [1, N, 4], two of [1, N], and a count of one value."""
    places = [n for n, a in outputs.items() if a.ndim == 3 and a.shape[2] == 4 and a.dtype.kind == "f"]
    count = [n for n, a in outputs.items() if a.size == 1]
    flat = [n for n, a in outputs.items() if a.ndim == 2 and n not in count]
    if len(outputs) != 4 or len(places) != 1 or len(count) != 1 or len(flat) != 2:
        return ()
    first, second = flat
    if any(re.search("score", n, re.IGNORECASE) for n in flat):
        classes, scores = (second, first) if re.search("score", first, re.IGNORECASE) else (first, second)
    elif list(outputs).index(places[0]) == 0:
        classes, scores = first, second  # the operator's own order
    else:
        scores, classes = first, second  # TensorFlow 2 exports: scores, boxes, count, classes
    return places[0], classes, scores, count[0]


def _named(probe: OutputProbe) -> Head | None:
    """TensorFlow's ONNX exports, torchvision, the ONNX zoo, RT-DETR, D-FINE and DEIM with their own postprocessor."""
    names: dict[str, str] = {}
    for name in probe.outputs:
        for role, pattern in _NAMES:
            if re.match(pattern, name.lower().partition(":")[0]):
                names[role] = name
    if not {"boxes", "classes", "scores"} <= set(names):
        return None
    scores, places = probe.outputs[names["scores"]], probe.outputs[names["boxes"]]
    if (scores.ndim > 2 and scores.shape[-1] > 1) or places.shape[-1:] != (4,) or places.dtype.kind != "f":
        return None
    tensorflow = any(n.lower().startswith("detection_") for n in names.values())
    options: dict[str, Any] = {"box_format": "yxyx" if tensorflow else "xyxy"}
    largest = float(np.abs(places).max()) if places.size else 0.0
    if largest > 2 or (largest == 0 and not tensorflow) or "orig_target_sizes" in probe.inputs:
        options["normalized"] = False
    # torchvision's come without a batch; its class 0 is the background, which is never found.
    torchvision = scores.ndim == 1 and probe.outputs[names["classes"]].ndim == 1 and not tensorflow
    from_one = tensorflow or (torchvision and probe.labels > 0 and 0 not in probe.outputs[names["classes"]])
    if from_one:
        options["class_offset"] = 1
    outputs = tuple(Output(name=n, role=r) for r, n in names.items())
    # The SSD of the ONNX zoo was trained with ImageNet's numbers; torchvision and DETR take 0 to 1.
    preset = "imagenet" if "bboxes" in names["boxes"].lower() else "stretched"
    return Head(
        "detect", "tflite-detection", outputs, options, Evidence.NAMES, preset, objects_only=from_one,
        warning="classes are numbered from 1, as torchvision does: the first label but the background is 1"
        if from_one and torchvision else "",
    )  # fmt: skip


HEAD = HeadInfo(edge_api=1, create=create, recognise=recognise, honours=DETECTS_ONCE)
