"""Transformers that find a fixed number of objects: logits [1, Q, C] and boxes [1, Q, 4], centre and size as shares.

Two ways to read the logits. Option `no_object` true: a softmax whose last column is "no object" (DETR, YOLOS: the best
class of each query). False: a sigmoid each, and the Q best pairs of query and class (Deformable and Conditional DETR,
RT-DETR, D-FINE, DEIM, RF-DETR); option `spare`: so many columns behind those of the classes stand for nothing, as one
of RF-DETR does (`rfdetr/export/_onnx/inference.py`, `background_class_id`). Nothing is left to suppress. An output of
the role "masks" [1, Q, h, w] becomes `polygons`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edge.data.result import Detection
from edge.data.sample import ModelInput
from edge.data.scores import sigmoid, softmax
from edge.data.tensor import Array, Tensors, TensorSpec
from edge.describe.head import DETECTS_ONCE, Evidence, Head, HeadInfo, OutputProbe
from edge.errors import SampleError
from edge.model.manifest import Manifest, Output
from edge.postprocess.detect import boxes, masks
from edge.postprocess.detect.boxes import Candidates, Detections

_SOFTMAX = ("detr", "yolos", "table-transformer")
_IMAGENET = (*_SOFTMAX, "conditional_detr", "deformable_detr", "deta")
_EITHER = ("conditional_detr", "deformable_detr")
"""A sigmoid each in transformers (`post_process_object_detection` of both), as many columns as labels; other programs
export them with a column for no object, which labels or a run tell."""
_MASKS = ("pred_masks", "masks")
_UNIT = ("rt_detr", "rt_detr_v2", "d_fine", "deim", "deimv2")


class Detr:
    """Reads the two outputs, and the masks where there are some."""

    def __init__(self, manifest: Manifest, names: dict[str, str]) -> None:
        self._names = names
        self._no_object = bool(manifest.decoder_options.get("no_object", False))
        self._spare = int(manifest.decoder_options.get("spare", 0))
        self._finish = Detections(manifest, suppress=False, threshold=0.5)
        self.threshold = self._finish.threshold

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Detection]:
        logits = boxes.rows(outputs, self._names["scores"])
        places = boxes.rows(outputs, self._names["boxes"], 4)
        if len(logits) != len(places):
            raise SampleError(f"{len(logits)} scores for {len(places)} boxes")
        query, classes, scores = self._best(logits)
        corners = boxes.corners(places[query], "cxcywh") * np.array(self._finish.size(model_input) * 2, np.float32)
        if "masks" not in self._names:
            return self._finish(Candidates(corners, scores, classes), model_input)
        best = self._finish.chosen(Candidates(corners, scores, classes, extras=query))
        planes = np.asarray(outputs[self._names["masks"]])
        if planes.ndim != 4 or planes.shape[:2] != (1, len(logits)):
            raise SampleError(f"masks of the shape {list(planes.shape)} for {len(logits)} queries")
        size, frame = self._finish.size(model_input), self._finish.frame(model_input)
        shapes = masks.planes(planes[0][best.extras], size, frame)
        return self._finish.predictions(best, model_input, shapes)

    def _best(self, logits: Array) -> tuple[Array, Array, Array]:
        """Query, class and score of the candidates."""
        if self._no_object:
            chances = softmax(logits.astype(np.float64))[:, :-1]
            return np.arange(len(chances)), chances.argmax(axis=1), chances.max(axis=1)
        columns = logits.shape[1] - self._spare
        flat = sigmoid(logits[:, :columns].astype(np.float64)).ravel()
        best = np.argsort(-flat, kind="stable")[: len(logits)]
        return best // columns, best % columns, flat[best]


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> Detr:
    """Raises ModelError where the outputs do not fit."""
    return Detr(manifest, boxes.roles(manifest, specs, ("scores", "boxes"), ("masks",)))


def recognise(probe: OutputProbe) -> Head | None:
    """By the names of the outputs (`logits` and `pred_boxes`, RF-DETR's `dets` and `labels`), else by the numbers."""
    three = {n: a for n, a in probe.ranked(3).items() if a.dtype.kind == "f"}
    names = _named(three)
    if names is None:
        return None
    scores, places = names
    logits = three[scores][0]
    if logits.shape[0] != three[places].shape[1]:
        return None
    of_rf_detr = places == "dets"
    no_object, sure = (False, True) if of_rf_detr else _has_no_object(probe, logits)
    spare = int(of_rf_detr and probe.labels == logits.shape[1] - 1)
    planes = [n for n, a in probe.ranked(4).items() if n in _MASKS and a.shape[:2] == (1, len(logits))]
    roles = {scores: "scores", places: "boxes"} | ({planes[0]: "masks"} if len(planes) == 1 else {})
    outputs = tuple(Output(name=name, role=role) for name, role in roles.items())
    classes = logits.shape[1] - no_object - spare
    preset, warning = _preset(probe, places, logits.shape[1], no_object), ""
    if not sure:
        warning = (
            f"{logits.shape[1]} columns of logits may end with one for no object: taken for "
            f"{'a softmax with it' if no_object else 'a sigmoid each'} (--labels FILE tells)"
        )
    evidence = Evidence.METADATA if probe.metadata.family else Evidence.NAMES
    options: dict[str, Any] = {"no_object": True} if no_object else {"spare": spare} if spare else {}
    return Head("detect", "detr", outputs, options, evidence, preset, classes, warning=warning)


def _named(three: dict[str, Array]) -> tuple[str, str] | None:
    """The names of logits and boxes."""
    places = [n for n, a in three.items() if a.shape[2] == 4 and n in ("pred_boxes", "boxes", "dets")]
    scores = [n for n in three if n in ("logits", "pred_logits", "labels")]
    if len(places) != 1 or len(scores) != 1:
        return None
    if (places[0] == "dets") != (scores[0] == "labels"):
        return None
    return scores[0], places[0]


def _has_no_object(probe: OutputProbe, logits: Array) -> tuple[bool, bool]:
    """Whether the last column is "no object", and whether that is sure."""
    family, columns = probe.metadata.family, logits.shape[1]
    if family and family not in _EITHER:
        return family.replace("-", "_") in (f.replace("-", "_") for f in _SOFTMAX), True
    if probe.labels in (columns - 1, columns):
        return probe.labels == columns - 1, True
    picture = next((a[0] for n, a in probe.picture().items() if a.shape[1:] == logits.shape), logits)
    for seen in (logits, picture):
        last = softmax(seen.astype(np.float64))[:, -1]
        if float(np.median(last)) > 0.5:  # most queries find nothing
            return True, True
        if float(sigmoid(seen).max(axis=1).mean()) < 0.5 and float(np.median(last)) < 0.1:
            return False, True
    return columns == 92, columns in (80, 91, 92)  # COCO


def _preset(probe: OutputProbe, places: str, columns: int, no_object: bool) -> str:
    """RT-DETR and its kin take 0 to 1, the others ImageNet's numbers. RF-DETR takes these, too, and samples pictures
    without smoothing them (`rfdetr/export/_resize.py`). Where none is named it is a guess:
    columns for the numbers of COCO, which has 80 names and numbers up to 90, are of DETR's kin."""
    family = probe.metadata.family
    if family in _UNIT:
        return "stretched"
    if places == "dets":
        return "rf-detr"
    if no_object or family in _IMAGENET:
        return "imagenet"
    return "imagenet-guess" if family or columns in (90, 91) else "stretched-guess"


HEAD = HeadInfo(edge_api=1, create=create, recognise=recognise, honours=DETECTS_ONCE)
