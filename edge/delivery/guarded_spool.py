"""The spool behind a circuit breaker: that the disk fails is a state which passes, not an exception.

Full disks are emptied, folders made writable and locks given up again. So a spool that fails, also one that could not
be opened at the start, is tried once in `retry_s` seconds; the log says when the trouble begins and when it is over.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from edge.data.message import Message
from edge.data.units import SECOND_NS
from edge.errors import UnavailableError
from edge.plugins.protocols import Clock, Entry, Spool
from edge.telemetry.metrics import Metrics

log = logging.getLogger("edge.outbox")

T = TypeVar("T")


class GuardedSpool:
    """`None` from a method means: not now. Belongs to the outbox's owner."""

    def __init__(
        self, name: str, spool: Spool, clock: Clock, metrics: Metrics, retry_s: float, *, what: str = "results"
    ) -> None:
        """`name` is the outbox's; `what` it holds, for the log."""
        self._name = name
        self._what = what
        self._spool = spool
        self._clock = clock
        self._metrics = metrics
        self._retry_ns = int(retry_s * SECOND_NS)
        self._removable: list[int] = []
        self.opened = False
        self.failing = False
        self.due_ns = 0
        """While it fails: when the next try is worth it, on the monotonic clock."""

    @property
    def resting(self) -> bool:
        """It failed, and it is too early for another try."""
        return self.failing and self._clock.monotonic_ns() < self.due_ns

    def open(self) -> bool:
        """True where it was opened just now and holds messages. Raises SpoolError where it can never work."""
        if self.opened or self._try(self._open) is None:
            return False
        self.opened = True
        self._works()
        if len(self._spool):
            log.info(f"{self._what} wait in the spool", extra={"sink": self._name, "messages": len(self._spool)})
        return len(self._spool) > 0

    def _open(self) -> bool:
        self._spool.open()
        return True

    @property
    def messages(self) -> int:
        """How many wait there. From any thread."""
        return max(0, len(self._spool) - len(self._removable))

    @property
    def size(self) -> int:
        """Bytes that wait there."""
        return self._spool.bytes

    def origins(self, limit: int) -> list[bytes]:
        """Of the newest that wait on disk; none where it cannot be read now."""
        return (self._try(lambda: self._spool.origins(limit)) if self.opened else None) or []

    def save(self, messages: Sequence[Message]) -> list[int] | None:
        """Their keys, once they are on disk, all or none."""
        keys = self._try(lambda: self._spool.append(messages)) if self.opened else None
        if keys is not None:
            self._works()
        return keys

    def after(self, key: int, limit: int) -> list[Entry] | None:
        """The next entries; what was given to `remove` is not among them."""
        self.flush()
        return self._try(lambda: self._spool.after(key, limit))

    def remove(self, key: int) -> None:
        """Confirmed: the next `flush` takes it from the disk."""
        self._removable.append(key)

    def flush(self) -> None:
        """Carries out what `remove` was told."""
        if self._removable and self._try(self._remove) is not None:
            self._removable = []

    def _remove(self) -> int:
        self._spool.remove(self._removable)
        return len(self._removable)

    def close(self) -> None:
        """What waits stays on disk."""
        self.flush()
        self._spool.close()

    def _works(self) -> None:
        if self.failing:
            self.failing = False
            log.warning("spool works again", extra={"sink": self._name})

    def _try(self, work: Callable[[], T]) -> T | None:
        try:
            return work()
        except UnavailableError as exc:
            self.due_ns = self._clock.monotonic_ns() + self._retry_ns
            self._metrics.inc(f"spool_errors:{self._name}")
            if not self.failing:
                self.failing = True
                log.error(f"spool fails, {self._what} wait in memory", extra={"sink": self._name, "reason": str(exc)})
            return None
