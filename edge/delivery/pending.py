"""The pending queue: how messages come from other threads to an outbox, and how many may wait in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from edge.data.message import Message
from edge.delivery.ack import Ack
from edge.delivery.options import OutboxOptions
from edge.plugins.protocols import Clock, Entry, Waker

LOOK_AGAIN_S = 0.5

Acked: TypeAlias = tuple[Message, Ack]
"""A message, and the acknowledgement of the sample that it comes of."""


class Delivery(Entry, eq=False):
    """A message on its way through one outbox, as its sink is given it: with a `key` once it is sent, which then is
    its own as long as it is under way. `row` is its key in the spool, None where it is not there.

    `since_ns` is when it came, on the monotonic clock, 0 where an earlier life of the process made it.
    """

    since_ns: int = 0
    ack: Ack | None = None
    row: int | None = None

    def __reduce__(self) -> tuple[type[Entry], tuple[int, Message, bool, bool]]:
        """What a sink copies, or gives to a process of its own, is the message alone."""
        return Entry, (self.key, self.message, self.replayed, self.overtaken)


class PendingQueue:
    """`put` from any thread; `add`, `room`, `take`, `settled` and the flags `failing` and `attentive` belong to the
    outbox's owner.

    The owner takes no lock where no thread waits for room: what has come in is counted by those who put, what is
    settled by the owner, and each of the two numbers is written by one side only.
    """

    def __init__(self, options: OutboxOptions, clock: Clock, waker: Waker, late: Callable[[int], None]) -> None:
        """`late` is told how many messages came after the end."""
        self._options = options
        self._clock = clock
        self._waker = waker
        self._late = late
        self._room = threading.Condition()
        self._new: list[Delivery] = []
        self._put = self._put_bytes = 0
        self._settled = self._settled_bytes = 0
        self._waiting = 0
        self._wants_room = False
        self._hurried = self._ended = False
        self.failing = False
        """The disk fails: another bound holds."""
        self.attentive = True
        """New messages alone are worth a turn of the outbox: it is woken for them."""

    def __bool__(self) -> bool:
        return bool(self._new)

    @property
    def unsaved(self) -> int:
        """Messages that were put and are not settled. From any thread."""
        return self._put - self._settled

    @property
    def unsaved_bytes(self) -> int:
        """Bytes of payload of those."""
        return self._put_bytes - self._settled_bytes

    @property
    def bounded(self) -> bool:
        """False where `put` takes all: the end has begun, or the oldest make room for the new ones."""
        return not (self._hurried or self._ended or (self.failing and self._options.drop_oldest))

    def full(self, share: int = 1) -> bool:
        """Whether the whole bound, or the `share`th part of it, is reached."""
        options = self._options
        most = options.memory_messages if self.failing else options.save_past
        return (self._put - self._settled) * share >= most or (
            self._put_bytes - self._settled_bytes
        ) * share >= options.memory_bytes

    def put(self, given: Sequence[Acked], waiting: Callable[[], None]) -> None:
        """Waits while the bound is reached, and calls `waiting` about twice a second meanwhile."""
        while given:
            taken = self.add(given, bounded=True)
            if taken and self.attentive:
                self._waker.wake()
            given = given[taken:]
            if given:
                self._wait_for_room(waiting)

    def add(self, given: Sequence[Acked], *, bounded: bool = False) -> int:
        """As `put`, and waits for nothing: how many of these, from the first, were taken or, after the end, counted as
        late. All where they are not `bounded`: the owner has asked before whether there is room."""
        now = self._clock.monotonic_ns()
        with self._room:
            if self._ended:
                self._late(len(given))
                return len(given)
            for taken, (message, ack) in enumerate(given):
                if bounded and self.full() and self.bounded:
                    return taken
                self._new.append(Delivery(0, message, since_ns=now, ack=ack))
                self._put += 1
                self._put_bytes += message.size
        return len(given)

    def _wait_for_room(self, waiting: Callable[[], None]) -> None:
        with self._room:
            self._waiting += 1  # first, then the look: else `settled` could miss this thread
            try:
                while self.bounded and self.full():
                    waiting()
                    self._room.wait(LOOK_AGAIN_S)
            finally:
                self._waiting -= 1

    def hurry(self) -> None:
        """The end has begun: no thread waits for room any more."""
        with self._room:
            self._hurried = True
            self._room.notify_all()
        self._waker.wake()

    # --- the owner ----------------------------------------------------------------------------------

    def room(self) -> bool:
        """False where `put` would wait; the owner is woken once there is room."""
        self._wants_room = self.full() and self.bounded
        return not self._wants_room

    def take(self) -> list[Delivery]:
        """All that has come since the last time."""
        if not self._new:
            return []
        with self._room:
            new, self._new = self._new, []
        return new

    def settled(self, deliveries: Sequence[Delivery]) -> None:
        """These are confirmed, on disk or given up: there is room for others."""
        self._settled_bytes += sum([d.message.size for d in deliveries])
        self._settled += len(deliveries)
        # Not for each: a thread that waits shall put several before it has to wait again.
        if (self._waiting or self._wants_room) and not self.full(2):
            if self._wants_room:
                self._wants_room = False
                self._waker.wake()
            with self._room:
                self._room.notify_all()

    def end(self) -> None:
        """Nothing is taken out of here any more: what comes from now on is late."""
        with self._room:
            if not self._ended:
                self._ended = True
                self._late(len(self._new))
            self._room.notify_all()


def without_answers(given: Sequence[Acked]) -> list[Acked]:
    """No asker waits behind this sink: its part of these is done. Nor is it told in the words of a broker."""
    for message, ack in given:
        if message.kind == "answer":
            ack.release()
    return [
        (m if m.words is None else msgspec.structs.replace(m, words=None), a) for m, a in given if m.kind != "answer"
    ]
