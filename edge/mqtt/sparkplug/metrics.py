"""A result as metrics: a birth announces those that each result has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from edge.data.vocabulary import SCORED
from edge.mqtt.sparkplug.payload import BOOLEAN, DOUBLE, INT64, STRING, Metric, Value

COMMON = {"id": STRING, "seq": INT64, "source": STRING, "count": INT64, "result": STRING}
"""Of every task; `result` is our whole message."""


class ResultMetrics:
    """Of one model."""

    def __init__(self, task: str, values: Sequence[str] = ()) -> None:
        """`values`: names of what a regression gives."""
        self._scored = task in SCORED
        self.kinds: dict[str, int] = dict(COMMON)
        if task == "anomaly":
            self.kinds |= {"top/score": DOUBLE, "top/is_anomaly": BOOLEAN}
        elif self._scored:
            self.kinds |= {"top/text" if task == "text" else "top/label": STRING, "top/score": DOUBLE}
        self.kinds |= {f"values/{name}": DOUBLE for name in values}

    def announced(self, timestamp: int) -> list[Metric]:
        """All of them, without a value."""
        return [Metric(name, None, kind, timestamp=timestamp) for name, kind in self.kinds.items()]

    def of(self, result: Mapping[str, Any], payload: bytes) -> list[Metric]:
        """`payload` is the result as JSON. Where nothing is found what tells of it is null."""
        timestamp, historical = time_ms(str(result["time"])), bool(result.get("replayed"))
        values = self._values(result, payload)
        return [
            Metric(name, values.get(name), kind, timestamp=timestamp, historical=historical)
            for name, kind in self.kinds.items()
        ]

    def _values(self, result: Mapping[str, Any], payload: bytes) -> dict[str, Value]:
        found: list[dict[str, Any]] = result["predictions"]
        values: dict[str, Value] = {
            **{name: result[name] for name in ("id", "seq", "source")},
            "count": len(found),
            "result": payload.decode(),
        }
        if self._scored and found:
            best = max(found, key=lambda prediction: float(prediction["score"]))
            values |= {f"top/{name}": best[name] for name in ("label", "text", "score", "is_anomaly") if name in best}
        values |= {f"values/{p['name']}": p["value"] for p in found if "value" in p}
        return values


def time_ms(text: str) -> int:
    """Milliseconds since 1970 of a result's time."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)
