"""A device that is watched, hour by hour, with a clock that is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from edge.drift import reference
from edge.drift.learnt import Saved
from edge.drift.places import Runs
from edge.drift.reference import FeatureReference, Reference
from edge.drift.report import Finding, Report
from edge.drift.tally import Counted
from edge.drift.watch import DriftWatch, Subject
from edge.pipeline.results import timestamp
from edge.telemetry.metrics import Metrics
from edge.testing.fakes import FakeClock

ROWS = 720
HOUR_S = 3600.0
NAMES = ("temperature", "pressure", "flow")
MODEL = "a" * 64

Rows = Callable[[np.random.Generator], np.ndarray]


def sample(seed: int = 0, rows: int = 20_000) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (rows, len(NAMES)))


def of(values: np.ndarray, order: str = "", door: Sequence[str] = ()) -> Reference:
    """A reference of these numbers, of a door where there is one, and of two classes."""
    features: list[FeatureReference] = [
        reference.of_numbers(name, values[:, i], ordered=order == "time") for i, name in enumerate(NAMES)
    ]
    if door:
        features.append(reference.of_texts("door", door))
    return Reference(
        rows=len(values), order="time" if order == "time" else "", features=tuple(features),
        predictions=(reference.of_classes({"cold": 500, "hot": 500}),),
    )  # fmt: skip


def usual(random: np.random.Generator) -> np.ndarray:
    """An hour as the sample was."""
    return random.normal(0, 1, (ROWS, len(NAMES)))


class Device:
    """`hours` lets time pass; `hot` is the share of that class."""

    def __init__(
        self,
        folder: Path,
        seen: Reference | None = None,
        sha256: str = MODEL,
        seed: int = 5,
        before: Saved | None = None,
    ) -> None:
        """`before`: what was learnt while another model ran."""
        self.clock = FakeClock(time_ns=1_700_000_000 // 3600 * 3600 * 10**9)
        self.metrics = Metrics()
        self.told: list[Report] = []
        self.path = folder / "device.model.drift.json"
        self._random = np.random.default_rng(seed)
        subject = Subject("device", "model", sha256, seen or of(sample()), self.path, HOUR_S)
        self.watch = DriftWatch(subject, self.clock, self.metrics, timestamp, self.told.append)
        self.watch.open(before)
        self._runs = Runs(len(self.watch.places.numbers))

    def hours(self, count: int, rows: Rows = usual, *, door: Sequence[str] = (), hot: float = 0.5) -> list[Report]:
        """The last report of each hour."""
        found = []
        for _ in range(count):
            self.give(rows(self._random), door=door, hot=hot)
            self.clock.advance(HOUR_S)
            self.watch.tick()
            found.append(self.watch.newest)
        return found

    def give(self, values: np.ndarray, *, door: Sequence[str] = (), hot: float = 0.5) -> None:
        """Rows, without any time that passes."""
        numbers = np.ascontiguousarray(values.T, dtype=np.float32)
        places, predicted = self.watch.places, self.watch.predicted_places
        counts = places.count_numbers(numbers)
        if door:
            counts = counts + places.count_texts(len(NAMES), door)
        classes = np.where(self._random.uniform(size=len(values)) < hot, "hot", "cold").tolist()
        runs, missing = self._runs.longest(numbers)
        predictions = predicted.count_texts(0, classes) if predicted.features else np.zeros(0, dtype=np.int64)
        self.watch.put(Counted(len(values), counts, predictions, runs, missing))
        self.watch.tick()

    @property
    def writes(self) -> int:
        return int(self.metrics.counter("drift_writes"))

    @property
    def alarms(self) -> int:
        return int(self.metrics.counter("drift_alarms"))


def moved(by: float, feature: int = 0) -> Rows:
    def rows(random: np.random.Generator) -> np.ndarray:
        values = usual(random)
        values[:, feature] += by
        return values

    return rows


def names(findings: Sequence[Finding]) -> list[str]:
    return list(dict.fromkeys(f.name for f in findings))
