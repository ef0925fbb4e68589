"""A lane: one sink, its own spool, one thread. It loses nothing and keeps the order.

Where its messages are, and which is sent next, is `stock.py`'s business; what comes from other threads, `intake.py`'s.

A message is *saved* when the spool has it. `Durability.OUTAGE` saves what has waited for a second, or at once
what is past 64 messages while the sink is away: while the other side confirms, nothing is written. While it is
there but slow, `append` waits instead. A sample is safe, and its receipt released, when its message is
confirmed or saved.

Whoever brings something - a new message, a confirmation - takes the lane's turn itself where the sink is `prompt` and
nothing of the disk is needed: a lone result then goes out without waiting for another thread to wake up. One thread has
the turn at a time; who comes meanwhile leaves what it has, for the one who has it looks again when it gives it back.
Opening, saving and reading the disk are done by the lane's own thread.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from edge.delivery.ack import Parcel
from edge.delivery.connection import Link
from edge.delivery.guarded_spool import Shelf
from edge.delivery.options import Durability, LaneOptions
from edge.delivery.pending import Intake
from edge.delivery.retry import Backoff
from edge.delivery.send_queue import Stock
from edge.delivery.spool_reader import Item
from edge.errors import UnavailableError
from edge.plugins.protocols import Clock, Sink, Spool
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
        self._answers = bool(getattr(sink, "answers", False))
        self._always = self._options.durability is Durability.ALWAYS
        self._shelf = Shelf(name, spool, clock, metrics, self._options.disk_retry_s)
        self._intake = Intake(self._options, self._shelf, clock, lambda count: self._dropped("stop", count))

        self._turning = threading.Lock()
        # Below is the property of whoever has the turn.
        self._prompt = bool(getattr(sink, "prompt", False)) and not self._always
        self._link = Link(name, sink, clock, metrics, backoff or Backoff())
        self._stock = Stock(self._options, self._shelf, clock)

    # --- from other threads -------------------------------------------------------------------------

    def append(self, parcels: Sequence[Parcel], waiting: Callable[[], None] = lambda: None) -> None:
        """Takes messages over, each with the receipt of its sample.

        Waits while `save_past` of them are neither confirmed nor saved, and calls `waiting` about twice a second
        meanwhile, for the watchdog's sake. What comes after the lane has ended is counted as dropped, and its receipt
        is never released.
        """
        rest = parcels if self._answers else self._for_everybody(parcels)
        while rest:
            taken = self._intake.take(rest)
            self._see_to_it()
            rest = rest[taken:]
            if rest:
                self._intake.wait_for_room(waiting)

    @staticmethod
    def _for_everybody(parcels: Sequence[Parcel]) -> list[Parcel]:
        """Without the answers: nobody asked through this sink."""
        for message, receipt in parcels:
            if message.kind == "answer":
                receipt.release()
        return [p for p in parcels if p[0].kind != "answer"]

    def _see_to_it(self) -> None:
        """There may be something to do: does it here where that cannot wait, else wakes the lane's thread."""
        while self._worth_a_turn():
            if not self._prompt:
                self._intake.wake()
                return
            if not self._turning.acquire(blocking=False):
                return  # who has the turn looks again after it
            try:
                done = self._short_turn()
            finally:
                self._turning.release()
            if not done:
                self._intake.wake()
                return

    def _worth_a_turn(self) -> bool:
        """A full window waits for confirmations: new messages alone change nothing."""
        intake = self._intake
        if intake.confirmed or intake.ready or intake.lost is not None:
            return True
        return bool(intake.incoming) and (not self._crowded() or not self._link.up)

    def _crowded(self) -> bool:
        return self._stock.under_way >= self._sink.window and not self._always

    def hurry(self) -> None:
        """The end has begun: `append` does not wait any more, what it is given goes to disk or is counted."""
        self._intake.hurry()

    def end(self) -> None:
        """The lane's thread has ended, also where `open` or `run` raised: nobody waits for it any more."""
        self._intake.end()

    def finish(self) -> None:
        """No more `append`: `run` returns when all is confirmed."""
        self._intake.finish()

    def stop(self, grace_s: float) -> None:
        """No more `append`: `run` goes on sending for `grace_s` at most and leaves the rest in the spool."""
        self._intake.stop(self._clock.monotonic_ns() + int(grace_s * SECOND_NS))

    def confirmed(self, keys: Iterable[int]) -> None:
        """SinkEvents: the other side has these."""
        self._intake.add_confirmed(keys)
        self._see_to_it()

    def lost(self, reason: str) -> None:
        """SinkEvents: the connection went."""
        self._intake.add_lost(reason)

    def ready(self) -> None:
        """SinkEvents: `open` is worth another try."""
        self._intake.add_ready()

    def waiting(self) -> dict[str, Any]:
        """For `stats`, from any thread: what waits in memory and in the spool, since when, and what was dropped."""
        oldest_ns = self._spool.oldest_ns
        return {
            "connected": self._link.up,
            "depth": self._intake.unsaved + len(self._spool),
            "window": self._stock.under_way,
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
            self._stock.backlog.begin()

    def origins(self, limit: int) -> list[bytes]:
        """After `open` and before `run`: the origins of the newest messages that an earlier life left on disk."""
        return self._shelf.origins(limit)

    def run(self) -> None:
        """Delivers until `finish` and all is confirmed, or until `stop`."""
        try:
            while True:
                with self._turning:
                    if self._done():
                        return
                    timeout_s = 0.0 if self._sendable() else self._timeout_s()
                self._beat()
                if timeout_s:
                    self._intake.wait(timeout_s, self._worth_a_turn)
                self.turn()
        finally:
            self.close()

    def turn(self) -> None:
        """All that can be done now without waiting: one round of `run`."""
        with self._turning:
            self._collect()
            self._open_sink()
            self._save_if_due()
            self._send()
            self._shelf.flush()

    def _short_turn(self) -> bool:
        """The part of a turn that is done in memory; False where the lane's thread has more to do."""
        if not self._prompt or not self._link.up or self._stock.backlog or self._intake.ready:
            return False
        self._collect()
        self._send()
        return self._link.up and not self._shelf.owes

    def _done(self) -> bool:
        intake = self._intake
        if not intake.finishing or intake.incoming:
            return False
        if intake.stop_by_ns is not None and (not self._link.up or self._clock.monotonic_ns() >= intake.stop_by_ns):
            return True
        return not self._stock

    def _sendable(self) -> bool:
        if not self._link.up or self._stock.under_way >= self._sink.window:
            return False
        return self._stock.sendable

    def _timeout_s(self) -> float:
        # Looks twice while a message becomes late: what others have sent since is not among what it looks at now.
        now = self._clock.monotonic_ns()
        due = [now + int(min(0.5, self._options.save_after_s / 2) * SECOND_NS)]
        if not self._link.up:
            due.append(self._link.due_ns)
        elif self._stock.backlog:
            due.append(self._stock.backlog.due_ns)
        oldest = next(self._stock.unsaved(), None)
        if oldest is not None:
            due.append(max(oldest.since_ns + int(self._options.save_after_s * SECOND_NS), self._shelf.due_ns))
        if self._intake.stop_by_ns is not None:
            due.append(self._intake.stop_by_ns)
        return max(0.001, (min(due) - now) / SECOND_NS)

    def _collect(self) -> None:
        incoming, confirmed, lost = self._intake.collect()
        self._stock.add(incoming)
        if confirmed:
            self._settle(confirmed)
        if lost is not None and self._link.up:
            self._lose(lost)

    def _settle(self, tickets: Sequence[int]) -> None:
        now = self._clock.monotonic_ns()
        items = self._stock.confirmed(tickets)
        self._metrics.inc(f"confirmed:{self.name}", len(items))
        self._metrics.observe_all("stage:publish", [(now - i.since_ns) / 1e9 for i in items if i.since_ns])
        self._safe([item for item in items if item.key is None])
        if self._link.up:
            self._link.works(len(self._spool) + self._intake.unsaved)

    # --- the sink -----------------------------------------------------------------------------------

    def _open_sink(self) -> None:
        ready = self._intake.take_ready()
        if self._link.up or not (ready or self._clock.monotonic_ns() >= self._link.due_ns):
            return
        self._intake.lost = None
        if self._link.open(self):
            self._stock.delayed()
            if not self._stock.waits:
                self._link.works(0)

    def _lose(self, reason: str) -> None:
        self._stock.lost()
        self._link.lost(reason)

    def _send(self) -> None:
        while self._link.up:
            room = self._sink.window - self._stock.under_way
            entries = self._stock.send(min(room, self._link.at_once), self._link.join)
            if not entries:
                return
            try:
                refused = self._link.send(entries)
            except UnavailableError as exc:
                self._lose(str(exc))
                return
            given_up = sum([self._give_up(ticket, reason) for ticket, reason in refused])
            self._metrics.inc(f"sent:{self.name}", len(entries) - given_up)

    def _give_up(self, ticket: int, reason: str) -> int:
        """How many were given up."""
        items = self._stock.confirmed([ticket])
        self._dropped("refused", len(items))
        for item in items:
            log.error("result dropped", extra={"sink": self.name, "seq": item.message.seq, "reason": reason})
        self._safe([item for item in items if item.key is None])
        return len(items)

    # --- the spool ----------------------------------------------------------------------------------

    def _save_if_due(self) -> None:
        if self._shelf.resting:
            self._bound_memory()
            return
        oldest = next(self._stock.unsaved(), None)
        if oldest is None:
            return
        late = self._clock.monotonic_ns() - oldest.since_ns >= self._options.save_after_s * SECOND_NS
        many = not self._link.up and self._intake.full()
        if late or many or self._always:
            self._save()

    def _save(self) -> None:
        """All that is not on disk goes there in one transaction."""
        items = list(self._stock.unsaved())
        if not items:
            return
        was_open = self._shelf.opened
        keys = self._shelf.save([i.message for i in items])
        if keys is None:
            self._bound_memory()
            return
        if not was_open and len(self._spool) > len(items):
            self._stock.backlog.begin()  # an earlier life's results, seen only now
        self._stock.saved(items, keys, up=self._link.up)
        self._safe(items)

    def _bound_memory(self) -> None:
        over = self._intake.unsaved - self._options.memory_most
        over_bytes = self._intake.unsaved_bytes - self._options.memory_bytes
        dropped = self._stock.drop(over, over_bytes)
        self._dropped("disk", len(dropped))
        self._safe(dropped)

    def _safe(self, items: Sequence[Item]) -> None:
        """These are confirmed or on disk now, or were given up: nobody has to remember their samples any more."""
        for item in items:
            item.release()
        if items:
            self._intake.safe(items)

    def close(self) -> None:
        """Everything at the end goes to disk; what cannot is counted and said."""
        with self._turning:
            self._prompt = False
            self._close()

    def _close(self) -> None:
        self._collect()
        self._save()
        self._shelf.flush()
        left = sum(1 for _ in self._stock.unsaved()) + (0 if self._spool.durable else len(self._spool))
        if left:
            self._dropped("stop", left)
            log.warning("results were not delivered", extra={"sink": self.name, "messages": left})
        elif len(self._spool):
            log.info("results stay in the spool", extra={"sink": self.name, "messages": len(self._spool)})
        self._link.close()
        self._shelf.close()

    def _dropped(self, reason: str, count: int) -> None:
        if count:
            self._metrics.inc(f"dropped:{self.name}:{reason}", count)
