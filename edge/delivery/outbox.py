"""The outbox of one sink, with a spool of its own. It loses nothing and keeps the order.

Where its messages are, and which is sent next, is `send_queue.py`'s business; how they come from other threads,
`pending.py`'s.

A message is *saved* when the spool has it. `Durability.OUTAGE` saves what has waited for a second, or at once what is
past 64 messages while the sink is away: while the other side confirms, nothing is written. While it is there but slow,
`put` waits instead. A sample is safe, and its ack released, when its message is confirmed or saved.

An outbox belongs to one thread, its owner: that of the sink's own loop where the sink has one (`LoopSink`), else the
one that calls `run`. Other threads put messages, ask for the end, and leave a note of what the sink tells; each of
these wakes the owner. All else happens in the owner's next `turn`.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from edge.data.message import Message
from edge.data.units import SECOND_NS
from edge.delivery.guarded_spool import GuardedSpool
from edge.delivery.options import Durability, OutboxOptions
from edge.delivery.pending import Acked, Delivery, PendingQueue, without_answers
from edge.delivery.retry import Backoff
from edge.delivery.send_queue import SendQueue
from edge.delivery.waker import ThreadWaker
from edge.errors import FatalError, SampleError, UnavailableError
from edge.plugins.protocols import BatchSink, Clock, Entry, LoopSink, ReplyingSink, Sink, Spool, Waker
from edge.telemetry.metrics import Metrics

log = logging.getLogger("edge.outbox")

LOOK_AGAIN_S = 0.5
"""How long the owner waits at most: messages that did not wake it become late meanwhile."""


class Outbox:
    """`put`, `hurry`, `finish`, `stop`, `waiting` and the sink's events from any thread; the rest from the owner."""

    def __init__(
        self,
        name: str,
        sink: Sink,
        spool: Spool,
        *,
        clock: Clock,
        metrics: Metrics,
        options: OutboxOptions | None = None,
        backoff: Backoff | None = None,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        """`beat` is called before each wait of `run`. A sink with a loop gets this outbox as a worker of it."""
        self.name = name
        self.durable = sink.durable
        self.keeps = spool.durable
        self.ended = False
        self.on_end: Callable[[], None] = lambda: None
        self.on_refused: Callable[[Message, str], object] = lambda message, reason: None
        """In the owner's thread: once when `ended` has become true; for each message that is refused for good."""
        self.on_failed: Callable[[FatalError], None] = lambda exc: None
        """In the thread of the sink's loop: a turn of it has come to nothing."""
        self._sink = sink
        self._spool = spool
        self._clock = clock
        self._metrics = metrics
        self._options = options or OutboxOptions()
        self._backoff = backoff or Backoff()
        self._beat = beat
        self._thread_waker = ThreadWaker()
        self.loop = sink.loop if isinstance(sink, LoopSink) else None
        self._waker: Waker = self._thread_waker if self.loop is None else self.loop.waker
        self._replies = isinstance(sink, ReplyingSink) and sink.answers
        self._batch_sink = sink if isinstance(sink, BatchSink) else None
        self._always = self._options.durability is Durability.ALWAYS
        self._pending = PendingQueue(self._options, clock, self._waker, lambda count: self._dropped("stop", count))
        self._guarded = GuardedSpool(name, spool, clock, metrics, self._options.disk_retry_s)
        self._queue = SendQueue(self._options, self._guarded, clock)
        self._finishing = False
        self._stop_by_ns: int | None = None
        self._confirmed: deque[Iterable[int]] = deque()
        self._lost: str | None = None
        self._ready = self._filled = False
        self._owner: int | None = None
        self._up = self._was_up = self._troubled = False
        self._failures = 0
        self._due_ns = 0
        """While the sink is away: when it is tried again, on the monotonic clock."""
        if self.loop is not None:
            self.loop.attach(self)

    # --- from other threads -------------------------------------------------------------------------

    def put(self, given: Sequence[Acked], waiting: Callable[[], None] = lambda: None) -> None:
        """Takes messages over, each with the ack of its sample.

        Waits while `save_past` of them are neither confirmed nor saved, and calls `waiting` about twice a second
        meanwhile, for the watchdog's sake. What comes after the end is counted as dropped, and its ack never released.
        """
        self._pending.put(given if self._replies else without_answers(given), waiting)

    def hurry(self) -> None:
        """The end has begun: `put` does not wait any more, what it is given goes to disk or is counted."""
        self._pending.hurry()

    def finish(self) -> None:
        """No more `put`: it ends when all is confirmed."""
        self._finishing = True
        self._waker.wake()

    def stop(self, grace_s: float) -> None:
        """No more `put`: it goes on sending for `grace_s` at most, and leaves the rest in the spool."""
        self._stop_by_ns = self._clock.monotonic_ns() + int(grace_s * SECOND_NS)
        self._finishing = True
        self._pending.hurry()

    def waiting(self) -> dict[str, Any]:
        """For `stats`: what waits in memory and in the spool, since when, and what was dropped."""
        oldest_ns = self._spool.oldest_ns
        return {
            "connected": self._up,
            "depth": self._pending.unsaved + len(self._spool),
            "window": self._queue.in_flight,
            "spool_messages": len(self._spool),
            "spool_bytes": self._spool.bytes,
            "spool_oldest_s": None if oldest_ns is None else round((self._clock.time_ns() - oldest_ns) / SECOND_NS, 1),
            "spool_dropped": dict(self._spool.dropped_by),
            "spool_damaged": self._spool.damaged,
        }

    # --- notes of the sink: from the owner or, where the sink has no loop, from any thread -----------

    def confirmed(self, keys: Iterable[int]) -> None:
        """SinkEvents: the other side has these."""
        self._confirmed.append(keys)
        self._note()

    def lost(self, reason: str) -> None:
        """SinkEvents: the connection went."""
        self._lost = reason
        self._note()

    def ready(self) -> None:
        """SinkEvents: `open` is worth another try."""
        self._ready = True
        self._note()

    def _note(self) -> None:
        if self.loop is None:  # a loop gives a turn after all that it does
            self._thread_waker.wake()

    # --- the owner ----------------------------------------------------------------------------------

    def room(self) -> bool:
        """Whether there is room for another message. If not, the owner is woken once there is."""
        return self._pending.room()

    def add(self, given: Sequence[Acked]) -> None:
        """As `put`, from the owner, which would wait for itself: it asks for `room` before."""
        self._pending.add(given if self._replies else without_answers(given))

    def open(self) -> None:
        """Opens the spool ahead of the first turn, from any thread. Raises SpoolError."""
        if self._guarded.open():
            self._queue.begin()

    def origins(self, limit: int) -> list[bytes]:
        """Between `open` and the first turn: the origins of the newest messages that an earlier life left on disk."""
        return self._guarded.origins(limit)

    def run(self) -> None:
        """For a sink without a loop: delivers until `finish` and all is confirmed, or until `stop`."""
        try:
            wait_s = 0.0
            while not self.ended:
                self._beat()
                self._thread_waker.wait(wait_s)
                wait_s = self.turn()
        finally:
            self.end()

    def turn(self) -> float:
        """Does what can be done now without waiting; the seconds until the next turn, if nothing wakes it earlier."""
        thread = threading.get_ident()
        if self._owner is None:
            self._owner = thread
        assert self._owner == thread, f"the outbox {self.name} belongs to another thread"
        if self.ended:
            return math.inf
        self._collect()
        if not self._guarded.opened and not self._guarded.resting:
            self.open()
        if not self._up:
            self._open_sink()
        self._save_if_due()
        self._send()
        self._guarded.flush()
        if self._finishing and self._is_done():
            self.end()
        return self._wait_s()

    def end(self) -> None:
        """What is not delivered goes to disk; what cannot is counted and told. A second call does nothing."""
        if self.ended:
            return
        try:
            self._save_all()
        finally:
            self.ended = True
            self._up = False
            self._pending.end()
            self._sink.close()
            self._guarded.close()
            self.on_end()

    def failed(self, exc: FatalError) -> None:
        """Of the sink's loop, which goes on: a turn has raised it."""
        self.on_failed(exc)
        with contextlib.suppress(FatalError):  # the same once more
            self.end()

    def _is_done(self) -> bool:
        if self._pending or self._confirmed:
            return False
        if self._stop_by_ns is not None and (not self._up or self._clock.monotonic_ns() >= self._stop_by_ns):
            return True
        return not self._queue

    def _wait_s(self) -> float:
        """Leaves word whether new messages are worth a turn, then looks once more whether there are some."""
        if self.ended:
            return math.inf
        room = self._room() > 0
        self._pending.attentive = room or not self._up or self._always
        noted = self._confirmed or self._lost is not None or (self._ready and not self._up)
        if noted or (self._pending.attentive and self._pending):
            return 0.0
        if self._up and room and self._queue.sendable:
            return 0.0
        now = self._clock.monotonic_ns()
        due = [now + int(min(LOOK_AGAIN_S, self._options.save_after_s / 2) * SECOND_NS)]
        if not self._up:
            due.append(self._due_ns)
        elif (disk_due_ns := self._queue.disk_due_ns) is not None:
            due.append(disk_due_ns)
        oldest = next(self._queue.unsaved(), None)
        if oldest is not None:
            due.append(max(oldest.since_ns + int(self._options.save_after_s * SECOND_NS), self._guarded.due_ns))
        if self._stop_by_ns is not None:
            due.append(self._stop_by_ns)
        return max(0.001, (min(due) - now) / SECOND_NS)

    def _collect(self) -> None:
        self._queue.add(self._pending.take())
        self._settle()
        lost, self._lost = self._lost, None  # first: what is told from now on is for the next turn
        if lost is not None and self._up:
            self._lose(lost)

    def _settle(self) -> None:
        while self._confirmed:
            now, deliveries = self._clock.monotonic_ns(), self._queue.confirmed(self._confirmed.popleft())
            self._metrics.inc(f"confirmed:{self.name}", len(deliveries))
            took = [(now - d.since_ns) / SECOND_NS for d in deliveries if d.since_ns]
            self._metrics.observe_all("stage:publish", took)
            self._release([d for d in deliveries if d.row is None])
            if self._up and (self._failures or self._troubled):
                self._works()

    # --- the sink -----------------------------------------------------------------------------------

    def _open_sink(self) -> None:
        ready, self._ready = self._ready, False
        if not (ready or self._clock.monotonic_ns() >= self._due_ns):
            return
        try:
            self._sink.open(self)
        except UnavailableError as exc:
            self._away(str(exc))
            return
        if self._was_up:
            self._metrics.inc(f"reconnects:{self.name}")
        self._up = self._was_up = True
        if self._troubled:
            self._queue.delayed()
            if not self._queue.waits:
                self._works()

    def _works(self) -> None:
        """It takes what it is sent. One that opens and then refuses is still away, and is not tried any sooner."""
        self._backoff.reset()
        self._failures = 0
        if self._troubled:
            self._troubled = False
            waiting = len(self._spool) + self._pending.unsaved
            log.info("sink available again", extra={"sink": self.name, "waiting": waiting})

    def _lose(self, reason: str) -> None:
        self._settle()  # what was confirmed before is not sent again
        self._up = False
        self._queue.lost()
        self._sink.close()
        self._away(reason)

    def _away(self, reason: str) -> None:
        self._due_ns = self._clock.monotonic_ns() + int(self._backoff.next_s() * SECOND_NS)
        self._failures += 1
        # The first try of a life may come before the connection that has only just begun: no outage yet.
        if not self._troubled and (self._was_up or self._failures > 1):
            self._troubled = True
            log.warning("sink unavailable", extra={"sink": self.name, "reason": reason})

    def _send(self) -> None:
        while self._up:
            entries = self._next_entries(self._room())
            if not entries:
                return
            try:
                refused = self._batch_sink.send_all(entries) if self._batch_sink else self._send_one(entries[0])
            except UnavailableError as exc:
                self._lose(str(exc))
                return
            given_up = sum([self._give_up(key, reason) for key, reason in refused])
            self._metrics.inc(f"sent:{self.name}", len(entries) - given_up)

    def _room(self) -> int:
        """How many messages may go now. A window that was full is filled again when half of it is free: they go in
        rows then, not one for each that is confirmed."""
        window, in_flight = self._sink.window, self._queue.in_flight
        self._filled = in_flight >= window or (self._filled and in_flight > window // 2)
        return 0 if self._filled else window - in_flight

    def _next_entries(self, room: int) -> list[Entry]:
        sink = self._batch_sink
        if sink is None:
            return self._queue.send(min(room, 1))
        return self._queue.send(room, sink.batch, sink.batch_bytes if sink.batch > 1 else 0)

    def _send_one(self, entry: Entry) -> Sequence[tuple[int, str]]:
        try:
            self._sink.send(entry)
        except SampleError as exc:
            return [(entry.key, str(exc))]
        return ()

    def _give_up(self, key: int, reason: str) -> int:
        """How many messages were given up."""
        deliveries = self._queue.confirmed([key])
        self._dropped("refused", len(deliveries))
        for delivery in deliveries:
            log.error("result dropped", extra={"sink": self.name, "seq": delivery.message.seq, "reason": reason})
            self.on_refused(delivery.message, reason)
        self._release([d for d in deliveries if d.row is None])
        return len(deliveries)

    # --- the spool ----------------------------------------------------------------------------------

    def _save_if_due(self) -> None:
        self._pending.failing = self._guarded.failing
        oldest = next(self._queue.unsaved(), None)
        if oldest is None:
            return
        late = self._clock.monotonic_ns() - oldest.since_ns >= self._options.save_after_s * SECOND_NS
        many = not self._up and self._pending.full()
        if (late or many or self._always) and not self._guarded.resting:
            self._save()
        if self._guarded.failing and not self._pending.bounded:
            self._bound_memory()

    def _save(self) -> None:
        """All that is not on disk goes there in one transaction."""
        deliveries = list(self._queue.unsaved())
        rows = self._guarded.save([d.message for d in deliveries]) if deliveries else None
        self._pending.failing = self._guarded.failing
        if rows is not None:
            self._queue.saved(deliveries, rows, up=self._up)
            self._release(deliveries)

    def _bound_memory(self) -> None:
        over = self._pending.unsaved - self._options.memory_messages
        over_bytes = self._pending.unsaved_bytes - self._options.memory_bytes
        if over > 0 or over_bytes > 0:
            dropped = self._queue.drop(over, over_bytes)
            self._dropped("disk", len(dropped))
            self._release(dropped)

    def _release(self, deliveries: Sequence[Delivery]) -> None:
        """These are confirmed or on disk now, or were given up: their samples need not be remembered any more."""
        for delivery in deliveries:
            ack, delivery.ack = delivery.ack, None
            if ack is not None:
                ack.release()
        if deliveries:
            self._pending.settled(deliveries)

    def _save_all(self) -> None:
        self._collect()
        self.open()
        self._save()
        self._guarded.flush()
        left = sum(1 for _ in self._queue.unsaved()) + (0 if self._spool.durable else len(self._spool))
        if left:
            self._dropped("stop", left)
            log.warning("results were not delivered", extra={"sink": self.name, "messages": left})
        elif len(self._spool):
            log.info("results stay in the spool", extra={"sink": self.name, "messages": len(self._spool)})

    def _dropped(self, reason: str, count: int) -> None:
        if count:
            self._metrics.inc(f"dropped:{self.name}:{reason}", count)
