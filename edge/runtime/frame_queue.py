"""The bounded queue between the capture thread and the infer thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):  # noqa: N818 - a condition, as StopIteration is
    """The queue is closed and, for `get`, empty."""


class FrameQueue(Generic[T]):
    """`drop_oldest`: a full queue lets the oldest go and tells `dropped`; else `put` waits."""

    def __init__(self, capacity: int, *, drop_oldest: bool, dropped: Callable[[T], None]) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._drop_oldest = drop_oldest
        self._dropped = dropped
        self._closed = self._woken = False
        self._changed = threading.Condition()

    def holds(self) -> bool:
        """True where something waits, at this moment."""
        return bool(self._items)

    def put(self, item: T, timeout_s: float) -> bool:
        """False where it is still full after `timeout_s`; raises Closed."""
        victim: T | None = None
        with self._changed:
            if not self._drop_oldest and len(self._items) >= self._capacity:
                self._changed.wait_for(lambda: self._closed or len(self._items) < self._capacity, timeout_s)
            if self._closed:
                raise Closed
            if len(self._items) >= self._capacity:
                if not self._drop_oldest:
                    return False
                victim = self._items.popleft()
            self._items.append(item)
            if len(self._items) == 1:  # who gets waits for an empty one only
                self._changed.notify_all()
        if victim is not None:
            self._dropped(victim)
        return True

    def get(self, timeout_s: float, most: int = 1) -> list[T]:
        """What waits, oldest first; nothing after `timeout_s`. Raises Closed once it is closed and empty.

        A queue that drops nothing grows to `most`: who takes so many at once is quick, and what it takes small. With
        `most` 0 only `wake` ends the wait.
        """
        with self._changed:
            if not self._drop_oldest:
                self._capacity = max(self._capacity, most)
            if timeout_s > 0 and not (self._items and most):
                self._changed.wait_for(lambda: self._woken or (most if self._items else self._closed), timeout_s)
            self._woken = False
            if not self._items and self._closed:
                raise Closed
            items = [self._items.popleft() for _ in range(min(most, len(self._items)))]
            # Not at each item: two threads that wake each other every time spend more on that than on the items.
            if len(self._items) <= self._capacity // 2:
                self._changed.notify_all()
            return items

    def wake(self) -> None:
        """Ends the wait of `get`, this one or the next: what it waits for beside the items is there."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        """No more `put`; what is inside can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
