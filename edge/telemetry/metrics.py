"""Counters, gauges and histograms, without a library: the HTTP endpoint turns them into Prometheus' format."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec

from edge.data.units import SECOND_NS

BUCKETS_S = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of every histogram, in seconds: from a tiny table model to a large picture model."""

GATHERED_MOST = 64
"""Records that are added up together at most."""


Durations: TypeAlias = Sequence[tuple[str, Sequence[float]]]
"""By the name of their histogram, in seconds."""


class Histogram(msgspec.Struct):
    """`counts` by bucket of `BUCKETS_S`, not cumulated, and one for what is slower than the last."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    total_s: float = 0.0

    def add(self, seconds: Sequence[float]) -> None:
        """Some durations together."""
        below = 0
        ordered = sorted(seconds)
        for number, bound in enumerate(BUCKETS_S):
            upto = bisect_right(ordered, bound)
            self.counts[number] += upto - below
            below = upto
        self.counts[-1] += len(ordered) - below
        self.total_s += sum(ordered)


class Metrics:
    """Numbers by name. A name with a part after ":" is one of a family ("dropped:mailbox")."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: defaultdict[str, float] = defaultdict(float)
        self._gauges: dict[str, float] = {}
        self._histograms: defaultdict[str, Histogram] = defaultdict(Histogram)
        self._gathered: deque[tuple[str | None, Durations, float]] = deque()
        self._gathered_ns: deque[tuple[str, tuple[str, ...], Sequence[int]]] = deque()

    def inc(self, name: str, by: float = 1) -> None:
        """Adds to a counter."""
        with self._lock:
            self._counters[name] += by

    def set(self, name: str, value: float) -> None:
        """Sets a gauge."""
        with self._lock:
            self._gauges[name] = value

    def observe(self, name: str, seconds: float) -> None:
        """Adds a duration to a histogram."""
        bucket = bisect_left(BUCKETS_S, seconds)
        with self._lock:
            histogram = self._histograms[name]
            histogram.counts[bucket] += 1
            histogram.total_s += seconds

    def record(self, durations: Durations, counter: str | None = None, by: float = 1) -> None:
        """Adds durations, and to the counter that they belong to, where there is one, in one go.

        They are added up when somebody reads, or when some have gathered: between two requests for a tiny model, with
        cold caches, that took a fourteenth of the time.
        """
        self._gathered.append((counter, durations, by))
        if len(self._gathered) >= GATHERED_MOST:
            with self._lock:
                self._add_up()

    def record_ns(self, counter: str, names: tuple[str, ...], durations_ns: Sequence[int]) -> None:
        """As `record`, of one, in nanoseconds as they were measured: nothing is computed before they are added up."""
        self._gathered_ns.append((counter, names, durations_ns))
        if len(self._gathered_ns) >= GATHERED_MOST:
            with self._lock:
                self._add_up()

    def _add_up(self) -> None:
        """What has gathered; with the lock."""
        together: defaultdict[str, list[float]] = defaultdict(list)
        while self._gathered:
            counter, durations, by = self._gathered.popleft()
            if counter is not None:
                self._counters[counter] += by
            for name, seconds in durations:
                together[name] += seconds
        for name, all_seconds in together.items():
            self._histograms[name].add(all_seconds)
        alike: defaultdict[tuple[str, tuple[str, ...]], list[Sequence[int]]] = defaultdict(list)
        while self._gathered_ns:
            counter, names, durations_ns = self._gathered_ns.popleft()
            alike[counter, names].append(durations_ns)
        for (counter, names), rows in alike.items():
            self._counters[counter] += len(rows)
            for name, column in zip(names, zip(*rows, strict=True), strict=True):
                self._histograms[name].add([spent_ns / SECOND_NS for spent_ns in column])

    def counter(self, name: str) -> float:
        """A counter's value, 0 where it was never counted."""
        with self._lock:
            self._add_up()
            return self._counters.get(name, 0)

    def snapshot(self) -> Mapping[str, float]:
        """Every counter and gauge."""
        with self._lock:
            self._add_up()
            return {**self._counters, **self._gauges}

    def histograms(self) -> Mapping[str, Histogram]:
        """Every histogram, copied."""
        with self._lock:
            self._add_up()
            return {name: Histogram(list(h.counts), h.total_s) for name, h in self._histograms.items()}
