"""What other threads leave for a lane: new messages, and what the sink tells. And how much may wait in memory.

Two threads wait here, each for something else: the lane's for work, who appends for room.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

from edge.delivery.ack import Parcel
from edge.delivery.guarded_spool import Shelf
from edge.delivery.options import LaneOptions
from edge.delivery.spool_reader import Item
from edge.plugins.protocols import Clock

LOOK_AGAIN_S = 0.5


class Intake:
    """From any thread."""

    def __init__(self, options: LaneOptions, shelf: Shelf, clock: Clock, dropped: Callable[[int], None]) -> None:
        """`dropped` is told how many came after the end."""
        self._options = options
        self._shelf = shelf
        self._clock = clock
        self._dropped = dropped
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._room = threading.Condition(self._lock)
        self._woken = False
        self._hurried = self._over = False
        self.incoming: list[Item] = []
        self.confirmed: list[int] = []
        self.lost: str | None = None
        self.ready = False
        self.unsaved = 0
        """Messages that are neither confirmed nor on disk."""
        self.unsaved_bytes = 0
        self.finishing = False
        self.stop_by_ns: int | None = None

    # --- new messages -------------------------------------------------------------------------------

    def take(self, parcels: Sequence[Parcel]) -> int:
        """How many of these, from the first, were taken over or, after the end, counted as dropped."""
        now = self._clock.monotonic_ns()
        with self._lock:
            if self._over:
                self._dropped(len(parcels))
                return len(parcels)
            bounded = self._waits()
            for taken, (message, receipt) in enumerate(parcels):
                if bounded and self.full():
                    return taken
                self.incoming.append(Item(message, now, receipt))
                self.unsaved += 1
                self.unsaved_bytes += len(message.payload)
        return len(parcels)

    def wait_for_room(self, waiting: Callable[[], None]) -> None:
        """Returns when `take` takes something. Calls `waiting` about twice a second meanwhile."""
        with self._lock:
            while self.full() and self._waits():
                waiting()
                self._room.wait(LOOK_AGAIN_S)

    def _waits(self) -> bool:
        """False where nobody may be held up: the end has begun, or the oldest make room for what is new."""
        return not (self._hurried or self._over or (self._options.drop_oldest and self._shelf.failing))

    def full(self, share: int = 1) -> bool:
        """Whether the whole, or the `share`th part, of what may wait in memory is taken."""
        most = self._options.memory_most if self._shelf.failing else self._options.save_past
        return self.unsaved * share >= most or self.unsaved_bytes * share >= self._options.memory_bytes

    def safe(self, items: Sequence[Item]) -> None:
        """These are confirmed or on disk now, or were given up."""
        with self._lock:
            self.unsaved -= len(items)
            self.unsaved_bytes -= sum([len(i.message.payload) for i in items])
            if not self.full(2):  # who waits then has some to append, not one, before it waits again
                self._room.notify_all()

    # --- the sink's events --------------------------------------------------------------------------

    def add_confirmed(self, tickets: Iterable[int]) -> None:
        """The other side has these."""
        with self._lock:
            self.confirmed.extend(tickets)

    def add_lost(self, reason: str) -> None:
        """The connection went."""
        with self._lock:
            self.lost = reason
            self._wake()

    def add_ready(self) -> None:
        """`open` is worth another try."""
        with self._lock:
            self.ready = True
            self._wake()

    # --- the end ------------------------------------------------------------------------------------

    def hurry(self) -> None:
        """Nobody waits for room any more."""
        with self._lock:
            self._hurried = True
            self._wake()
            self._room.notify_all()

    def finish(self) -> None:
        """No more messages."""
        with self._lock:
            self.finishing = True
            self._wake()

    def stop(self, by_ns: int) -> None:
        """No more messages; what is not delivered by then, on the monotonic clock, is left."""
        with self._lock:
            self.finishing = self._hurried = True
            self.stop_by_ns = by_ns
            self._wake()
            self._room.notify_all()

    def end(self) -> None:
        """Nobody takes anything out of here any more."""
        with self._lock:
            self._over = True
            self._dropped(len(self.incoming))
            self._room.notify_all()

    # --- whoever has the lane's turn ----------------------------------------------------------------

    def collect(self) -> tuple[list[Item], list[int], str | None]:
        """Messages, confirmed tickets and why the connection went, since the last time."""
        with self._lock:
            incoming, self.incoming = self.incoming, []
            confirmed, self.confirmed = self.confirmed, []
            lost, self.lost = self.lost, None
        return incoming, confirmed, lost

    def take_ready(self) -> bool:
        """Whether `ready` was said since the last time."""
        with self._lock:
            ready, self.ready = self.ready, False
        return ready

    def wake(self) -> None:
        """The lane's thread does not wait, or not any longer."""
        with self._lock:
            self._wake()

    def _wake(self) -> None:
        self._woken = True
        self._work.notify()

    def wait(self, timeout_s: float, due: Callable[[], bool]) -> None:
        """In the lane's thread: until it is woken; not at all where `due` says that there is something to do."""
        with self._lock:
            if not self._woken and not due():
                self._work.wait(timeout_s)
            self._woken = False
