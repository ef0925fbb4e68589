"""What the endpoint has done, for the protocol's statistics and for Prometheus."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

from edge.plugins.protocols import Clock
from edge.telemetry.metrics import GATHERED_MOST, Metrics

MOST_SIZES = 1024
"""Batch sizes that are told apart."""
HISTOGRAMS = ("stage:preprocess", "stage:infer", "stage:postprocess")
STAGES = ("compute_input", "compute_infer", "compute_output")


class InferenceStatistics:
    """From any thread."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._lock = threading.Lock()
        self._rows = 0
        self._done = 0
        self._runs = 0
        self._stages_ns = [0, 0, 0]
        self._failed = 0
        self._queue_ns = 0
        self._last_ns = 0
        self._batches: dict[int, list[int]] = {}
        self._answered: deque[tuple[int, int, tuple[int, int, int], int]] = deque()
        self._ran: deque[tuple[int, int]] = deque()

    def ok(self, rows: int, queue_ns: int, stages_ns: tuple[int, int, int]) -> None:
        """A request was answered: nanoseconds of waiting, and of reading, inference and writing."""
        self._metrics.record_ns("http_inferences", HISTOGRAMS, stages_ns)
        self._answered.append((rows, queue_ns, stages_ns, self._clock.time_ns()))
        if len(self._answered) >= GATHERED_MOST:
            with self._lock:
                self._add_up()

    def ran(self, rows: int, spent_ns: int) -> None:
        """The engine ran once, with so many samples together."""
        self._ran.append((rows, spent_ns))
        if len(self._ran) >= GATHERED_MOST:
            with self._lock:
                self._add_up()

    def _add_up(self) -> None:
        """What has gathered, as `Metrics` does it; with the lock."""
        answered = [self._answered.popleft() for _ in range(len(self._answered))]
        if answered:
            rows_of, queues_ns, stages_ns, times_ns = zip(*answered, strict=True)
            self._rows += sum(rows_of)
            self._done += len(answered)
            self._queue_ns += sum(queues_ns)
            self._stages_ns = [
                total + sum(ns) for total, ns in zip(self._stages_ns, zip(*stages_ns, strict=True), strict=True)
            ]
            self._last_ns = times_ns[-1]
        while self._ran:
            rows, spent_ns = self._ran.popleft()
            self._runs += 1
            batch = self._batches.setdefault(min(rows, MOST_SIZES), [0, 0])
            batch[0] += 1
            batch[1] += spent_ns

    def failed(self) -> None:
        """A request was refused."""
        self._metrics.inc("http_failed")
        with self._lock:
            self._failed += 1

    def statistics(self, name: str, version: str) -> Mapping[str, Any]:
        """One entry of `model_stats`."""
        with self._lock:
            self._add_up()
            done = self._done
            stages = {s: {"count": done, "ns": ns} for s, ns in zip(STAGES, self._stages_ns, strict=True)}
            return {
                "name": name,
                "version": version,
                "last_inference": self._last_ns // 1_000_000,
                "inference_count": self._rows,
                "execution_count": self._runs,
                "inference_stats": {
                    "success": {"count": done, "ns": sum(self._stages_ns)},
                    "fail": {"count": self._failed, "ns": 0},
                    "queue": {"count": done, "ns": self._queue_ns},
                    **stages,
                },
                "batch_stats": [
                    {"batch_size": size, "compute_infer": {"count": count, "ns": ns}}
                    for size, (count, ns) in sorted(self._batches.items())
                ],
                "memory_usage": [],
            }
