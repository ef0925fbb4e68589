"""One bit that moves left: this sample is safe."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

from edge.data.message import Message


class Receipt:
    """Calls `done` once, when every one of `parts` was released: confirmed by the other side, or on disk."""

    __slots__ = ("_done", "_lock", "_parts")

    def __init__(self, parts: int, done: Callable[[], None]) -> None:
        self._parts = parts
        self._done = done
        self._lock = threading.Lock() if parts > 1 else None
        if parts == 0:
            done()

    def release(self) -> None:
        """One part is safe. From any thread."""
        if self._lock is None:  # there is but one to release it
            self._parts -= 1
        else:
            with self._lock:
                self._parts -= 1
                if self._parts:
                    return
        if self._parts == 0:
            self._done()


Parcel: TypeAlias = tuple[Message, Receipt]
"""A message, and the receipt of the sample that it comes of."""
