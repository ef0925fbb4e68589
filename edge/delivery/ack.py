"""The acknowledgement of one sample, shared by all messages that come of it."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Ack:
    """Calls `done` once, when each of `parts` was released: confirmed by the other side, on disk, or given up.

    `grows`: parts may be added; one is then held by the thread that adds, and released when it has done so.
    """

    __slots__ = ("_done", "_lock", "_parts")

    def __init__(self, parts: int, done: Callable[[], None], *, grows: bool = False) -> None:
        self._parts = parts
        self._done = done
        self._lock = threading.Lock() if parts > 1 or grows else None
        if parts == 0:
            done()

    def add(self, parts: int) -> None:
        """So many more. Of one that grows, while not all are released."""
        assert self._lock is not None
        with self._lock:
            self._parts += parts

    def release(self) -> None:
        """One part is safe. From any thread; `done` is called in it."""
        if self._lock is None:  # a single part is released by a single thread
            self._parts -= 1
        else:
            with self._lock:
                self._parts -= 1
                if self._parts:
                    return
        if self._parts == 0:
            self._done()
