"""What became of the inputs, told at the end: how many were read, inferred and skipped, and why."""

from __future__ import annotations

import logging
import re
from collections import Counter

from edge.errors import SourceError
from edge.telemetry.metrics import Metrics

log = logging.getLogger("edge.runner")

KINDS_MOST = 100
"""Kinds of reasons that are told apart."""
SHOWN = 3


class EndReport:
    """`skipped` by the thread that finishes samples; the rest by the main thread, after the others have ended."""

    def __init__(self, metrics: Metrics, source: str, run: str = "") -> None:
        """`metrics`: the runner's, which counts what was read, inferred and skipped. `run` as in RunnerOptions."""
        self._metrics = metrics
        self._source = source
        self._run = {"run": run} if run else {}
        self._reasons: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def skipped(self, reason: str) -> None:
        """Reasons that differ in their numbers alone are of one kind: the first of them is told."""
        kind = re.sub(r"\d+", "#", reason)
        if kind not in self._first and len(self._first) >= KINDS_MOST:
            kind, reason = "", "other reasons"
        self._first.setdefault(kind, reason)
        self._reasons[kind] += 1

    def stopped(self) -> None:
        """Logs the counts of a service that was told to stop: few of the skipped were said when they came."""
        self._log("stopped")

    def tell(self) -> None:
        """Logs the counts. Raises SourceError where the source gave nothing that could be used."""
        read, results, skipped, why = self._log("end of the source")
        if skipped and not results:
            raise SourceError(f"--source {self._source}: nothing of it could be used; {skipped} skipped: {why}")
        if not read:
            raise SourceError(
                f"--source {self._source}: there was nothing to read: it is empty, or holds a header alone"
            )
        if not results:
            raise SourceError(
                f"--source {self._source}: it ended before the model's window was full, after {read} inputs; send a "
                "longer one"
            )

    def _log(self, what: str) -> tuple[int, int, int, str]:
        read, results, skipped = (
            int(self._metrics.counter(name)) for name in ("samples_read", "results", "samples_skipped")
        )
        why = self._why()
        reasons = {"reasons": why} if why else {}
        log.info(what, extra={**self._run, "read": read, "results": results, "skipped": skipped, **reasons})
        return read, results, skipped, why

    def _why(self) -> str:
        common = self._reasons.most_common(SHOWN)
        more = len(self._reasons) - len(common)
        told = [f"{count} x {self._first[kind]}" for kind, count in common]
        return "; ".join(told) + (f"; and {more} more kinds" if more else "")
