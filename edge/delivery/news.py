"""What a change is, for each task: two results say the same, or one of them is news. Pure.

The *state* of a result is what people name when they tell it: classify: the top label. detect, keypoints: how many of
each label, and of each in a zone (a box that moves is no change), and the class or text that a second model has for
each. anomaly: `is_anomaly`. segment: the labels seen.
regress, raw: the numbers. A deadband makes numbers differ only when they are apart by more, and makes two more numbers
count at all: the anomaly's score and the areas of a segmentation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any

from edge.data.result import Classification, Detection, Result, Text
from edge.data.vocabulary import OBJECTS

NUMBERS = ("regress", "raw", "segment", "anomaly")


def differ(a: Result, b: Result, deadband: float | None = None) -> bool:
    """True where `b` is news after `a`; `deadband` is in the unit of the numbers."""
    if _state(a) != _state(b):
        return True
    before, now = _numbers(a, deadband), _numbers(b, deadband)
    return before.keys() != now.keys() or any(_apart(before[k], now[k], deadband or 0.0) for k in now)


def alarm(result: Result) -> bool:
    """True for an anomaly."""
    return result.task == "anomaly" and any(p.is_anomaly for p in result.predictions)


def _state(result: Result) -> Any:
    predictions = result.predictions
    if result.task == "classify":
        return (predictions[0].index, predictions[0].label) if predictions else None
    if result.task in OBJECTS:
        return Counter((p.index, p.label, _within(p)) for p in predictions), result.counts
    if result.task == "anomaly":
        return alarm(result)
    if result.task == "segment":
        return [sorted(p.labels) for p in predictions]
    if result.task == "text":
        return [p.text for p in predictions]
    return None  # the numbers are the state


def _within(detection: Detection) -> Hashable:
    best = detection.inner
    if isinstance(best, Text):
        return best.text
    return (best.index, best.label) if isinstance(best, Classification) else None


def _numbers(result: Result, deadband: float | None) -> Mapping[Hashable, Any]:
    predictions = result.predictions
    if result.task == "regress":
        return {(i, p.name): p.value for i, p in enumerate(predictions)}
    if result.task == "raw":
        return {(i, p.name, j): value for i, p in enumerate(predictions) for j, value in enumerate(p.data)}
    if deadband is None:
        return {}
    if result.task == "anomaly":
        return {i: p.score for i, p in enumerate(predictions)}
    if result.task == "segment":
        return {(i, label): a for i, p in enumerate(predictions) for label, a in zip(p.labels, p.areas, strict=True)}
    return {}


def _apart(before: Any, now: Any, deadband: float) -> bool:
    if before == now or (before != before and now != now):  # NaN after NaN is no news
        return False
    both = isinstance(before, (int, float)) and isinstance(now, (int, float))
    return not (both and abs(now - before) <= deadband)
