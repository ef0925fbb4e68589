"""The spool as a lane sees it: that it fails is a state which passes, not an exception.

Full disks are emptied and folders made writable again, so a shelf tries once in `retry_s` seconds, and says
loudly when the trouble begins and when it is over.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from edge.data.message import Message
from edge.errors import UnavailableError
from edge.plugins.protocols import Clock, Entry, Spool
from edge.telemetry.metrics import Metrics

log = logging.getLogger("edge.lane")


class Shelf:
    """`None` from a method means: not now. Used by the lane's thread alone."""

    def __init__(self, name: str, spool: Spool, clock: Clock, metrics: Metrics, retry_s: float) -> None:
        self._name = name
        self._spool = spool
        self._clock = clock
        self._metrics = metrics
        self._retry_ns = int(retry_s * 1e9)
        self.opened = False
        self._removable: list[int] = []
        self.failing = False
        self.due_ns = 0
        """While it fails: when the next try is worth it, on the monotonic clock."""

    @property
    def resting(self) -> bool:
        """It failed, and it is too early to try again."""
        return self.failing and self._clock.monotonic_ns() < self.due_ns

    def open(self) -> None:
        """Raises SpoolError, where it can never work."""
        if not self.opened and self._try(self._spool.open):
            self.opened = True
            if len(self._spool):
                log.info("results wait in the spool", extra={"sink": self._name, "messages": len(self._spool)})

    def origins(self, limit: int) -> list[bytes]:
        """Of the newest that wait on disk; none where it cannot be read now."""
        found: list[bytes] = []
        if self.opened:
            self._try(lambda: found.extend(self._spool.origins(limit)))
        return found

    def save(self, messages: Sequence[Message]) -> list[int] | None:
        """Their keys, once they are on disk."""
        self.open()
        keys: list[int] = []
        if not self.opened or not self._try(lambda: keys.extend(self._spool.append(messages))):
            return None
        if self.failing:
            self.failing = False
            log.warning("spool works again", extra={"sink": self._name})
        return keys

    def after(self, key: int, limit: int) -> list[Entry] | None:
        """The next entries; what was given to `remove` is not among them."""
        self.flush()
        entries: list[Entry] = []
        return entries if self._try(lambda: entries.extend(self._spool.after(key, limit))) else None

    def remove(self, key: int) -> None:
        """Confirmed: `flush` takes it from the disk."""
        self._removable.append(key)

    @property
    def owes(self) -> bool:
        """`flush` has something to do."""
        return bool(self._removable)

    def flush(self) -> None:
        """Carries out what `remove` was told."""
        if self._removable and self.opened and self._try(lambda: self._spool.remove(self._removable)):
            self._removable = []

    def close(self) -> None:
        self.flush()
        self._spool.close()

    def _try(self, work: Callable[[], None]) -> bool:
        try:
            work()
        except UnavailableError as exc:
            self.due_ns = self._clock.monotonic_ns() + self._retry_ns
            self._metrics.inc(f"spool_errors:{self._name}")
            if not self.failing:
                self.failing = True
                log.error("spool fails, results wait in memory", extra={"sink": self._name, "reason": str(exc)})
            return False
        return True
