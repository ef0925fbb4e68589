"""The sink of one outbox: open or away, when it is tried again, and what it has told since the last turn.

Of its messages it knows nothing: `outbox.py` says what is sent, and does what follows from its notes.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial

from edge.data.units import SECOND_NS
from edge.delivery.retry import Backoff
from edge.delivery.waker import ThreadWaker
from edge.errors import SampleError, UnavailableError
from edge.plugins.protocols import BatchSink, Clock, Entry, LoopSink, ReplyingSink, Sink, Waker
from edge.telemetry.metrics import Metrics

log = logging.getLogger("edge.outbox")


class SinkLink:
    """`confirmed`, `refused`, `lost` and `ready` (SinkEvents) from the owner or, where the sink has no loop, from any
    thread; the rest belongs to the outbox's owner."""

    def __init__(self, name: str, sink: Sink, clock: Clock, metrics: Metrics, backoff: Backoff) -> None:
        self._name = name
        self._sink = sink
        self._clock = clock
        self._metrics = metrics
        self._backoff = backoff
        self.loop = sink.loop if isinstance(sink, LoopSink) else None
        self.thread_waker = ThreadWaker()
        self.waker: Waker = self.thread_waker if self.loop is None else self.loop.waker
        self.replies = isinstance(sink, ReplyingSink) and sink.answers
        self._batch_sink = sink if isinstance(sink, BatchSink) else None
        self.send = sink.send_all if isinstance(sink, BatchSink) else partial(_send_first, sink)
        """Returns the key and the reason of each that can never be sent. Raises UnavailableError."""
        self.joins = (1, 0)
        """How many messages it joins into one at most, and of how many bytes together, 0 where it joins none: as the
        other side takes them on this connection."""
        self.up = False
        self.due_ns = 0
        """While it is away: when it is tried again, on the monotonic clock."""
        self.notes: deque[Iterable[int]] = deque()
        """The keys that were confirmed, and are not settled."""
        self.refusals: deque[tuple[int, str]] = deque()
        """The keys that will never be taken, and why, not settled either."""
        self.lost_for: str | None = None
        """Why the connection went, until `take_lost`."""
        self._ready = self._filled = False
        self._was_up = False
        self.recovering = False
        """An outage, or tries that came to nothing, and nothing was confirmed since."""
        self.troubled = False
        """An outage was told, and its end was not."""
        self._failures = 0

    def confirmed(self, keys: Iterable[int]) -> None:
        """SinkEvents: the other side has these."""
        self.notes.append(keys)
        if self.loop is None:  # a loop gives a turn after all that it does
            self.thread_waker.wake()

    def refused(self, key: int, reason: str) -> None:
        """SinkEvents: the other side will never take this one."""
        self.refusals.append((key, reason))
        self.thread_waker.wake()

    def lost(self, reason: str) -> None:
        """SinkEvents: the connection went."""
        self.lost_for = reason
        self.thread_waker.wake()

    def ready(self) -> None:
        """SinkEvents: `open` is worth another try."""
        self._ready = True
        self.thread_waker.wake()

    # --- the owner ----------------------------------------------------------------------------------

    @property
    def noted(self) -> bool:
        """Whether it has told what is worth a turn."""
        return bool(self.notes or self.refusals) or self.lost_for is not None or (self._ready and not self.up)

    def take_lost(self) -> str | None:
        """Why the connection went, once; what is told from now on is for the next turn."""
        lost, self.lost_for = self.lost_for, None
        return lost if self.up else None

    def open_if_due(self) -> bool:
        """Whether it has been opened by this call."""
        ready, self._ready = self._ready, False
        if not (ready or self._clock.monotonic_ns() >= self.due_ns):
            return False
        try:
            self._sink.open(self)
        except UnavailableError as exc:
            self._away(str(exc))
            return False
        if self._was_up:
            self._metrics.inc(f"reconnects:{self._name}")
        self.up = self._was_up = True
        sink = self._batch_sink
        self.joins = (1, 0) if sink is None or sink.batch <= 1 else (sink.batch, sink.batch_bytes)
        return True

    def works(self, waiting: int) -> None:
        """It takes what it is sent. One that opens and then refuses is still away, and is not tried any sooner.
        `waiting` messages are told with the end of an outage."""
        self._backoff.reset()
        self._failures = 0
        self.recovering = False
        if self.troubled:
            self.troubled = False
            log.info("sink available again", extra={"sink": self._name, "waiting": waiting})

    def went(self, reason: str) -> None:
        """It is closed, and tried again later."""
        self.close()
        self._away(reason)

    def close(self) -> None:
        self.up = False
        self._sink.close()

    def _away(self, reason: str) -> None:
        self.due_ns = self._clock.monotonic_ns() + int(self._backoff.next_s() * SECOND_NS)
        self._failures += 1
        self.recovering = True
        # The first try of a life may come before the connection that has only just begun: no outage yet.
        if not self.troubled and (self._was_up or self._failures > 1):
            self.troubled = True
            log.warning("sink unavailable", extra={"sink": self._name, "reason": reason})

    def room(self, in_flight: int) -> int:
        """How many messages may go in one call of `send`. A window that was full is filled again when half of it is
        free: they go in rows then, not one for each that is confirmed."""
        window = self._sink.window
        self._filled = in_flight >= window or (self._filled and in_flight > window // 2)
        if self._filled:
            return 0
        return window - in_flight if self._batch_sink is not None else 1


def _send_first(sink: Sink, entries: Sequence[Entry]) -> Sequence[tuple[int, str]]:
    try:
        sink.send(entries[0])
    except SampleError as exc:
        return [(entries[0].key, str(exc))]
    return ()
