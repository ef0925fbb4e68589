"""What may happen any number of times a second: enough of it in the log to notice, not enough to drown in."""

from __future__ import annotations

from edge.data.units import SECOND_NS
from edge.plugins.protocols import Clock


class Seldom:
    """The first is said at once, then at most one in `every_s`. Belongs to one thread."""

    def __init__(self, clock: Clock, every_s: float = 10.0) -> None:
        self._clock = clock
        self._every_ns = int(every_s * SECOND_NS)
        self._next_ns = 0
        self._unsaid = 0

    def due(self) -> int:
        """It has happened: 0, or how often since it was said last, this one too, where it is to be said now."""
        self._unsaid += 1
        if (now := self._clock.monotonic_ns()) < self._next_ns:
            return 0
        self._next_ns = now + self._every_ns
        return self.untold()

    def untold(self) -> int:
        """How often it has happened and was not said; at the end nothing comes that would say it."""
        said, self._unsaid = self._unsaid, 0
        return said
