"""Detections that the model has suppressed already: TFLite_Detection_PostProcess and what resembles it.

Outputs: boxes [1, N, 4] (y_min x_min y_max x_max as shares of the input), classes [1, N], scores [1, N], and
where there is one a count. Options: `box_format`, `normalized` (false: pixels of the input), `class_offset`
(1 where class 1 is the first label).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec.structs import replace

from edge.data.result import Detection
from edge.data.sample import ModelInput
from edge.data.tensor import Array, Tensors, TensorSpec
from edge.describe.head import DETECTS_ONCE, Evidence, Head, HeadInfo, OutputProbe
from edge.model import coco
from edge.model.manifest import Manifest, Output
from edge.postprocess.detect import boxes
from edge.postprocess.detect.boxes import Candidates, Detections

log = logging.getLogger(__name__)

_NAMES = (
    ("boxes", r"^(detection_|detected_|det_|graph\d*_pred_)?b?boxes$"),
    ("classes", r"^(detection_|detected_|det_|graph\d*_pred_)?(classes|labels)$"),
    ("scores", r"^(detection_|detected_|det_|graph\d*_pred_)?scores$"),
    ("count", r"^(num_(detections|dets)|graph\d*_num_predictions|count)$"),
)
_YOLO = re.compile(r"det_boxes$|graph\d*_pred_boxes$")
"""The boxes of Ultralytics' kin exported with suppression (`end2end`), and of YOLO-NAS."""
_OF_90 = frozenset(each * classes for each in (1, 3, 4, 6, 9) for classes in (coco.NUMBERS, coco.NUMBERS + 1))
_OF_80 = frozenset(each * (coco.CLASSES + 1) for each in (1, 3, 4, 6, 9)) | {9 * coco.CLASSES}
"""Biases of last layers: scores, or the sides of a box for each class, for so many anchors in one place."""
_FREE_SIZE = (640, 640)
"""torchvision's detectors scale pictures themselves, to 800 pixels: what is given to them should not be small."""


class Suppressed:
    """Reads the four outputs."""

    def __init__(self, manifest: Manifest, names: dict[str, str]) -> None:
        options = manifest.decoder_options
        self._names = names
        self._form = str(options.get("box_format", "yxyx"))
        self._normalized = bool(options.get("normalized", True))
        self._offset = int(options.get("class_offset", 0))
        self._finish = Detections(manifest, suppress=False)
        self._model, self._told = manifest.name, False
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
        if len(known) < count and not self._told and (scores[:count][index < 0] >= self.threshold).any():
            self._told = True
            log.warning(
                "objects of a class before the first are left out",
                extra={"model": self._model, "fix": f"class_offset 0 in a sidecar (--describe), it is {self._offset}"},
            )
        return self._finish(Candidates(corners[:count], scores[:count], index).take(known), model_input)


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> Suppressed:
    """Raises ModelError where the outputs do not fit."""
    return Suppressed(manifest, boxes.roles(manifest, specs, ("boxes", "classes", "scores"), ("count",)))


# --- recognised -------------------------------------------------------------------------------------------------


def recognise(probe: OutputProbe) -> Head | None:
    """By the operator in the graph, by telling names, else by four outputs of its shapes, or torchvision's three."""
    operator = probe.metadata.detection_outputs
    if set(operator) == set(probe.outputs) and len(operator) == 4:
        return _of_tensorflow(operator, Evidence.METADATA, _classes(probe))
    named = _named(probe)
    if named is not None:
        return named
    by_shape = _by_shape(probe.outputs)
    if by_shape:
        head = _of_tensorflow(by_shape, Evidence.NUMBERS)
        return head if probe.metadata.producer == "tflite" else replace(head, warning=(
            f"the corners of {by_shape[0]} are taken in TensorFlow's order, y before x, and pictures from -1 to 1: "
            "box_format xyxy in a sidecar's decoder_options turns them round, --mean and --std say the numbers"
        ))  # fmt: skip
    unnamed = _unnamed(probe.outputs)
    return _torchvision(probe, unnamed, Evidence.NUMBERS) if unnamed else None


def _classes(probe: OutputProbe) -> int:
    """Those that TFLite_Detection_PostProcess tells apart: it is given one more where there is a background."""
    given = probe.metadata.detection_scores
    return given if given in (probe.objects, coco.NUMBERS) else max(0, given - 1)


def _of_coco(probe: OutputProbe) -> int:
    """How many classes there are where 80 names may be COCO's, whose own numbers go up to 90; else 0, not known."""
    if probe.objects != coco.CLASSES:
        return 0
    lengths = probe.weights()
    return coco.CLASSES if lengths & _OF_80 and not lengths & _OF_90 else coco.NUMBERS


def _of_tensorflow(names: tuple[str, ...], evidence: Evidence, classes: int = 0) -> Head:
    roles = ("boxes", "classes", "scores", "count")
    outputs = tuple(Output(name=n, role=r) for n, r in zip(names, roles, strict=True))
    # Class 0 is the first object, though old files of labels begin with "???" for the background.
    return Head(
        "detect", "tflite-detection", outputs, {}, evidence, "tflite-detection", classes=classes, objects_only=True
    )


def _by_shape(outputs: Mapping[str, Array]) -> tuple[str, ...]:
    """Boxes [1, N, 4] as shares, two of [1, N], and a count of one value. Boxes in pixels are of others: whose are not
    told, nor which corner comes first."""
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
    found = outputs[places[0]], outputs[classes]
    if (found[0].size and float(np.abs(found[0]).max()) > 2) or not np.array_equal(found[1], np.rint(found[1])):
        return ()
    return places[0], classes, scores, count[0]


def _unnamed(outputs: Mapping[str, Array]) -> dict[str, str]:
    """Output names by role, of torchvision's detectors that were exported without names: boxes [N, 4], labels [N] of
    whole numbers and scores [N], without a batch."""
    floats = {n: a for n, a in outputs.items() if a.dtype.kind == "f"}
    places = [n for n, a in floats.items() if a.ndim == 2 and a.shape[1] == 4]
    classes = [n for n, a in outputs.items() if a.dtype.kind in "iu" and a.ndim == 1]
    scores = [n for n, a in floats.items() if a.ndim == 1]
    if not len(places) == len(classes) == len(scores) == 1:
        return {}
    names = {"boxes": places[0], "classes": classes[0], "scores": scores[0]}
    same = len({len(outputs[n]) for n in names.values()}) == 1
    values = outputs[scores[0]]
    return names if same and (not values.size or (values.min() >= 0 and values.max() <= 1)) else {}


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
    custom_vision = names["boxes"].lower().startswith("detected_")  # corners as shares
    if scores.ndim == 1 and probe.outputs[names["classes"]].ndim == 1 and not tensorflow:
        return _torchvision(probe, names, Evidence.NAMES)
    options: dict[str, Any] = {"box_format": "yxyx" if tensorflow else "xyxy"}
    largest = float(np.abs(places).max()) if places.size else 0.0
    of_yolo = _YOLO.search(names["boxes"]) is not None
    if (
        largest > 2
        or (largest == 0 and not (tensorflow or custom_vision))
        or "orig_target_sizes" in probe.inputs
        or of_yolo
    ):
        options["normalized"] = False
    # TensorFlow's number 1 is the first label, for noise and in the rows that nothing is in, too.
    from_one = tensorflow and not _finds_class_0(probe.outputs[names["classes"]], scores)
    if from_one:
        options["class_offset"] = 1
    outputs = tuple(Output(name=n, role=r) for r, n in names.items())
    # The SSD of the ONNX zoo was trained with ImageNet's numbers; DETR's kin take 0 to 1.
    preset = "yolo" if of_yolo else "imagenet" if "bboxes" in names["boxes"].lower() else "stretched"
    warning = "class 0 is found in noise, so the first label is 0; TensorFlow's own detectors begin at 1"
    return Head(
        "detect", "tflite-detection", outputs, options, Evidence.NAMES, preset,
        classes=_of_coco(probe) if from_one else 0, objects_only=tensorflow,
        warning=warning if tensorflow and not from_one else "",
    )  # fmt: skip


def _finds_class_0(classes: Array, scores: Array) -> bool:
    count = min(classes.size, scores.size)
    return bool((np.rint(classes.ravel()[:count])[scores.ravel()[:count] > 0] == 0).any())


def _torchvision(probe: OutputProbe, names: Mapping[str, str], evidence: Evidence) -> Head:
    """torchvision's outputs come without a batch, in pixels; its class 0 is the background, which is never found."""
    from_one = probe.labels > 0 and 0 not in probe.outputs[names["classes"]]
    classes, warning = _of_coco(probe), ""
    if from_one:
        warning = "classes are numbered from 1, as torchvision does: the first label but the background is 1"
    if classes == coco.NUMBERS:
        classes += not from_one
        warning += (
            f"; its own weights number COCO's classes up to {coco.NUMBERS}, with gaps: COCO's {coco.CLASSES} names are "
            "put at these numbers, others are not used"
        )
    places = probe.outputs[names["boxes"]]
    options: dict[str, Any] = {"box_format": "xyxy"} | ({"class_offset": 1} if from_one else {})
    if not places.size or np.abs(places).max() > 2:
        options["normalized"] = False
    outputs = tuple(Output(name=n, role=r) for r, n in names.items())
    return Head(
        "detect", "tflite-detection", outputs, options, evidence, "torchvision", classes=classes,
        objects_only=from_one, size=_FREE_SIZE, warning=warning.removeprefix("; "),
    )  # fmt: skip


HEAD = HeadInfo(edge_api=1, create=create, recognise=recognise, honours=DETECTS_ONCE)
