"""A lane's way to its sink: up or away, and when the next try is worth it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeAlias

from edge.delivery.retry import Backoff
from edge.delivery.send_queue import ALONE, Join
from edge.errors import SampleError, UnavailableError
from edge.plugins.protocols import Clock, Entry, Sink, SinkEvents
from edge.telemetry.metrics import Metrics

log = logging.getLogger("edge.lane")

SendAll: TypeAlias = Callable[[Sequence[Entry]], Sequence[tuple[int, str]]]


class Link:
    """Used by whoever has the lane's turn; `up` may be read by any thread."""

    def __init__(self, name: str, sink: Sink, clock: Clock, metrics: Metrics, backoff: Backoff) -> None:
        self._name = name
        self._sink = sink
        self._clock = clock
        self._metrics = metrics
        self._backoff = backoff
        self._troubled = False
        self._failures = 0
        self._was_up = False
        send_all: SendAll = getattr(sink, "send_all", self._send_one)
        self._send_all = send_all
        self.at_once = sink.window if hasattr(sink, "send_all") else 1
        """How many messages `send` takes."""
        self.up = False
        self.due_ns = 0
        """While it is away: when it is tried again, on the monotonic clock."""

    def open(self, events: SinkEvents) -> bool:
        """True where it is up again after an outage."""
        try:
            self._sink.open(events)
        except UnavailableError as exc:
            self._away(str(exc))
            return False
        if self._was_up:
            self._metrics.inc(f"reconnects:{self._name}")
        self.up = self._was_up = True
        return self._troubled

    @property
    def join(self) -> Join:
        """What the sink puts in one message."""
        most: int = getattr(self._sink, "batch", 1)
        return Join(most, self._sink.batch_bytes) if most > 1 else ALONE  # type: ignore[attr-defined]

    def send(self, entries: Sequence[Entry]) -> Sequence[tuple[int, str]]:
        """The key and the reason of each that can never be sent. Raises UnavailableError."""
        return self._send_all(entries)

    def _send_one(self, entries: Sequence[Entry]) -> Sequence[tuple[int, str]]:
        (entry,) = entries
        try:
            self._sink.send(entry)
        except SampleError as exc:
            return [(entry.key, str(exc))]
        return ()

    def works(self, waiting: int) -> None:
        """It takes what it is sent. One that opens and then refuses is still away, and is not tried any sooner."""
        self._backoff.reset()
        self._failures = 0
        if self._troubled:
            self._troubled = False
            log.info("sink available again", extra={"sink": self._name, "waiting": waiting})

    def lost(self, reason: str) -> None:
        """It went, or it refused."""
        self.up = False
        self._sink.close()
        self._away(reason)

    def close(self) -> None:
        self._sink.close()

    def _away(self, reason: str) -> None:
        self.due_ns = self._clock.monotonic_ns() + int(self._backoff.next_s() * 1e9)
        self._failures += 1
        # The first try of a life may come before the connection that has only just begun: no outage yet.
        if not self._troubled and (self._was_up or self._failures > 1):
            self._troubled = True
            log.warning("sink unavailable", extra={"sink": self._name, "reason": reason})
