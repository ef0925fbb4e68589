"""The messages that a lane has, and the order in which they are sent.

Where a message can be, oldest first (there is no other place but the lane's intake, and a message is in one of them at
a time, but that one on disk may be held in memory as well):

    window  sent, not confirmed
    resend  sent on a connection that was lost
    disk    in the spool; its head is read into memory (`Backlog`)
    queue   new, in memory

With `replay_rate` new messages do not queue behind what waits on disk; each of the two keeps its own order.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from edge.flow.backlog import Backlog, Item
from edge.flow.durability import Durability, LaneOptions
from edge.flow.shelf import Shelf
from edge.protocols import Clock, Entry


class Stock:
    """Used by whoever has the lane's turn; `under_way` may be read by any thread."""

    def __init__(self, options: LaneOptions, shelf: Shelf, clock: Clock) -> None:
        self._rate = options.replay_rate
        self._saves_first = options.durability is Durability.ALWAYS
        self._shelf = shelf
        self._tickets = itertools.count(1)
        self._window: dict[int, Item] = {}
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
        """How many are sent and not confirmed."""
        return len(self._window)

    # --- what comes and goes ------------------------------------------------------------------------

    def add(self, items: Iterable[Item]) -> None:
        """New messages."""
        self._queue.extend(items)

    def confirmed(self, tickets: Iterable[int]) -> list[Item]:
        """Those of them that were under way; they are ours no more."""
        items = [item for ticket in tickets if (item := self._window.pop(ticket, None)) is not None]
        for item in items:
            if item.key is not None:
                self.backlog.confirmed(item.key)
        return items

    def lost(self) -> None:
        """The connection went: what was under way is sent again, first."""
        for item in self._window.values():
            item.replayed = True
        self._resend.extendleft(reversed(self._window.values()))
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

    def send(self, most: int) -> list[Entry]:
        """At most so many, with their tickets: they are under way now."""
        if not (self._resend or self.backlog or self._saves_first):
            return [self._entry(self._queue.popleft()) for _ in range(min(most, len(self._queue)))]
        found: list[Entry] = []
        while len(found) < most and (item := self._next()) is not None:
            found.append(self._entry(item))
        return found

    def _entry(self, item: Item) -> Entry:
        ticket = next(self._tickets)
        self._window[ticket] = item
        return Entry(ticket, item.message, item.replayed)

    def _next(self) -> Item | None:
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
        everywhere = itertools.chain(self._window.values(), self._resend, self._queue)
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
