"""The outbox of one sink, with a spool of its own. It loses nothing and keeps the order.

Where its messages are, and which is sent next, is `send_queue.py`'s business; how they come from other threads,
`pending.py`'s; whether the sink is open, and when it is tried again, `sink_link.py`'s.

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
from collections.abc import Callable, Sequence
from typing import Any

from edge.data.message import Message
from edge.data.units import SECOND_NS
from edge.delivery.guarded_spool import GuardedSpool
from edge.delivery.options import Durability, OutboxOptions
from edge.delivery.pending import Acked, Delivery, PendingQueue, without_answers
from edge.delivery.retry import Backoff
from edge.delivery.send_queue import SendQueue
from edge.delivery.sink_link import SinkLink
from edge.errors import FatalError, UnavailableError
from edge.plugins.protocols import Clock, Sink, Spool
from edge.telemetry.metrics import Metrics
from edge.telemetry.seldom import Seldom

log = logging.getLogger("edge.outbox")

LOOK_AGAIN_S = 0.5
"""How long the owner waits at most: messages that did not wake it become late meanwhile."""


class Outbox:
    """`put`, `hurry`, `finish`, `stop` and `waiting` from any thread; the rest from the owner."""

    def __init__(
        self,
        name: str,
        sink: Sink,
        spool: Spool,
        *,
        clock: Clock,
        metrics: Metrics,
        options: OutboxOptions | None = None,
    ) -> None:
        """A sink with a loop gets this outbox as a worker of it."""
        options = options or OutboxOptions()
        self.name = name
        self.durable = sink.durable
        self.keeps = spool.durable
        self.ended = False
        self.on_end: Callable[[], None] = lambda: None
        self.on_refused: Callable[[Message, str], object] = lambda message, reason: None
        """In the owner's thread: once when `ended` has become true; for each message that is refused for good."""
        self.on_failed: Callable[[FatalError], None] = lambda exc: None
        """In the thread of the sink's loop: a turn of it has come to nothing."""
        self._spool = spool
        self._clock = clock
        self._metrics = metrics
        self._options = options
        self._always = options.durability is Durability.ALWAYS
        self._link = SinkLink(name, sink, clock, metrics, Backoff(options.retry_first_s, options.retry_most_s))
        self.loop = self._link.loop
        self._pending = PendingQueue(options, clock, self._link.waker, lambda count: self._dropped("stop", count))
        self.add: Callable[[Sequence[Acked]], object] = self._pending.add if self._link.replies else self._add_for_all
        """As `put`, from the owner, which would wait for itself: it asks for `room` before."""
        self.room = self._pending.room
        """For the owner: whether there is room for another message. If not, it is woken once there is."""
        self._guarded = GuardedSpool(name, spool, clock, metrics, options.disk_retry_s)
        self._queue = SendQueue(options, self._guarded, clock)
        self._refusals = Seldom(clock)
        self._finishing = False
        self._stop_by_ns: int | None = None
        self._owner: int | None = None
        if self.loop is not None:
            self.loop.attach(self)

    # --- from other threads -------------------------------------------------------------------------

    def put(self, given: Sequence[Acked], waiting: Callable[[], None] = lambda: None) -> None:
        """Takes messages over, each with the ack of its sample.

        Waits while `save_past` of them are neither confirmed nor saved, and calls `waiting` about twice a second
        meanwhile, for the watchdog's sake. What comes after the end is counted as dropped, and its ack never released.
        """
        self._pending.put(given if self._link.replies else without_answers(given), waiting)

    def hurry(self) -> None:
        """The end has begun: `put` does not wait any more, what it is given goes to disk or is counted."""
        self._pending.hurry()

    def finish(self) -> None:
        """No more `put`: it ends when all is confirmed."""
        self._finishing = True
        self._link.waker.wake()

    def stop(self, grace_s: float) -> None:
        """No more `put`: it goes on sending for `grace_s` at most, and leaves the rest in the spool."""
        self._stop_by_ns = self._clock.monotonic_ns() + int(grace_s * SECOND_NS)
        self._finishing = True
        self._pending.hurry()

    def waiting(self) -> dict[str, Any]:
        """For `stats`: what waits in memory and in the spool, since when, and what was dropped."""
        oldest_ns = self._spool.oldest_ns
        return {
            "connected": self._link.up,
            "depth": self._pending.unsaved + len(self._spool),
            "window": len(self._queue.in_flight),
            "spool_messages": len(self._spool),
            "spool_bytes": self._spool.bytes,
            "spool_oldest_s": None if oldest_ns is None else round((self._clock.time_ns() - oldest_ns) / SECOND_NS, 1),
            "spool_dropped": dict(self._spool.dropped_by),
            "spool_damaged": self._spool.damaged,
        }

    # --- the owner ----------------------------------------------------------------------------------

    def _add_for_all(self, given: Sequence[Acked]) -> None:
        self._pending.add(without_answers(given))

    def open(self) -> None:
        """Opens the spool ahead of the first turn, from any thread. Raises SpoolError."""
        if self._guarded.open():
            self._queue.begin()

    def origins(self, limit: int) -> list[bytes]:
        """Between `open` and the first turn: the origins of the newest messages that an earlier life left on disk."""
        return self._guarded.origins(limit)

    def run(self, beat: Callable[[], None] = lambda: None) -> None:
        """For a sink without a loop: delivers until `finish` and all is confirmed, or until `stop`. `beat` is called
        before each wait."""
        try:
            wait_s = 0.0
            while not self.ended:
                beat()
                self._link.thread_waker.wait(wait_s)
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
        if not self._link.up:
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
            if untold := self._refusals.untold():
                log.error("more results dropped", extra={"sink": self.name, "dropped": untold})
            self.ended = True
            self._pending.end()
            self._link.close()
            self._guarded.close()
            self.on_end()

    def failed(self, exc: FatalError) -> None:
        """Of the sink's loop, which goes on: a turn has raised it."""
        self.on_failed(exc)
        with contextlib.suppress(FatalError):  # the same once more
            self.end()

    def _is_done(self) -> bool:
        if self._pending or self._link.notes:
            return False
        if self._stop_by_ns is not None and (not self._link.up or self._clock.monotonic_ns() >= self._stop_by_ns):
            return True
        return not self._queue

    def _wait_s(self) -> float:
        """Leaves word whether new messages are worth a turn, then looks once more whether there are some."""
        if self.ended:
            return math.inf
        link = self._link
        room = link.room(len(self._queue.in_flight)) > 0
        self._pending.attentive = room or not link.up or self._always
        if link.noted or (self._pending.attentive and self._pending):
            return 0.0
        now = self._clock.monotonic_ns()
        due = [now + int(min(LOOK_AGAIN_S, self._options.save_after_s / 2) * SECOND_NS)]
        if not link.up:
            due.append(link.due_ns)
        elif (disk_due_ns := self._queue.disk_due_ns) is not None:
            due.append(disk_due_ns)
        oldest = next(self._queue.unsaved(), None)
        if oldest is not None:
            due.append(max(oldest.since_ns + int(self._options.save_after_s * SECOND_NS), self._guarded.due_ns))
        if self._stop_by_ns is not None:
            due.append(self._stop_by_ns)
        return max(0.001, (min(due) - now) / SECOND_NS)

    def _collect(self) -> None:
        self._queue.new += self._pending.take()
        self._settle()
        if self._link.lost_for is not None and (lost := self._link.take_lost()) is not None:
            self._lose(lost)

    def _settle(self) -> None:
        notes = self._link.notes
        while notes:
            now, deliveries = self._clock.monotonic_ns(), self._queue.confirmed(notes.popleft())
            took = [(now - d.since_ns) / SECOND_NS for d in deliveries if d.since_ns]
            self._metrics.record((("stage:publish", took),), f"confirmed:{self.name}", len(deliveries))
            self._release([d for d in deliveries if d.row is None])
            self._answered()
        while self._link.refusals:
            self._give_up(*self._link.refusals.popleft())
            self._answered()

    def _answered(self) -> None:
        if self._link.recovering and self._link.up:
            self._works()

    # --- the sink -----------------------------------------------------------------------------------

    def _open_sink(self) -> None:
        if self._link.open_if_due() and self._link.troubled:
            self._queue.delayed()
            if not self._queue.waits:
                self._works()

    def _works(self) -> None:
        self._link.works(len(self._spool) + self._pending.unsaved)

    def _lose(self, reason: str) -> None:
        self._settle()  # what was confirmed before is not sent again
        self._queue.lost()
        self._link.went(reason)

    def _send(self) -> None:
        link = self._link
        while link.up:
            entries = self._queue.send(link.room(len(self._queue.in_flight)), *link.joins)
            if not entries:
                return
            try:
                refused = link.send(entries)
            except UnavailableError as exc:
                self._lose(str(exc))
                return
            given_up = sum([self._give_up(key, reason) for key, reason in refused])
            self._metrics.inc(f"sent:{self.name}", len(entries) - given_up)

    def _give_up(self, key: int, reason: str) -> int:
        """How many messages were given up."""
        deliveries = self._queue.confirmed([key])
        self._dropped("refused", len(deliveries))
        for delivery in deliveries:
            if untold := self._refusals.due():
                facts = {"sink": self.name, "seq": delivery.message.seq, "reason": reason, "dropped": untold}
                log.error("result dropped", extra=facts)
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
        many = not self._link.up and self._pending.full()
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
            self._queue.saved(deliveries, rows, up=self._link.up)
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
