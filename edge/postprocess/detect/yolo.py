"""The heads of the YOLO family as Ultralytics and its forerunners export them, decoded inside the model.

`form` among the decoder's options: "v8" (v8, v9, v11: [1, 4 + C, N], centre and size, a score for each class),
"v8-rows" (the same turned round), "v5" (v5, v6, v7: [1, N, 5 + C], the class scores are multiplied by the
object's), "end-to-end" (v10 and later: [1, N, 6], corners, score, class; nothing left to suppress), "end-to-end-centre"
(Ultralytics' RT-DETR: the same with centre and size), "end-to-end-7" (v7: batch index, corners, class, score),
"end-to-end-nas" (YOLO-NAS: the same with the score before the class) and "paddle" (PaddleDetection: class, score,
corners). `normalized`: boxes are shares of the input, as in exports to TFLite, not pixels. `keypoints` [K, D]: K points
of D numbers follow the classes. `extras`: numbers that follow the classes and are no class; with an output of the role
"prototypes" they are coefficients of masks, which become `polygons`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec.structs import replace

from edge.data.result import Detection
from edge.data.sample import ModelInput
from edge.data.tensor import Array, Tensors, TensorSpec
from edge.describe.head import DETECTS, END_TO_END_ROWS, Evidence, Head, HeadInfo, OutputProbe
from edge.errors import ConfigError, ModelError, SampleError
from edge.model.manifest import Manifest, Output, Task
from edge.postprocess.detect import boxes, masks
from edge.postprocess.detect.boxes import Candidates, Detections

THRESHOLD = 0.25  # Ultralytics' own
WHOLE = {"end-to-end": 6, "end-to-end-centre": 6, "end-to-end-7": 7, "end-to-end-nas": 7, "paddle": 6}
"""Numbers of a box at least, in those that have suppressed what overlaps."""
FORMS = ("v8", "v8-rows", "v5", *WHOLE)


class Yolo:
    """Reads one output of rows or columns that are boxes, and one of prototypes where there are masks."""

    def __init__(self, manifest: Manifest, names: dict[str, str]) -> None:
        options = manifest.decoder_options
        self._name = names["rows"]
        self._prototypes = names.get("prototypes")
        self._form = str(options.get("form", "v8"))
        if self._form not in FORMS:
            raise ModelError(f"{manifest.name}: the option form={self._form!r} is not one of {', '.join(FORMS)}")
        self._normalized = bool(options.get("normalized", False))
        self._points = tuple(map(int, (options.get("keypoints") or (0, 0))[:2]))
        self._extras = int(options.get("extras", self._points[0] * self._points[1]))
        self._finish = Detections(manifest, suppress=self._form not in WHOLE, threshold=THRESHOLD)
        self.threshold = self._finish.threshold

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Detection]:
        values = boxes.rows(outputs, self._name)
        if self._form == "v8":
            values = values.T  # a view: what follows touches the candidates only
        candidates = self._end_to_end(values) if self._form in WHOLE else self._scored(values)
        size = self._finish.size(model_input)
        if self._normalized:
            candidates = _in_pixels(candidates, size)
        candidates = self._finish.chosen(candidates)
        if self._prototypes is None or candidates.extras is None or not len(candidates.scores):
            return self._finish.predictions(candidates, model_input)
        prototypes = np.asarray(outputs[self._prototypes])
        shapes = masks.polygons(
            prototypes, candidates.extras, candidates.corners, size, self._finish.frame(model_input)
        )
        return self._finish.predictions(candidates, model_input, shapes)

    def _scored(self, values: Array) -> Candidates:
        start = 5 if self._form == "v5" else 4
        stop = values.shape[1] - self._extras
        self._require(values, start + 1 + self._extras)
        threshold = self._finish.threshold
        if start == 5:
            # A score is at most the object's, so most rows need no look at their classes.
            values = values[np.flatnonzero(values[:, 4] >= threshold)]
        by_class = values[:, start:stop]
        best = by_class.max(axis=1) if len(values) else np.zeros(0, np.float32)
        scores = best * values[:, 4] if start == 5 else best
        which = np.flatnonzero(scores >= threshold)
        chosen = values[which]
        corners = boxes.corners(chosen[:, :4], "cxcywh")
        candidates = Candidates(corners, scores[which], by_class[which].argmax(axis=1))
        return self._with_extras(candidates, chosen[:, stop:])

    def _require(self, values: Array, least: int) -> None:
        if values.shape[1] < least:
            raise SampleError(f"the output {self._name!r} has {values.shape[1]} values a box, too few for its decoder")

    def _end_to_end(self, values: Array) -> Candidates:
        self._require(values, WHOLE[self._form] + self._points[0] * self._points[1])
        if self._form == "end-to-end-7":
            return Candidates(values[:, 1:5], values[:, 6], np.rint(values[:, 5]).astype(np.int64))
        if self._form == "end-to-end-nas":
            return Candidates(values[:, 1:5], values[:, 5], np.rint(values[:, 6]).astype(np.int64))
        if self._form == "paddle":
            return Candidates(values[:, 2:6], values[:, 1], np.rint(values[:, 0]).astype(np.int64))
        corners = boxes.corners(values[:, :4], "cxcywh" if self._form == "end-to-end-centre" else "xyxy")
        candidates = Candidates(corners, values[:, 4], np.rint(values[:, 5]).astype(np.int64))
        return self._with_extras(candidates, values[:, 6:])

    def _with_extras(self, candidates: Candidates, values: Array) -> Candidates:
        count, size = self._points
        if not count:
            return replace(candidates, extras=values if self._prototypes is not None else None)
        points = values[:, : count * size].reshape(-1, count, size)
        if size == 2:
            points = np.concatenate((points, np.ones((*points.shape[:2], 1), points.dtype)), axis=2)
        return replace(candidates, points=points[..., :3])


def _in_pixels(candidates: Candidates, size: tuple[int, int]) -> Candidates:
    scale = np.array(size, dtype=np.float32)
    points = candidates.points
    if points is not None:
        points = np.concatenate((points[..., :2] * scale, points[..., 2:]), axis=2)
    return replace(candidates, corners=candidates.corners * np.tile(scale, 2), points=points)


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> Yolo:
    """Raises ModelError where the outputs or the options do not fit."""
    form = str(manifest.decoder_options.get("form", "v8"))
    if form in WHOLE and manifest.nms is not None:
        raise ConfigError(f"--nms {manifest.nms:g}: this model has suppressed what overlaps itself; leave it out")
    return Yolo(manifest, boxes.roles(manifest, specs, ("rows",), ("prototypes",)))


# --- recognised -------------------------------------------------------------------------------------------------


def recognise(probe: OutputProbe) -> Head | None:
    """One float output of rows or columns that are boxes, and prototypes in four dimensions where there are masks."""
    if probe.metadata.kind not in ("", "detect", "segment", "pose"):
        return None
    if (known := _paddle(probe) or _seven(probe)) is not None:
        return known
    three = {n: a for n, a in probe.ranked(3).items() if a.dtype.kind == "f"}
    # Older exports of YOLOv5 give the raw grids too, in five dimensions.
    four = probe.ranked(4)
    others = [n for n, a in probe.outputs.items() if a.ndim not in (3, 4, 5)]
    if len(three) != 1 or len(probe.ranked(3)) != 1 or len(four) > 1 or others:
        return None
    ((name, values),) = three.items()
    if not probe.metadata.kind and probe.is_map(*values.shape[1:]):
        return None
    prototypes = next(iter(four.items()), None)
    if prototypes is not None and not _are_prototypes(prototypes[1], queries=values.shape[1]):
        return None
    if values.shape[2] > 1 and np.allclose(values.sum(axis=2), 1, atol=0.02):
        return None  # steps of a text, or classes alone
    head = _rows(probe, values, _extras(probe, values, prototypes))
    if head is None:
        return None
    outputs: tuple[Output, ...] = (Output(name=name, role="rows"),)
    if prototypes is not None and "extras" in head.options:
        outputs += (Output(name=prototypes[0], role="prototypes"),)
    evidence = Evidence.METADATA if probe.metadata.kind else head.evidence
    preset = "stretched" if _is_detr(probe, head) else head.preset
    nms = 1.0 if preset == "stretched" and head.options["form"] not in WHOLE else None
    return replace(head, outputs=outputs if head.task != "raw" else (), evidence=evidence, preset=preset, nms=nms)


def _paddle(probe: OutputProbe) -> Head | None:
    """PaddleDetection's exports: [N, 6] and how many of them belong to the picture."""
    rows = [n for n, a in probe.outputs.items() if a.ndim == 2 and a.shape[1] == 6 and a.dtype.kind == "f"]
    count = [n for n, a in probe.outputs.items() if a.size == 1 and a.dtype.kind in "iu"]
    if len(probe.outputs) != 2 or len(rows) != 1 or len(count) != 1:
        return None
    outputs = (Output(name=rows[0], role="rows"),)
    return Head("detect", "yolo", outputs, {"form": "paddle"}, Evidence.NUMBERS)


def _seven(probe: OutputProbe) -> Head | None:
    """[N, 7] or [1, N, 7]: a batch's index, corners, class and score (YOLOv7), or score and class (YOLO-NAS)."""
    ((name, values), *others) = probe.outputs.items()
    if others or probe.metadata.kind or values.dtype.kind != "f" or values.shape[-1:] != (7,):
        return None
    if values.ndim not in (2, 3) or values.size > 7 * END_TO_END_ROWS or values.size != 7 * values.shape[-2]:
        return None
    lit = boxes.lit(values.reshape(-1, 7))
    corners = lit[:, 1:5]
    if lit[:, 0].any() or not (corners[:, 2:] >= corners[:, :2]).all():
        return None
    of_v7, of_nas = (boxes.are_classes(lit[:, c]) and boxes.are_shares(lit[:, s]) for c, s in ((5, 6), (6, 5)))
    if not (of_v7 or of_nas):
        return None
    nas = of_nas and (not of_v7 or "flat_predictions" in name)
    warning = "" if nas or of_v7 != of_nas else (
        "seven numbers a box are taken for YOLOv7's, with the class before the score: a run on noise found nothing "
        "that tells (form end-to-end-nas of a sidecar's decoder_options turns them round)"
    )  # fmt: skip
    head = _head("end-to-end-nas" if nas else "end-to-end-7", corners, evidence=Evidence.NUMBERS)
    return replace(head, outputs=(Output(name=name, role="rows"),), warning=warning)


def _extras(probe: OutputProbe, values: Array, prototypes: tuple[str, Array] | None) -> int:
    if probe.metadata.extras or prototypes is None:
        return probe.metadata.extras
    return min(int(prototypes[1].shape[1]), int(prototypes[1].shape[3]))


def _are_prototypes(values: Array, *, queries: int) -> bool:
    """Planes that all boxes share, [1, E, h, w] or [1, h, w, E]; as many as queries are a mask each."""
    count = min(values.shape[1], values.shape[3])
    return sorted(values.shape[1:])[1] >= 8 and count > 1 and queries not in values.shape[1:]


def _is_detr(probe: OutputProbe, head: Head) -> bool:
    """RT-DETR of Ultralytics: pictures are stretched, and nothing is left to suppress."""
    form = head.options.get("form")
    older = form == "v8-rows" and bool(head.options.get("normalized")) and bool(probe.metadata.kind)
    return probe.metadata.head == "RTDETRDecoder" or form == "end-to-end-centre" or older


def _rows(probe: OutputProbe, values: Array, extras: int) -> Head | None:
    rows, columns = values.shape[1:]
    total = probe.cells(8, 16, 32)
    if extras and min(rows, columns) - extras < 5:
        return None  # masks of other families
    if rows <= END_TO_END_ROWS and rows not in (total, 3 * total):
        head = _few(probe, values[0])
        if head is not None or columns == 6:
            return head
    if columns in (total, 3 * total) or (rows < columns and columns > 100):
        return _columns(probe, values[0].T, extras)
    if rows == 3 * total and columns > 5:
        return _anchored(probe, values[0], extras)
    if rows == total and columns > 5:
        return _cells(probe, values[0], extras)
    if rows > columns > 5 and rows >= 100:
        return _many(probe, values[0], extras)
    return None


def _few(probe: OutputProbe, rows: Array) -> Head | None:
    """Boxes after suppression: corners, score, class, and what belongs to a pose or a mask."""
    points, columns = probe.metadata.keypoints, rows.shape[1]
    if columns == 7 and not probe.metadata.kind:
        return None  # looked at already
    more = points[0] * points[1] or probe.metadata.extras
    if columns != 6 + more:
        return None
    if probe.metadata.head == "RTDETRDecoder":
        return _head("end-to-end-centre", rows[:, :4])
    lit = boxes.lit(rows)
    if not (probe.metadata.kind or (boxes.are_shares(lit[:, 4]) and boxes.are_classes(lit[:, 5]))):
        return None
    # Metadata without a `head` may be of an RT-DETR, too.
    form = "end-to-end" if probe.metadata.head else _corners_or_centre(lit[:, :4])
    if form is None and not probe.metadata.kind:
        return None
    options: dict[str, Any] = {}
    task: Task = "detect"
    if points[0]:
        options["keypoints"], task = list(points), "keypoints"
    elif more:
        options["extras"] = more
    if not len(lit) and probe.layout == "NHWC":
        options["normalized"] = True  # nothing found in noise says nothing of the scale: TFLite's exports have shares
    head = _head(form or "end-to-end", lit[:, :4], options, task=task, evidence=Evidence.NUMBERS)
    return head if probe.metadata.kind else replace(head, warning=_from_one(rows, lit))


def _from_one(rows: Array, lit: Array) -> str:
    """effdet gives 100 rows, counts classes from 1 (`anchors.py`, generate_detections) and takes ImageNet's numbers."""
    if len(rows) != 100 or not len(lit) or lit[:, 5].min() < 1:
        return ""
    return (
        "none of the 100 rows is of class 0: EfficientDet's begin at 1; where it is one, put a line for the background "
        "first into --labels and say --mean, --std and --resize"
    )


def _corners_or_centre(rows: Array) -> str | None:
    """Corners are in order; a centre and a size mostly are not, as numbers. None where neither is sure."""
    if not len(rows):
        return "end-to-end"
    ordered = float((rows[:, 2:] >= rows[:, :2]).all(axis=1).mean())
    if ordered > 0.9:
        return "end-to-end"
    return "end-to-end-centre" if rows.min() >= 0 and rows.max() <= 1.5 else None


def _columns(probe: OutputProbe, rows: Array, extras: int) -> Head | None:
    """[1, 4 + C, N]: v8 and what came after it."""
    options: dict[str, Any] = {}
    task: Task = "detect"
    count, size = probe.metadata.keypoints
    if not count and rows.shape[1] == 56 and probe.labels in (0, 1):
        count, size = 17, 3  # 4 + 1 + 17 * 3: a person and the joints of COCO
    if count:
        options["keypoints"], task, extras = [count, size], "keypoints", count * size
    if extras:
        options["extras"] = extras
    classes = rows.shape[1] - 4 - extras
    if classes < 1 or not (probe.metadata.kind or boxes.are_shares(rows[:, 4 : 4 + classes])):
        return None
    sure = len(rows) in (probe.cells(8, 16, 32), probe.cells(8, 16, 32, 64))
    sure = sure and (bool(options) or probe.labels != classes - 1)  # a column more than labels: an angle?
    evidence = Evidence.NUMBERS if sure else Evidence.LIKELY
    return _head("v8", rows[:, :4], options, task=task, classes=classes, evidence=evidence)


def _anchored(probe: OutputProbe, rows: Array, extras: int) -> Head | None:
    """Three boxes a cell: v5 and v7, where grid and anchors are in the graph."""
    if not boxes.are_shares(rows[:, 4]) or _is_undecoded(probe, rows):
        return Head("raw", "raw", evidence=Evidence.NUMBERS, warning=(
            "a YOLOv5 whose boxes still need their grid and anchors, which the file does not hold: export it with them "
            "(Ultralytics' export.py, YOLOv7's export.py --grid)"
        ))  # fmt: skip
    options = {"extras": extras} if extras else {}
    classes = rows.shape[1] - 5 - extras
    if not boxes.are_shares(rows[:, 5 : 5 + classes]):
        return _no_classes(classes)
    return _head("v5", rows[:, :4], options, classes=classes, evidence=Evidence.NUMBERS) if classes > 0 else None


def _no_classes(columns: int) -> Head:
    return Head("raw", "raw", evidence=Evidence.NUMBERS, warning=(
        f"{columns} numbers behind the score of an object are not all shares, so they are no classes: points of a face "
        "or a body, which no decoder is known for"
    ))  # fmt: skip


def _is_undecoded(probe: OutputProbe, rows: Array) -> bool:
    """True where centres between 0 and 1 do not follow the cells that they belong to."""
    places = rows[:, 0]
    if places.max() > 2 or np.count_nonzero(places) < len(places) / 2 or places.std() < 1e-6:
        return bool(places.min() < -0.5 * probe.width)
    columns = [np.tile(np.arange(probe.width // s) / (probe.width // s), 3 * (probe.height // s)) for s in (8, 16, 32)]
    grid = np.concatenate(columns)
    return len(grid) == len(places) and float(np.corrcoef(grid, places)[0, 1]) < 0.5


def _cells(probe: OutputProbe, rows: Array, extras: int) -> Head | None:
    """One row a cell, decoded: YOLOv6, YOLOX with its decoder, or v8 turned round. What is not decoded is YOLOX's."""
    columns = rows.shape[1] - extras
    options = {"extras": extras} if extras else {}
    decoded = bool(np.abs(rows[:, :2]).max() > min(probe.width, probe.height) / 4)
    if probe.labels and columns - probe.labels == 32:
        return None  # NanoDet: distances as distributions
    if not decoded:
        turned = np.abs(rows[:, :2]).max() <= 1.5 and columns - 4 == probe.labels
        return _head("v8-rows", rows[:, :4], options, classes=columns - 4) if turned else None
    sure = bool((rows[:, 4] == 1).all())  # YOLOv6: it has no object's score, and says 1
    first = 5 if sure else _first_class(probe, columns)
    if not first:
        return _undecided(columns)
    if first == 4:
        return _head("v8-rows", rows[:, :4], options, classes=columns - 4)
    if not boxes.are_shares(rows[:, 5:columns]):
        return _no_classes(columns - 5)
    preset = "yolo" if sure or probe.metadata.kind else "yolox"
    return replace(_head("v5", rows[:, :4], options, classes=columns - 5), preset=preset)


def _first_class(probe: OutputProbe, columns: int) -> int:
    """The column of the first class: behind the box, or behind an object's score; 0 where neither is sure."""
    counts = (probe.labels,) if probe.labels else (80,)  # COCO's, where nothing says
    fits = [first for first in (5, 4) if columns - first in counts]
    return fits[0] if fits else 0


def _undecided(columns: int) -> Head:
    return Head("raw", "raw", evidence=Evidence.NUMBERS, warning=(
        f"{columns} numbers a box may be {columns - 4} classes, or an object's score and {columns - 5}: --labels says "
        "which"
    ))  # fmt: skip


def _many(probe: OutputProbe, rows: Array, extras: int) -> Head | None:
    """Rows that are no cells of these strides: labels tell whether an object's score stands before the classes."""
    columns = rows.shape[1] - extras
    options = {"extras": extras} if extras else {}
    first = _first_class(probe, columns)
    if not first:
        return replace(_undecided(columns), evidence=Evidence.LIKELY)
    if not boxes.are_shares(rows[:, 4:columns]):
        return None
    return _head("v8-rows" if first == 4 else "v5", rows[:, :4], options, classes=columns - first)


def _head(
    form: str,
    places: Array,
    options: dict[str, Any] | None = None,
    *,
    task: Task = "detect",
    classes: int = 0,
    evidence: Evidence = Evidence.LIKELY,
) -> Head:
    # Boxes as shares of the input (exports to TFLite) or in its pixels.
    shares = {"normalized": True} if places.size and np.abs(places).max() <= 2 else {}
    return Head(task, "yolo", (), {"form": form, **(options or {}), **shares}, evidence, "yolo", classes)


HEAD = HeadInfo(edge_api=1, create=create, recognise=recognise, honours=DETECTS)
