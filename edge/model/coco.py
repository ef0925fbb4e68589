"""COCO's 80 classes, whose own numbers go up to 90 with gaps: who numbers classes so has other columns than names."""

from __future__ import annotations

import re
from collections.abc import Sequence

NAMES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
CLASSES = len(NAMES)
NUMBERS = 90
"""The highest number: the first is 1."""
_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
_ALSO = {
    "motorbike": "motorcycle", "aeroplane": "airplane", "sofa": "couch", "tvmonitor": "tv", "hairdryer": "hairdrier",
    "doughnut": "donut", "mobilephone": "cellphone",
}  # fmt: skip
"""Darknet's words and others."""


def are_classes(labels: Sequence[str]) -> bool:
    """Whether these are the names of the 80 classes, in their order."""
    return len(labels) == CLASSES and all(_word(a) == _word(b) for a, b in zip(labels, NAMES, strict=True))


def numbered(labels: Sequence[str], filler: str) -> tuple[str, ...]:
    """The 80 names at COCO's numbers from 1 to 90, `filler` in the gaps."""
    names = iter(labels)
    return tuple(filler if number in _GAPS else next(names) for number in range(1, NUMBERS + 1))


def _word(label: str) -> str:
    word = re.sub(r"[^a-z]", "", label.lower())
    return _ALSO.get(word, word)
