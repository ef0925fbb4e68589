"""A result as metrics: a birth announces those that each result of a model has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from edge.data.vocabulary import SCORED
from edge.mqtt.sparkplug.payload import BOOLEAN, DOUBLE, INT64, STRING, Metric, Value

COMMON = {"id": STRING, "seq": INT64, "source": STRING, "count": INT64, "result": STRING}
"""Of every task; `result` is our whole message."""


class ResultMetrics:
    """Those that a birth announces: of one model, or of several."""

    def __init__(self, task: str, values: Sequence[str] = ()) -> None:
        """`values`: names of what a regression gives."""
        self._of_several = False
        self.kinds: dict[str, int] = dict(COMMON)
        if task == "anomaly":
            self.kinds |= {"top/score": DOUBLE, "top/is_anomaly": BOOLEAN}
        elif task in SCORED:
            self.kinds |= {"top/text" if task == "text" else "top/label": STRING, "top/score": DOUBLE}
        self.kinds |= {f"values/{name}": DOUBLE for name in values}

    @classmethod
    def of_result(cls, result: Mapping[str, Any]) -> ResultMetrics:
        """Those of the model that made this one."""
        return cls(str(result["task"]), [p["name"] for p in result["predictions"] if "value" in p and "name" in p])

    def with_those_of(self, other: ResultMetrics) -> ResultMetrics:
        """Of both models."""
        both = ResultMetrics("")
        both.kinds, both._of_several = {**other.kinds, **self.kinds}, True
        return both

    def announced(self, timestamp: int) -> list[Metric]:
        """All of them, without a value."""
        return [Metric(name, None, kind, timestamp=timestamp) for name, kind in self.kinds.items()]

    def of(self, result: Mapping[str, Any], payload: bytes) -> list[Metric]:
        """`payload` is the result as JSON. Where nothing is found what tells of it is null."""
        timestamp, historical = time_ms(str(result["time"])), bool(result.get("replayed"))
        values = _values(result, payload)
        kinds = ResultMetrics.of_result(result).kinds if self._of_several else self.kinds
        return [
            Metric(name, values.get(name), kind, timestamp=timestamp, historical=historical)
            for name, kind in kinds.items()
        ]


def _values(result: Mapping[str, Any], payload: bytes) -> dict[str, Value]:
    found: list[dict[str, Any]] = result["predictions"]
    values: dict[str, Value] = {
        **{name: result[name] for name in ("id", "seq", "source")},
        "count": len(found),
        "result": payload.decode(),
    }
    if result["task"] in SCORED and found:
        best = max(found, key=lambda prediction: float(prediction["score"]))
        values |= {f"top/{name}": best[name] for name in ("label", "text", "score", "is_anomaly") if name in best}
    values |= {f"values/{p['name']}": p["value"] for p in found if "value" in p}
    return values


def time_ms(text: str) -> int:
    """Milliseconds since 1970 of a result's time."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)
