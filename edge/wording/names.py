"""What a template may name: the fields of a result, and what is made of them. Every name is always there.

A field that a result has not, or nothing found, is `none` (`null` in JSON): a template that ran with one result runs
with the next.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from edge.data.result import (
    Anomaly,
    Classification,
    Detection,
    ModelRef,
    Raw,
    Regression,
    Result,
    Segmentation,
    Text,
    Timing,
)

_OPTIONAL = ("input_id", "retained", "counts", "events")
_KINDS: Mapping[str, type[msgspec.Struct]] = {
    "classify": Classification,
    "detect": Detection,
    "keypoints": Detection,
    "regress": Regression,
    "anomaly": Anomaly,
    "segment": Segmentation,
    "text": Text,
    "raw": Raw,
}
_SCALARS = frozenset((str, int, float, bool, type(None)))
"""What a template can look at as it is."""
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_PLAIN = ("schema", "id", "time", "clock_synced", "device", "source", "seq", "task")


def blank(task: str) -> dict[str, None]:
    """A prediction of a task, all fields none."""
    kind = _KINDS.get(task)
    return dict.fromkeys(kind.__struct_fields__) if kind is not None else {}


def fields(task: str) -> dict[str, tuple[str, ...]]:
    """The names with a dot behind them that are known beforehand, and what may stand there."""
    known = {"model": ModelRef.__struct_fields__, "timing_ms": Timing.__struct_fields__}
    return {**known, "top": tuple(blank(task))} if blank(task) else known


class Names:
    """The values of names, for one task."""

    def __init__(self, task: str) -> None:
        self._blank = blank(task)
        self._by_score = "score" in self._blank and "box" in self._blank
        self.known: dict[str, Callable[[Result], object]] = {
            **{name: _field(name) for name in _PLAIN},
            **{name: _optional(name) for name in _OPTIONAL},
            "model": lambda r: msgspec.to_builtins(r.model),
            "timing_ms": lambda r: msgspec.to_builtins(r.timing_ms),
            "predictions": self._predictions,
            "top": self._top,
            "count": lambda r: len(r.predictions),
            "labels": _labels,
            "values": _values,
            "time_ms": lambda r: time_ns(r.time) // 1_000_000,
            "time_ns": lambda r: time_ns(r.time),
            "result": msgspec.to_builtins,
        }

    def values(self, used: Collection[str]) -> dict[str, Callable[[Result], object]]:
        """How each of these comes from a result; of `top.label` and the like only what is used."""
        found = {name: self.known[name] for name in {name.partition(".")[0] for name in used}}
        if "top" in found and "top" not in used:
            names = tuple(sorted(name.partition(".")[2] for name in used if name.startswith("top.")))
            found["top"] = lambda result: self._some_of(self._best(result), names)
        return found

    def _some_of(self, prediction: object, names: Sequence[str]) -> object:
        """Some fields: the rest of a prediction may be long."""
        if prediction is None:
            return self._blank
        if not isinstance(prediction, msgspec.Struct):
            return self._whole(prediction)
        some = {}
        for name in names:
            value = getattr(prediction, name, None)
            some[name] = value if type(value) in _SCALARS else _plain(value)
        return some

    def _whole(self, prediction: object) -> Any:
        plain = msgspec.to_builtins(prediction)
        if not isinstance(plain, dict):
            return plain
        if isinstance(prediction, Detection):
            plain["then"] = _plain(prediction.then)
        return {**self._blank, **plain}

    def _predictions(self, result: Result) -> object:
        return [self._whole(p) for p in result.predictions]

    def _top(self, result: Result) -> object:
        best = self._best(result)
        return self._blank if best is None else self._whole(best)

    def _best(self, result: Result) -> object:
        """The surest object; of other tasks the first. None where there is none."""
        found = result.predictions
        if not found:
            return None
        return max(found, key=lambda p: p.score) if self._by_score and len(found) > 1 else found[0]


def time_ns(text: str) -> int:
    """Nanoseconds since 1970 of a result's time."""
    return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND * 1000


def _field(name: str) -> Callable[[Result], object]:
    return lambda result: getattr(result, name)


def _optional(name: str) -> Callable[[Result], object]:
    return lambda result: _plain(getattr(result, name))


def _plain(value: object) -> object:
    """What a template can look into; fields that a struct has not are none."""
    if type(value) in _SCALARS:
        return value
    if value is msgspec.UNSET:
        return None
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, list) and value and isinstance(value[0], msgspec.Struct):
        return [_plain(one) for one in value]
    return msgspec.to_builtins(value)


def _labels(result: Result) -> dict[str, int]:
    found: dict[str, int] = {}
    for prediction in result.predictions:
        label = getattr(prediction, "label", None)
        if label is not None:
            found[label] = found.get(label, 0) + 1
    return found


def _values(result: Result) -> dict[str, float]:
    return {p.name: p.value for p in result.predictions if isinstance(p, Regression)}
