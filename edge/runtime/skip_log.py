"""Skipped samples in the log: enough to notice, not enough to drown in."""

from __future__ import annotations

import logging

from edge.data.result import Skipped
from edge.data.units import SECOND_NS
from edge.plugins.protocols import Clock

log = logging.getLogger("edge.runner")


class SkipLog:
    """Says the first skipped sample at once, then at most one line in ten seconds, with the count."""

    def __init__(self, clock: Clock, every_s: float = 10.0) -> None:
        self._clock = clock
        self._every_ns = int(every_s * SECOND_NS)
        self._next_ns = 0
        self._unsaid = 0

    def say(self, skipped: Skipped) -> None:
        self._unsaid += 1
        now = self._clock.monotonic_ns()
        if now < self._next_ns:
            return
        log.warning(
            "sample skipped",
            extra={"reason": skipped.reason, "source": skipped.source, "seq": skipped.seq, "skipped": self._unsaid},
        )
        self._next_ns = now + self._every_ns
        self._unsaid = 0
