"""Which decoder fits the outputs of a picture model: recognised by names, shapes and a run on noise.

A detector's outputs have shapes that follow from its input: a head of strides 8, 16 and 32 has
H/8 * W/8 + H/16 * W/16 + H/32 * W/32 cells. What the shapes leave open (are the boxes pixels or shares, is
there a column for the background) the numbers of one run on noise decide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from edge.data.tensor import Array
from edge.describe import blazeface_presets
from edge.model.manifest import Output, Task

END_TO_END_ROWS = 1000
_DISTANCES = 32


@dataclass(frozen=True, slots=True)
class Head:
    """A decoder, which output is what for it, its options, and the convention of pictures that goes with it."""

    task: Task
    decoder: str
    outputs: tuple[Output, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    style: str = ""
    classes: int = 0
    nms: float | None = None
    threshold: float | None = None
    labels: tuple[str, ...] = ()
    """What the classes are called where nobody says."""
    activation: Literal["", "sigmoid"] = ""
    background: bool = False
    """True: the first of `classes` is the background, which files of labels leave out."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a head is recognised by: a run's outputs (real values), the input's size, the count of labels."""

    outputs: Mapping[str, Array]
    width: int
    height: int
    labels: int = 0
    detection_outputs: tuple[str, ...] = ()
    extras: int = 0
    """Values of a row beside box and classes (mask coefficients, keypoints), where metadata tells."""
    keypoints: tuple[int, int] = (0, 0)
    channels: int = 3
    """Of the input: what is like its own grey picture is no mask."""


def find(seen: Seen) -> Head | None:
    """The first head that fits, or None."""
    for guess in (
        _named_boxes, _tflite_detection, _scores_and_boxes, _blazeface, _movenet, _rows, _paddle, _fastestdet, _segments
    ):  # fmt: skip
        head = guess(seen)
        if head is not None:
            return head
    return None


def cells(width: int, height: int, strides: tuple[int, ...] = (8, 16, 32)) -> int:
    """Cells of a head with these strides."""
    return sum((width // s) * (height // s) for s in strides)


def _tflite_detection(seen: Seen) -> Head | None:
    shapes = {n: a.shape for n, a in seen.outputs.items()}
    if len(shapes) != 4:
        return None
    roles = ("boxes", "classes", "scores", "count")
    names = seen.detection_outputs if set(seen.detection_outputs) == set(shapes) else ()
    if not names:
        names = _by_shape(seen.outputs)
    if not names:
        return None
    outputs = tuple(Output(name=n, role=r) for n, r in zip(names, roles, strict=True))
    return Head("detect", "tflite-detection", outputs, style="tflite-detection")


def _by_shape(outputs: Mapping[str, Array]) -> tuple[str, ...]:
    """Boxes [1, N, 4], two of [1, N], and a count of one value."""
    boxes = [n for n, a in outputs.items() if a.ndim == 3 and a.shape[2] == 4]
    count = [n for n, a in outputs.items() if a.size == 1]
    flat = [n for n, a in outputs.items() if a.ndim == 2 and n not in count]
    if len(boxes) != 1 or len(count) != 1 or len(flat) != 2:
        return ()
    first, second = flat
    if any(re.search("score", n, re.IGNORECASE) for n in flat):
        classes, scores = (second, first) if re.search("score", first, re.IGNORECASE) else (first, second)
    elif list(outputs).index(boxes[0]) == 0:
        classes, scores = first, second  # the operator's own order
    else:
        scores, classes = first, second  # TensorFlow 2 exports: scores, boxes, count, classes
    return boxes[0], classes, scores, count[0]


def _named_boxes(seen: Seen) -> Head | None:
    """Detections after suppression under telling names: TensorFlow's ONNX exports, torchvision, the ONNX zoo."""
    if seen.detection_outputs:
        return None  # the operator itself says which is which
    found: dict[str, str] = {}
    for name in seen.outputs:
        plain = name.lower().partition(":")[0]
        for role, pattern in (
            ("boxes", r"^(detection_|det_)?b?boxes$"),
            ("classes", r"^(detection_|det_)?(classes|labels)$"),
            ("scores", r"^(detection_|det_)?scores$"),
            ("count", r"^num_(detections|dets)$"),
        ):
            if re.match(pattern, plain):
                found[role] = name
    if not {"boxes", "classes", "scores"} <= set(found):
        return None
    if seen.outputs[found["scores"]].ndim > 2 and seen.outputs[found["scores"]].shape[-1] > 1:
        return None
    tensorflow = any(n.lower().startswith("detection_") for n in found.values())
    boxes = seen.outputs[found["boxes"]]
    options: dict[str, Any] = {"box_format": "yxyx" if tensorflow else "xyxy"}
    largest = float(np.abs(boxes).max()) if boxes.size else 0.0
    if largest > 2 or (largest == 0 and not tensorflow):
        options["normalized"] = False
    if tensorflow:
        options["class_offset"] = 1
    outputs = tuple(Output(name=n, role=r) for r, n in found.items())
    # The SSD of the ONNX zoo was trained with ImageNet's numbers; torchvision and DETR take 0 to 1.
    style = "" if "bboxes" in found["boxes"].lower() else "yolo-stretch"
    return Head("detect", "tflite-detection", outputs, options, style)


def _scores_and_boxes(seen: Seen) -> Head | None:
    """[1, N, C] and [1, N, 4], decoded boxes; a DETR says so by its names."""
    three = {n: a for n, a in seen.outputs.items() if a.ndim == 3}
    if len(three) != 2:
        return None
    boxes = [n for n, a in three.items() if a.shape[2] == 4]
    if len(boxes) == 2:
        boxes = [n for n in boxes if "box" in n.lower() or "loc" in n.lower()]
    if len(boxes) != 1:
        return None
    (scores,) = (n for n in three if n != boxes[0])
    rows, columns = three[scores].shape[1:]
    if rows != three[boxes[0]].shape[1] or rows < 10 or columns > 2000:
        return None
    outputs = (Output(name=scores, role="scores"), Output(name=boxes[0], role="boxes"))
    values = three[scores]
    background = columns > 1 and bool(np.allclose(values.sum(axis=2), 1, atol=0.02))
    if "pred_boxes" in boxes[0] or "logits" in scores or {boxes[0], scores} == {"dets", "labels"}:
        options: dict[str, Any] = {"box_format": "cxcywh", "activation": "sigmoid"}
        # RF-DETR ("dets", "labels") was trained with ImageNet's numbers.
        style = "yolo-stretch" if boxes[0] != "dets" else ""
        return Head("detect", "scores-boxes", outputs, options, style, columns, nms=1.0)
    form = _box_format(three[boxes[0]][0])
    if form is None:
        return None  # offsets from anchors that the file does not hold
    options = {} if form == "xyxy" else {"box_format": form}
    if background:
        options["background"] = 0
    elif values.min() < 0 or values.max() > 1:
        options["activation"] = "sigmoid" if columns == 1 else "softmax"
        if columns > 1:
            options["background"] = 0
    if np.abs(three[boxes[0]]).max() > 4:
        options["normalized"] = False
    classes = columns
    faces = columns == 2 and "background" in options
    return Head("detect", "scores-boxes", outputs, options, "ultraface" if faces else "tflite-detection", classes,
                nms=0.3 if faces else None, threshold=0.7 if faces else None,
                labels=("background", "face") if faces else ())  # fmt: skip


def _box_format(boxes: Array) -> str | None:
    """How decoded boxes [N, 4] are written, by what noise gives; None where they are no boxes."""
    if ((boxes[:, 2:] >= boxes[:, :2]).all(axis=1)).mean() > 0.95:
        return "xyxy"
    return "cxcywh" if (boxes >= 0).all() else None


def _blazeface(seen: Seen) -> Head | None:
    """[1, N, 4 + 2K] and [1, N, 1], where N anchors fit the input."""
    three = {n: a for n, a in seen.outputs.items() if a.ndim == 3}
    if len(three) != 2 or len(seen.outputs) != 2:
        return None
    (scores, one), (boxes, values) = sorted(three.items(), key=lambda item: item[1].shape[2])
    rows, columns = values.shape[1:]
    if one.shape[1:] != (rows, 1) or columns < 6 or columns % 2 or columns > 4 + 2 * 33:
        return None
    if blazeface_presets.layout(rows, seen.width, seen.height) is None:
        return None
    palm = columns == 18
    outputs = (Output(name=boxes, role="boxes"), Output(name=scores, role="scores"))
    label = {16: "face", 18: "palm"}.get(columns, "person")
    style = "mediapipe-palm" if palm else "mediapipe"
    return Head("detect", "blazeface", outputs, {}, style, 1, nms=0.3, labels=(label,))


def _movenet(seen: Seen) -> Head | None:
    if len(seen.outputs) != 1:
        return None
    ((name, values),) = seen.outputs.items()
    if values.ndim == 4 and values.shape[:2] == (1, 1) and values.shape[3] == 3 and 5 <= values.shape[2] <= 200:
        return Head("keypoints", "keypoints", (Output(name=name, role="keypoints"),), style="movenet")
    return None


def _rows(seen: Seen) -> Head | None:
    """The YOLO family: one output (or the first of two, with masks) of rows or columns that are boxes."""
    three = {n: a for n, a in seen.outputs.items() if a.ndim == 3}
    # Older exports of YOLOv5 give the raw grids too, in five dimensions; masks come in four.
    others = [a for a in seen.outputs.values() if a.ndim == 4]
    flat = [a for a in seen.outputs.values() if a.ndim < 3]
    if len(three) != 1 or len(others) > 1 or flat:
        return None
    ((name, values),) = three.items()
    output = (Output(name=name, role="rows"),)
    rows, columns = values.shape[1:]
    total = cells(seen.width, seen.height)
    masks = others[0].shape[1] if others and seen.extras == 0 else 0
    extras = seen.extras + masks
    few = rows <= END_TO_END_ROWS and rows not in (total, 3 * total)
    if columns in (6, 7) and few:
        form = "end-to-end" if columns == 6 else "end-to-end-7"
        return Head("detect", "yolo", output, {"form": form, **_shares(values[..., :4])}, "yolo")
    if few and columns == 6 + (seen.keypoints[0] * seen.keypoints[1] or seen.extras):
        points = {"keypoints": list(seen.keypoints)} if seen.keypoints[0] else {"extras": seen.extras}
        options = {"form": "end-to-end", **points, **_shares(values[..., :4])}
        return Head("keypoints" if seen.keypoints[0] else "detect", "yolo", output, options, "yolo")
    if seen.labels and columns - seen.labels == _DISTANCES:
        return None  # NanoDet: distances as distributions, which no decoder here reads
    if columns in (total, 3 * total) or (rows < columns and columns > 100):
        return _channels_first(seen, output, values, extras)
    if rows == 3 * total and columns > 5:
        options = {"form": "v5", **_shares(values[..., :4])}
        return Head("detect", "yolo", output, options, "yolo", columns - 5 - extras)
    if rows == total and columns > 5:
        return _channels_last(seen, output, values)
    if rows > columns > 5 and rows >= 100:
        # Without labels: COCO has 80 classes.
        form = "v8-rows" if columns - 4 - extras == (seen.labels or 80) else "v5"
        taken = 4 if form == "v8-rows" else 5
        return Head(
            "detect", "yolo", output, {"form": form, **_shares(values[..., :4])}, "yolo", columns - taken - extras
        )
    return None


def _paddle(seen: Seen) -> Head | None:
    """PaddleDetection's exports: [N, 6] and how many of them belong to the picture."""
    rows = [n for n, a in seen.outputs.items() if a.ndim == 2 and a.shape[1] == 6 and a.dtype.kind == "f"]
    count = [n for n, a in seen.outputs.items() if a.size == 1 and a.dtype.kind in "iu"]
    if len(seen.outputs) != 2 or len(rows) != 1 or len(count) != 1:
        return None
    return Head("detect", "yolo", (Output(name=rows[0], role="rows"),), {"form": "paddle"})


def _channels_first(seen: Seen, output: tuple[Output, ...], values: Array, extras: int) -> Head:
    options: dict[str, Any] = {"form": "v8", **_shares(values[:, :4])}
    count, size = seen.keypoints
    task: Task = "detect"
    if count:
        options["keypoints"], task = [count, size], "keypoints"
        extras = count * size
    elif values.shape[1] == 56:  # 4 + 1 + 17 * 3: a person and the joints of COCO
        options["keypoints"], task, extras = [17, 3], "keypoints", 51
    if extras:
        options["extras"] = extras
    return Head(task, "yolo", output, options, "yolo", values.shape[1] - 4 - extras)


def _channels_last(seen: Seen, output: tuple[Output, ...], values: Array) -> Head:
    """One row a cell: YOLOX (offsets to decode, or decoded), YOLOv6, or YOLOv8 turned round."""
    columns = values.shape[2]
    decoded = bool(np.abs(values[..., :2]).max() > min(seen.width, seen.height) / 4)
    if not decoded and np.abs(values[..., :2]).max() <= 1.5 and columns - 4 == seen.labels:
        return Head("detect", "yolo", output, {"form": "v8-rows", "normalized": True}, "yolo", columns - 4)
    if decoded and columns - 5 != seen.labels and (columns - 4 == seen.labels or columns == 84):
        return Head("detect", "yolo", output, {"form": "v8-rows"}, "yolo", columns - 4)
    if decoded:
        return Head("detect", "yolo", output, {"form": "v5"}, "yolox", columns - 5)
    return Head("detect", "yolox", output, {}, "yolox", columns - 5)


def _shares(boxes: Array) -> dict[str, Any]:
    """Boxes as shares of the input (exports to TFLite) or in its pixels."""
    return {"normalized": True} if boxes.size and np.abs(boxes).max() <= 2 else {}


def _fastestdet(seen: Seen) -> Head | None:
    if len(seen.outputs) != 1:
        return None
    ((name, values),) = seen.outputs.items()
    if values.ndim != 4:
        return None
    grid = (seen.height // 16, seen.width // 16)
    first = values.shape[2:] == grid
    last = values.shape[1:3] == grid
    columns = values.shape[1] if first else values.shape[3]
    known = columns == 85 or (seen.labels and columns - 5 == seen.labels)
    if not (first or last) or not known:
        return None
    options = {} if first else {"channels_last": True}
    return Head("detect", "fastestdet", (Output(name=name, role="grid"),), options, "fastestdet", columns - 5)


def _segments(seen: Seen) -> Head | None:
    """Scores for each pixel, or the class of each pixel, at the input's size or a whole fraction of it."""
    name, values = next(iter(seen.outputs.items()))
    if len(seen.outputs) > 2 and any(a.shape != values.shape for a in seen.outputs.values()):
        return None  # several of one shape are one mask and what training added (U-2-Net)
    mask = (Output(name=name, role="mask"),)
    if values.ndim == 4:
        for at, spatial in ((1, values.shape[2:]), (3, values.shape[1:3])):
            channels = values.shape[at]
            if not _fraction(seen, spatial):
                continue
            if channels == 1:
                return _one_channel(seen, values, mask, at)
            if 2 <= channels <= 300 and (channels != 3 or _are_classes(seen, values, at)):
                return Head("segment", "segment", mask, {"axis": at}, "segment", channels)
    flat = values.shape[-2:] if values.ndim in (2, 3, 4) and set(values.shape[:-2]) <= {1} else ()
    if values.dtype.kind in "iu" and flat and _fraction(seen, flat):
        return Head("segment", "segment", mask, {"axis": None}, "segment")
    return None


def _are_classes(seen: Seen, values: Array, at: int) -> bool:
    """Three channels may be a picture: they are classes where labels or probabilities say so."""
    return seen.labels in (2, 3) or bool(np.allclose(values.sum(axis=at), 1, atol=0.02))


def _one_channel(seen: Seen, values: Array, mask: tuple[Output, ...], at: int) -> Head | None:
    """One label against the rest: probabilities, or numbers on both sides of 0. Others may be depth, or a picture."""
    low, high = float(values.min()), float(values.max())
    probabilities = low >= 0 and high <= 1.001
    if seen.channels == 1 or not (probabilities or low < 0 < high):
        return None
    activation: Literal["", "sigmoid"] = "" if probabilities else "sigmoid"
    return Head("segment", "segment", mask, {"axis": at}, "segment", 2, activation=activation, background=True)


def _fraction(seen: Seen, spatial: tuple[int, ...]) -> bool:
    height, width = spatial
    if min(height, width) < 16:
        return False
    return any(abs(seen.height - height * k) <= k and abs(seen.width - width * k) <= k for k in (1, 2, 4, 8))
