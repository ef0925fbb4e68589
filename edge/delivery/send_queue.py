"""The messages that a lane has, and the order in which they are sent.

Where a message can be, oldest first (there is no other place but the lane's intake, and a message is in one of them at
a time, but that one on disk may be held in memory as well):

    window  sent, not confirmed; results that went in one message are confirmed together
    resend  sent on a connection that was lost
    disk    in the spool; its head is read into memory (`Backlog`)
    queue   new, in memory

With `replay_rate` new messages do not queue behind what waits on disk; each of the two keeps its own order.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from edge.data.message import Message
from edge.delivery.guarded_spool import Shelf
from edge.delivery.options import Durability, LaneOptions
from edge.delivery.spool_reader import Backlog, Item
from edge.plugins.protocols import Clock, Entry

REPLAYED_SIZE = len(b',"replayed":true,')
"""What a result may grow by where it is joined with others: a comma, and that it comes after an outage."""


class Join(msgspec.Struct, frozen=True):
    """How many results may go in one message, and how many bytes of them."""

    most: int = 1
    most_bytes: int = 0


ALONE = Join()


class Stock:
    """Used by whoever has the lane's turn; `under_way` may be read by any thread."""

    def __init__(self, options: LaneOptions, shelf: Shelf, clock: Clock) -> None:
        self._rate = options.replay_rate
        self._saves_first = options.durability is Durability.ALWAYS
        self._shelf = shelf
        self._tickets = itertools.count(1)
        self._window: dict[int, Sequence[Item]] = {}
        self._resend: deque[Item] = deque()
        self._queue: deque[Item] = deque()
        self.backlog = Backlog(shelf, clock, options.replay_rate)

    def __bool__(self) -> bool:
        """True while something is not confirmed, as far as is known."""
        return bool(self._window or self.waits)

    @property
    def waits(self) -> bool:
        """Something is to be sent, now or later."""
        return bool(self._resend or self._queue or self.backlog)

    @property
    def under_way(self) -> int:
        """How many are sent and not confirmed. Joined ones count once: it is messages that a broker limits."""
        return len(self._window)

    # --- what comes and goes ------------------------------------------------------------------------

    def add(self, items: Iterable[Item]) -> None:
        """New messages."""
        self._queue.extend(items)

    def confirmed(self, tickets: Iterable[int]) -> list[Item]:
        """Those of them that were under way; they are ours no more."""
        items = [item for ticket in tickets for item in self._window.pop(ticket, ())]
        for item in items:
            if item.key is not None:
                self.backlog.confirmed(item.key)
        return items

    def lost(self) -> None:
        """The connection went: what was under way is sent again, first."""
        items = list(itertools.chain.from_iterable(self._window.values()))
        for item in items:
            item.replayed = True
        self._resend.extendleft(reversed(items))
        self._window.clear()

    def delayed(self) -> None:
        """What is new has waited for a connection."""
        for item in self._queue:
            item.replayed = True

    # --- what is sent next --------------------------------------------------------------------------

    @property
    def sendable(self) -> bool:
        """Something may be sent now."""
        return bool(self._resend or (self._queue and self._may_send_new()) or self.backlog.due)

    def send(self, most: int, join: Join = ALONE) -> list[Entry]:
        """At most so many messages; they are under way now. What has the same ticket goes in one."""
        entries: list[Entry] = []
        for _ in range(most):
            items = self._together(join)
            if not items:
                break
            ticket = next(self._tickets)
            self._window[ticket] = items
            entries += [Entry(ticket, item.message, item.replayed) for item in items]
        return entries

    def _together(self, join: Join) -> Sequence[Item]:
        first = self._next()
        if first is None:
            return ()
        if join.most == 1 or not _joins(first.message):
            return (first,)
        items, size = [first], len(first.message.payload)
        while len(items) < join.most and (item := self._next()) is not None:
            size += len(item.message.payload) + REPLAYED_SIZE
            if size > join.most_bytes or not _joins(item.message):
                self._resend.appendleft(item)  # it is the next one still
                break
            items.append(item)
        return items

    def _next(self) -> Item | None:
        if not (self._resend or self.backlog or self._saves_first):
            return self._queue.popleft() if self._queue else None
        if self._resend:
            return self._resend.popleft()
        item = self._new()
        if item is not None:
            return item
        if not self.backlog.due:
            return None
        # Where nothing was left on disk after all, what is new need not wait for it.
        return self.backlog.next() or self._new()

    def _new(self) -> Item | None:
        return self._queue.popleft() if self._queue and self._may_send_new() else None

    def _may_send_new(self) -> bool:
        if self._rate <= 0 and self.backlog:
            return False
        if self._saves_first and not self._shelf.failing:
            return self._queue[0].key is not None
        return True

    # --- the disk -----------------------------------------------------------------------------------

    def unsaved(self) -> Iterator[Item]:
        """Those that are not on disk, oldest first."""
        sent = itertools.chain.from_iterable(self._window.values())
        everywhere = itertools.chain(sent, self._resend, self._queue)
        return (i for i in everywhere if i.key is None)

    def saved(self, items: Sequence[Item], keys: Sequence[int], *, up: bool) -> None:
        """These are on disk now: what is new is kept in memory as well only where it is sent next."""
        for item, key in zip(items, keys, strict=True):
            item.key = key
            self.backlog.hold(key)
        if up and not self.backlog:
            self.backlog.passed(keys[-1])
            return
        if up and self._rate > 0:
            return
        self.backlog.give_back([i.key for i in self._queue if i.key is not None])
        self._queue.clear()

    def drop(self, over: int, over_bytes: int) -> list[Item]:
        """Takes out the oldest new ones that are not on disk, until so many and so many bytes are gone."""
        dropped: list[Item] = []
        for item in self._queue if over > 0 or over_bytes > 0 else ():
            if len(dropped) >= over and over_bytes <= 0:
                break
            if item.key is None:
                over_bytes -= len(item.message.payload)
                dropped.append(item)
        gone = {id(item) for item in dropped}
        self._queue = deque(item for item in self._queue if id(item) not in gone) if gone else self._queue
        return dropped


def _joins(message: Message) -> bool:
    """Errors, and what somebody asked for, go alone."""
    return message.kind == "result" and message.reply is None
