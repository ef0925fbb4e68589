"""A lane: one sink, its own spool, one thread. It loses nothing and keeps the order.

Where a message can be, oldest first (there is no other place, and a message is in one of them at a time, but
that one on disk may be held in memory as well):

    window  sent, not confirmed                     at most `sink.window`
    resend  sent on a connection that was lost      at most `sink.window`
    disk    in the spool; its head is read into memory (`Backlog`)
    queue   new, in memory

A message is *saved* when the spool has it. `Durability.OUTAGE` saves what has waited for a second, or at once
what is past 64 messages while the sink is away: while the other side confirms, nothing is written. While it is
there but slow, `append` waits instead. A sample is safe, and its receipt released, when its message is
confirmed or saved.

With `replay_rate` new messages do not queue behind what waits on disk; each of the two keeps its own order.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from edge.errors import SampleError, UnavailableError
from edge.flow.backlog import Backlog, Item
from edge.flow.backoff import Backoff
from edge.flow.durability import Durability, LaneOptions
from edge.flow.link import Link
from edge.flow.receipt import Parcel
from edge.flow.shelf import Shelf
from edge.protocols import Clock, Entry, Sink, Spool
from edge.telemetry.metrics import Metrics

log = logging.getLogger("edge.lane")

SECOND_NS = 1_000_000_000


class Lane:
    """`append`, `finish`, `stop` and the sink's events come from any thread; the rest is the lane's own."""

    def __init__(
        self,
        name: str,
        sink: Sink,
        spool: Spool,
        *,
        clock: Clock,
        metrics: Metrics,
        options: LaneOptions | None = None,
        backoff: Backoff | None = None,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.durable = sink.durable
        self._sink = sink
        self._spool = spool
        self._clock = clock
        self._metrics = metrics
        self._options = options or LaneOptions()
        self._beat = beat

        self._changed = threading.Condition()
        self._incoming: deque[Item] = deque()
        self._confirmed: list[int] = []
        self._lost: str | None = None
        self._ready = False
        self._unsaved = self._unsaved_bytes = 0
        self._finishing = False
        self._stop_by_ns: int | None = None
        self._hurried = False
        self._over = False

        self._link = Link(name, sink, clock, metrics, backoff or Backoff())
        self._window: dict[int, Item] = {}
        self._resend: deque[Item] = deque()
        self._queue: deque[Item] = deque()
        self._tickets = itertools.count(1)
        self._shelf = Shelf(name, spool, clock, metrics, self._options.disk_retry_s)
        self._backlog = Backlog(self._shelf, clock, self._options.replay_rate)

    # --- from other threads -------------------------------------------------------------------------

    def append(self, parcels: Sequence[Parcel], waiting: Callable[[], None] = lambda: None) -> None:
        """Takes messages over, each with the receipt of its sample.

        Waits while `save_past` of them are neither confirmed nor saved, and calls `waiting` about twice a second
        meanwhile, for the watchdog's sake. What comes after the lane has ended is counted as dropped, and its receipt
        is never released.
        """
        now = self._clock.monotonic_ns()
        for message, receipt in parcels:
            if message.kind == "answer" and not getattr(self._sink, "answers", False):
                receipt.release()  # nobody asked through this sink
                continue
            with self._changed:
                while self._full() and not (self._hurried or self._over):
                    if self._options.drop_oldest and self._shelf.failing:
                        break
                    waiting()
                    self._changed.notify_all()
                    self._changed.wait(0.5)
                if self._over:
                    self._metrics.inc(f"dropped:{self.name}:stop")
                    continue
                self._incoming.append(Item(message, now, receipt))
                self._unsaved += 1
                self._unsaved_bytes += len(message.payload)
        with self._changed:
            # A full window waits for confirmations, and woken for each message the lane would do nothing but wait
            # again. It only gets room in the lane's own thread, which then looks at what came in before it waits.
            if not (self._link.up and self._crowded()) or self._full():
                self._changed.notify_all()

    def _crowded(self) -> bool:
        return len(self._window) >= self._sink.window and self._options.durability is not Durability.ALWAYS

    def _full(self, share: int = 1) -> bool:
        """Whether the whole, or the `share`th part, of what may wait in memory is taken."""
        most = self._options.memory_most if self._shelf.failing else self._options.save_past
        return self._unsaved * share >= most or self._unsaved_bytes * share >= self._options.memory_bytes

    def hurry(self) -> None:
        """The end has begun: `append` does not wait any more, what it is given goes to disk or is counted."""
        with self._changed:
            self._hurried = True
            self._changed.notify_all()

    def end(self) -> None:
        """The lane's thread has ended, also where `open` or `run` raised: nobody waits for it any more."""
        with self._changed:
            self._over = True
            if self._incoming:
                self._metrics.inc(f"dropped:{self.name}:stop", len(self._incoming))
            self._changed.notify_all()

    def finish(self) -> None:
        """No more `append`: `run` returns when all is confirmed."""
        with self._changed:
            self._finishing = True
            self._changed.notify_all()

    def stop(self, grace_s: float) -> None:
        """No more `append`: `run` goes on sending for `grace_s` at most and leaves the rest in the spool."""
        with self._changed:
            self._finishing = self._hurried = True
            self._stop_by_ns = self._clock.monotonic_ns() + int(grace_s * SECOND_NS)
            self._changed.notify_all()

    def confirmed(self, keys: Iterable[int]) -> None:
        """SinkEvents: the other side has these."""
        with self._changed:
            self._confirmed.extend(keys)
            self._changed.notify_all()

    def lost(self, reason: str) -> None:
        """SinkEvents: the connection went."""
        with self._changed:
            self._lost = reason
            self._changed.notify_all()

    def ready(self) -> None:
        """SinkEvents: `open` is worth another try."""
        with self._changed:
            self._ready = True
            self._changed.notify_all()

    def waiting(self) -> dict[str, Any]:
        """For `stats`, from any thread: what waits in memory and in the spool, since when, and what was dropped."""
        oldest_ns = self._spool.oldest_ns
        return {
            "connected": self._link.up,
            "depth": self._unsaved + len(self._spool),
            "window": len(self._window),
            "spool_messages": len(self._spool),
            "spool_bytes": self._spool.bytes,
            "spool_oldest_s": None if oldest_ns is None else round((self._clock.time_ns() - oldest_ns) / SECOND_NS, 1),
            "spool_dropped": dict(self._spool.dropped_by),
            "spool_damaged": self._spool.damaged,
        }

    # --- the lane's thread --------------------------------------------------------------------------

    def open(self) -> None:
        """Opens the spool; where it is called before `run`, from any thread. Raises SpoolError."""
        self._shelf.open()
        if len(self._spool):
            self._backlog.begin()

    def origins(self, limit: int) -> list[bytes]:
        """After `open` and before `run`: the origins of the newest messages that an earlier life left on disk."""
        return self._shelf.origins(limit)

    def run(self) -> None:
        """Delivers until `finish` and all is confirmed, or until `stop`."""
        try:
            while not self._done():
                self._beat()
                self._wait()
                self.turn()
        finally:
            self.close()

    def turn(self) -> None:
        """All that can be done now without waiting: one round of `run`."""
        self._collect()
        self._open_sink()
        self._save_if_due()
        self._send()
        self._shelf.flush()

    def _done(self) -> bool:
        if not self._finishing or self._incoming:
            return False
        if self._stop_by_ns is not None and (not self._link.up or self._clock.monotonic_ns() >= self._stop_by_ns):
            return True
        return not (self._window or self._resend or self._queue or self._backlog)

    def _wait(self) -> None:
        with self._changed:
            if self._sendable():
                return
            if not (self._incoming or self._confirmed or self._lost or self._ready):
                self._changed.wait(self._timeout_s())

    def _sendable(self) -> bool:
        if not self._link.up or len(self._window) >= self._sink.window:
            return False
        if self._resend or (self._queue and self._may_send_new()):
            return True
        return self._backlog.due

    def _timeout_s(self) -> float:
        now = self._clock.monotonic_ns()
        due = [now + SECOND_NS // 2]
        if not self._link.up:
            due.append(self._link.due_ns)
        elif self._backlog:
            due.append(self._backlog.due_ns)
        oldest = next(self._unsaved_items(), None)
        if oldest is not None:
            due.append(max(oldest.since_ns + int(self._options.save_after_s * SECOND_NS), self._shelf.due_ns))
        if self._stop_by_ns is not None:
            due.append(self._stop_by_ns)
        return max(0.001, (min(due) - now) / SECOND_NS)

    def _collect(self) -> None:
        with self._changed:
            incoming, self._incoming = self._incoming, deque()
            confirmed, self._confirmed = self._confirmed, []
            lost, self._lost = self._lost, None
        self._queue.extend(incoming)
        released: list[Item] = []
        for ticket in confirmed:
            item = self._window.pop(ticket, None)
            if item is None:
                continue
            self._metrics.inc(f"confirmed:{self.name}")
            if item.since_ns:
                self._metrics.observe("stage:publish", (self._clock.monotonic_ns() - item.since_ns) / 1e9)
            if item.key is not None:
                self._backlog.confirmed(item.key)
            else:
                released.append(item)
                item.release()
        self._saved(released)
        if confirmed and self._link.up:
            self._link.works(len(self._spool) + self._unsaved)
        if lost is not None and self._link.up:
            self._lose(lost)

    def _saved(self, items: Sequence[Item]) -> None:
        if items:
            with self._changed:
                self._unsaved -= len(items)
                self._unsaved_bytes -= sum(len(i.message.payload) for i in items)
                if not self._full(2):  # who waits then has some to append, not one, before it waits again
                    self._changed.notify_all()

    # --- the sink -----------------------------------------------------------------------------------

    def _open_sink(self) -> None:
        with self._changed:
            ready, self._ready = self._ready, False
            if self._link.up or not (ready or self._clock.monotonic_ns() >= self._link.due_ns):
                return
            self._lost = None
        if self._link.open(self):
            for item in self._queue:
                item.replayed = True
            if not (self._resend or self._queue or self._backlog):
                self._link.works(0)

    def _lose(self, reason: str) -> None:
        for item in self._window.values():
            item.replayed = True
        self._resend.extendleft(reversed(self._window.values()))
        self._window.clear()
        self._link.lost(reason)

    def _send(self) -> None:
        while self._link.up and len(self._window) < self._sink.window:
            item = self._next()
            if item is None:
                return
            ticket = next(self._tickets)
            self._window[ticket] = item
            try:
                self._sink.send(Entry(ticket, item.message, item.replayed))
            except UnavailableError as exc:
                self._lose(str(exc))
                return
            except SampleError as exc:
                self._give_up(self._window.pop(ticket), str(exc))
                continue
            self._metrics.inc(f"sent:{self.name}")

    def _give_up(self, item: Item, reason: str) -> None:
        self._metrics.inc(f"dropped:{self.name}:refused")
        log.error("result dropped", extra={"sink": self.name, "seq": item.message.seq, "reason": reason})
        if item.key is not None:
            self._backlog.confirmed(item.key)
            return
        item.release()
        self._saved([item])

    def _may_send_new(self) -> bool:
        if self._options.replay_rate <= 0 and self._backlog:
            return False
        if self._options.durability is Durability.ALWAYS and not self._shelf.failing:
            return self._queue[0].key is not None
        return True

    def _new(self) -> Item | None:
        return self._queue.popleft() if self._queue and self._may_send_new() else None

    def _next(self) -> Item | None:
        if self._resend:
            return self._resend.popleft()
        item = self._new()
        if item is not None:
            return item
        if not self._backlog.due:
            return None
        # Where nothing was left on disk after all, what is new need not wait for it.
        return self._backlog.next() or self._new()

    # --- the spool ----------------------------------------------------------------------------------

    def _unsaved_items(self) -> Iterator[Item]:
        everywhere = itertools.chain(self._window.values(), self._resend, self._queue)
        return (i for i in everywhere if i.key is None)

    def _save_if_due(self) -> None:
        if self._shelf.resting:
            self._bound_memory()
            return
        oldest = next(self._unsaved_items(), None)
        if oldest is None:
            return
        late = self._clock.monotonic_ns() - oldest.since_ns >= self._options.save_after_s * SECOND_NS
        many = not self._link.up and self._full()
        if late or many or self._options.durability is Durability.ALWAYS:
            self._save()

    def _save(self) -> None:
        """All that is not on disk goes there in one transaction."""
        items = list(self._unsaved_items())
        if not items:
            return
        was_open = self._shelf.opened
        keys = self._shelf.save([i.message for i in items])
        if keys is None:
            self._bound_memory()
            return
        if not was_open and len(self._spool) > len(items):
            self._backlog.begin()  # an earlier life's results, seen only now
        for item, key in zip(items, keys, strict=True):
            item.key = key
            self._backlog.hold(key)
            item.release()
        self._saved(items)
        self._trim(keys[-1])

    def _trim(self, newest: int) -> None:
        """The queue is on disk now: keep it in memory as well only where it is sent next."""
        if self._link.up and not self._backlog:
            self._backlog.passed(newest)
            return
        if self._link.up and self._options.replay_rate > 0:
            return
        self._backlog.give_back([i.key for i in self._queue if i.key is not None])
        self._queue.clear()

    def _bound_memory(self) -> None:
        dropped: list[Item] = []
        over = self._unsaved - self._options.memory_most
        over_bytes = self._unsaved_bytes - self._options.memory_bytes
        for item in self._queue if over > 0 or over_bytes > 0 else ():
            if len(dropped) >= over and over_bytes <= 0:
                break
            if item.key is None:
                over_bytes -= len(item.message.payload)
                dropped.append(item)
        if dropped:
            gone = {id(item) for item in dropped}
            self._queue = deque(item for item in self._queue if id(item) not in gone)
            for item in dropped:
                item.release()
            self._metrics.inc(f"dropped:{self.name}:disk", len(dropped))
            self._saved(dropped)

    def close(self) -> None:
        """Everything at the end goes to disk; what cannot is counted and said."""
        self._collect()
        self._save()
        self._shelf.flush()
        left = sum(1 for _ in self._unsaved_items()) + (0 if self._spool.durable else len(self._spool))
        if left:
            self._metrics.inc(f"dropped:{self.name}:stop", left)
            log.warning("results were not delivered", extra={"sink": self.name, "messages": left})
        elif len(self._spool):
            log.info("results stay in the spool", extra={"sink": self.name, "messages": len(self._spool)})
        self._link.close()
        self._shelf.close()
