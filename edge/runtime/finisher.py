"""Work that follows other work, in its order: by the thread that has it, or by one of its own meanwhile."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

LOOK_AGAIN_S = 0.5


class Relay(Generic[T]):
    """`run` by a thread of its own, the rest by the one that gives."""

    def __init__(self, do: Callable[[T], None], most: int = 2) -> None:
        """`most`: how many may wait for `run`; then `give` waits."""
        self._do = do
        self._most = most
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._waiting: deque[T] = deque()
        self._closed = self._over = False

    def give(self, task: T, *, here: bool, waiting: Callable[[], None] = lambda: None) -> None:
        """`here`: returns when it is done, and all before it; else `run` does it, as soon as it can.

        Calls `waiting` about twice a second while there is no room. What is given after `run` has ended by an error
        is dropped: nothing of it was acknowledged.
        """
        with self._changed:
            while len(self._waiting) >= self._most and not (here or self._over):
                waiting()
                self._changed.wait(LOOK_AGAIN_S)
            self._waiting.append(task)
            if not here:
                self._changed.notify_all()
        if here:
            self._do_all()

    def finish(self) -> None:
        """Does what still waits."""
        self._do_all()

    def close(self) -> None:
        """Nothing more is given: `run` does what still waits, and returns."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def run(self) -> None:
        """Does what is given and not done by who gave it, until `close`."""
        try:
            while self._wait():
                self._do_all()
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _wait(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return bool(self._waiting)

    def _do_all(self) -> None:
        with self._turn:
            while (task := self._next()) is not None:
                self._do(task)

    def _next(self) -> T | None:
        with self._changed:
            if self._over or not self._waiting:
                return None
            if len(self._waiting) == self._most:
                self._changed.notify_all()
            return self._waiting.popleft()
