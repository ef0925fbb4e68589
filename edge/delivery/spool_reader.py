"""What a lane has on disk, read in order, its head in memory.

`cursor` is the last key that was read or need not be: what is younger is read next. A message that a lane holds in
memory as well is *held*, and passed over when its row comes by.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from edge.data.message import Message
from edge.delivery.ack import Receipt
from edge.delivery.guarded_spool import Shelf
from edge.plugins.protocols import Clock

SECOND_NS = 1_000_000_000
LOAD_AT_ONCE = 64


class Item(msgspec.Struct):
    """A message on its way. `key`: where it is on disk; `since_ns`: when it came, 0 where an earlier life made it."""

    message: Message
    since_ns: int
    receipt: Receipt | None = None
    key: int | None = None
    replayed: bool = False

    def release(self) -> None:
        """This lane's part of the sample is safe. A second call does nothing."""
        receipt, self.receipt = self.receipt, None
        if receipt is not None:
            receipt.release()


class Backlog:
    """Used by the lane's thread alone. `rate`: entries a second, 0: at full speed."""

    def __init__(self, shelf: Shelf, clock: Clock, rate: float) -> None:
        self._shelf = shelf
        self._clock = clock
        self._rate = rate
        self._loaded: deque[Item] = deque()
        self._held: set[int] = set()
        self._cursor = 0
        self._more = False
        self.due_ns = 0
        """When the next one may be sent, on the monotonic clock."""

    def __bool__(self) -> bool:
        """True while something waits on disk, as far as is known."""
        return bool(self._loaded) or self._more

    @property
    def due(self) -> bool:
        """Something waits, and may be sent now."""
        return bool(self) and self._clock.monotonic_ns() >= self.due_ns

    def begin(self) -> None:
        """There are rows on disk that were not read yet."""
        self._more = True

    def hold(self, key: int) -> None:
        """This row is in memory as well."""
        self._held.add(key)

    def confirmed(self, key: int) -> None:
        """Sent and confirmed: `flush` of the shelf takes it from the disk."""
        self._held.discard(key)
        self._shelf.remove(key)

    def passed(self, newest: int) -> None:
        """All up to this key is in memory: nothing before it has to be read."""
        self._cursor = newest

    def give_back(self, keys: Sequence[int]) -> None:
        """These rows are not held any more, and are read again in their turn."""
        if keys:
            # What an earlier save had kept in memory is read again, too: it lies before the cursor.
            self._cursor = min(self._cursor, keys[0] - 1)
            self._more = True
        self._held.difference_update(keys)

    def next(self) -> Item | None:
        """The oldest; None where nothing was left after all, or the disk cannot be read now."""
        if not self._loaded:
            self._load()
        if not self._loaded:
            return None
        if self._rate > 0:
            self.due_ns = self._clock.monotonic_ns() + int(SECOND_NS / self._rate)
        return self._loaded.popleft()

    def _load(self) -> None:
        entries = self._shelf.after(self._cursor, LOAD_AT_ONCE)
        if entries is None:
            self.due_ns = self._shelf.due_ns
            return
        if not entries:
            self._more = False
            return
        self._cursor = entries[-1].key
        for entry in entries:
            if entry.key not in self._held:
                self._held.add(entry.key)
                self._loaded.append(Item(entry.message, 0, key=entry.key, replayed=True))
