"""Skipped samples in the log: enough to notice, not enough to drown in."""

from __future__ import annotations

import logging

from edge.data.result import Skipped
from edge.plugins.protocols import Clock
from edge.telemetry.seldom import Seldom

log = logging.getLogger("edge.runner")


class SkipLog:
    """Says the first skipped sample at once, then at most one line in ten seconds, with the count."""

    def __init__(self, clock: Clock) -> None:
        self._seldom = Seldom(clock)

    def say(self, skipped: Skipped) -> None:
        if count := self._seldom.due():
            log.warning(
                "sample skipped",
                extra={"reason": skipped.reason, "source": skipped.source, "seq": skipped.seq, "skipped": count},
            )
