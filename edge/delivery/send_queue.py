"""The messages that an outbox has, and the order in which they are sent.

Where a message can be, oldest first. It is in one of these at a time, but one on disk may be held in memory as well:

    in flight  sent, not confirmed; results that went in one message are confirmed together
    retry      sent on a connection that was lost
    disk       in the spool, read in order, its head in memory (`SpoolReader`)
    new        in memory

With a replay rate new messages do not queue behind what waits on disk; each of the two keeps its own order. The same
where an earlier life left more than is sent in a moment: then that is a part of its own, `earlier`, and is sent in turn
with the other ones.
"""

from __future__ import annotations

import itertools
import logging
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from edge.data.message import Message
from edge.data.units import SECOND_NS
from edge.delivery.guarded_spool import GuardedSpool
from edge.delivery.options import Durability, OutboxOptions
from edge.delivery.pending import Delivery
from edge.plugins.protocols import Clock, Entry

log = logging.getLogger("edge.outbox")

READ_AT_ONCE = 64
REPLAYED_SIZE = len(b',"replayed":true,')
"""What a result may grow by where it is joined with others: a comma, and that it comes after an outage."""


class SpoolReader:
    """What waits on disk, oldest first. `cursor` is the last row that was read or need not be.

    A row whose message is in memory too is passed over when it comes by. Belongs to the outbox's owner.
    """

    def __init__(self, spool: GuardedSpool, clock: Clock, rate: float) -> None:
        """`rate` in messages a second, 0: as fast as it goes."""
        self._spool = spool
        self._clock = clock
        self._rate = rate
        self._overtaken = rate > 0
        self._until = self._fresh_from = sys.maxsize
        self._head: deque[Delivery] = deque()
        self._in_memory: set[int] = set()
        self._cursor = 0
        self._more = False
        self.due_ns = 0
        """When the next one may be sent, on the monotonic clock."""

    def __bool__(self) -> bool:
        """True while something waits on disk, as far as is known."""
        return bool(self._head) or self._more

    def begin(self) -> None:
        """There are rows that were not read yet."""
        self._more = True

    def begin_beside(self) -> None:
        """As `begin`: those of an earlier life alone, which newer ones overtake."""
        self._more = self._overtaken = True

    def ends_before(self, row: int) -> None:
        """Rows from this one on are of this life."""
        self._until = min(self._until, row - 1)

    def fresh_from(self, row: int) -> None:
        """What is read from this row on has waited for no connection that was lost, nor behind what has."""
        self._fresh_from = row

    def keep_in_memory(self, row: int) -> None:
        """The message of this row is in memory too."""
        self._in_memory.add(row)

    def pass_by(self, newest: int) -> None:
        """The messages of all rows up to this one are in memory: none of them has to be read."""
        self._cursor = newest

    def read_again(self, rows: Sequence[int]) -> None:
        """The messages of these rows, oldest first, are not in memory any more."""
        if rows:
            self._cursor = min(self._cursor, rows[0] - 1)
            self._more = True
            self._in_memory.difference_update(rows)

    def confirmed(self, row: int) -> None:
        """Sent and confirmed: it has not to be remembered any more."""
        self._in_memory.discard(row)

    def next(self) -> Delivery | None:
        """The oldest; None where nothing waits or was left after all, it is too early, or the disk cannot be read."""
        if not self or self._clock.monotonic_ns() < self.due_ns:
            return None
        if not self._head:
            self._read()
        if not self._head:
            return None
        if self._rate > 0:
            self.due_ns = self._clock.monotonic_ns() + int(SECOND_NS / self._rate)
        return self._head.popleft()

    def _read(self) -> None:
        entries = self._spool.after(self._cursor, READ_AT_ONCE)
        if entries is None:
            self.due_ns = self._spool.due_ns
            return
        if not entries:
            self._more = False
            return
        self._cursor = entries[-1].key
        self._more = self._cursor < self._until
        for entry in entries:
            if entry.key <= self._until and entry.key not in self._in_memory:
                self._in_memory.add(entry.key)
                late = entry.key < self._fresh_from
                self._head.append(Delivery(0, entry.message, late, self._overtaken, row=entry.key))


class SendQueue:
    """Belongs to the outbox's owner; `in_flight` may be read by any thread."""

    def __init__(self, options: OutboxOptions, spool: GuardedSpool, clock: Clock) -> None:
        self._rate = options.replay_rate
        self._beside_past = options.beside_past
        self._saves_first = options.durability is Durability.ALWAYS
        self._spool = spool
        self._ids = itertools.count(1)
        self.in_flight: dict[int, Sequence[Delivery]] = {}
        """Sent and not confirmed, by key. Joined results count once: it is messages that a broker limits."""
        self._retry: deque[Delivery] = deque()
        self.new: deque[Delivery] = deque()
        """Not sent yet; the outbox adds what has come."""
        self.disk = SpoolReader(spool, clock, options.replay_rate)
        self._earlier = SpoolReader(spool, clock, 0.0)
        self._earlier_is_next = False

    def __bool__(self) -> bool:
        """True while something is not confirmed, as far as is known."""
        return bool(self.in_flight) or self.waits

    @property
    def waits(self) -> bool:
        """Something is to be sent, now or later."""
        return bool(self._retry or self.new or self.disk or self._earlier)

    @property
    def disk_due_ns(self) -> int | None:
        """When the next of those on disk may be sent, on the monotonic clock; None where there are none."""
        return min((reader.due_ns for reader in (self.disk, self._earlier) if reader), default=None)

    # --- what comes and goes ------------------------------------------------------------------------

    def begin(self) -> None:
        """An earlier life left messages on disk."""
        if self._beside_past is not None and self._spool.size > self._beside_past:
            log.info("they are sent in turn with new results; --replay-rate 0 sends them first")
            self.disk.pass_by(sys.maxsize)
            self._earlier.begin_beside()
        else:
            self.disk.begin()

    def confirmed(self, ids: Iterable[int]) -> list[Delivery]:
        """Those of them that were in flight; they are here no more."""
        deliveries = [d for id_ in ids for d in self.in_flight.pop(id_, ())]
        for delivery in deliveries:
            if delivery.row is not None:
                self.disk.confirmed(delivery.row)
                self._earlier.confirmed(delivery.row)
                self._spool.remove(delivery.row)
        return deliveries

    def lost(self) -> None:
        """The connection went: what was in flight is sent again, first."""
        # New ones: by those that it was given, the sink may still tell of what it had sent before.
        deliveries = [replace(d, replayed=True) for d in itertools.chain.from_iterable(self.in_flight.values())]
        self.disk.fresh_from(sys.maxsize)
        self._retry.extendleft(reversed(deliveries))
        self.in_flight.clear()

    def delayed(self) -> None:
        """What is new has waited for a connection."""
        for delivery in self.new:
            delivery.replayed = True
        self.disk.fresh_from(sys.maxsize)

    # --- what is sent next --------------------------------------------------------------------------

    def send(self, most: int, batch: int = 1, batch_bytes: int = 0) -> list[Entry]:
        """At most `most` messages, in flight from now on. Entries of one key go in one message.

        `batch` results at most go in one, of `batch_bytes` bytes together.
        """
        entries: list[Entry] = []
        for _ in range(most):
            first = self._next()
            if first is None:
                break
            joined = self._joined(first, batch, batch_bytes) if batch > 1 and _joins(first.message) else (first,)
            key = next(self._ids)
            self.in_flight[key] = joined
            for delivery in joined:
                delivery.key = key
            entries += joined
        return entries

    def _joined(self, first: Delivery, batch: int, batch_bytes: int) -> Sequence[Delivery]:
        joined, size = [first], len(first.message.payload)
        while len(joined) < batch and (delivery := self._next()) is not None:
            size += len(delivery.message.payload) + REPLAYED_SIZE
            if size > batch_bytes or not _joins(delivery.message):
                self._retry.appendleft(delivery)  # it is still the next one
                break
            joined.append(delivery)
        return joined

    def _next(self) -> Delivery | None:
        if self._retry:
            return self._retry.popleft()
        if not self._earlier:
            return self._next_of_this_life()
        if self._earlier_is_next or not (self.new or self.disk):
            self._earlier_is_next = False
            if (delivery := self._earlier.next()) is not None:
                return delivery
        self._earlier_is_next = bool(self._earlier)  # it may have ended
        return self._next_of_this_life() or self._earlier.next()

    def _next_of_this_life(self) -> Delivery | None:
        if self.disk and self._rate <= 0:  # without a rate what is new stands behind all that waits on disk
            delivery = self.disk.next()
            if delivery is not None or self.disk:
                return delivery
        if self.new and (not self._saves_first or self._spool.failing or self.new[0].row is not None):
            return self.new.popleft()
        return self.disk.next() if self._rate > 0 else None

    # --- the disk -----------------------------------------------------------------------------------

    def unsaved(self) -> Iterator[Delivery]:
        """Those that are not on disk, oldest first."""
        sent = itertools.chain.from_iterable(self.in_flight.values())
        return (d for d in itertools.chain(sent, self._retry, self.new) if d.row is None)

    def saved(self, deliveries: Sequence[Delivery], rows: Sequence[int], *, up: bool) -> None:
        """These are on disk now; `up`: there is a connection, so that the new ones among them are sent soon.

        New ones are kept in memory too only where they are sent next.
        """
        self._earlier.ends_before(rows[0])
        if not self.disk:
            self.disk.fresh_from(rows[0])
        for delivery, row in zip(deliveries, rows, strict=True):
            delivery.row = row
            self.disk.keep_in_memory(row)
        if up and not self.disk:
            self.disk.pass_by(rows[-1])
        elif not up or self._rate <= 0:
            self.disk.read_again([d.row for d in self.new if d.row is not None])
            self.new.clear()

    def drop(self, count: int, size: int) -> list[Delivery]:
        """Takes out the oldest new ones that are not on disk: at least `count`, and `size` bytes of payload."""
        dropped: list[Delivery] = []
        kept: deque[Delivery] = deque()
        while self.new and (len(dropped) < count or size > 0):
            delivery = self.new.popleft()
            if delivery.row is None:
                size -= delivery.message.size
                dropped.append(delivery)
            else:
                kept.append(delivery)
        self.new.extendleft(reversed(kept))
        return dropped


def _joins(message: Message) -> bool:
    """Errors, and what an asker waits for, go alone."""
    return message.kind == "result" and message.reply is None and message.words is None
