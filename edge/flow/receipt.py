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
        self._lock = threading.Lock()
        if parts == 0:
            done()

    def release(self) -> None:
        """One part is safe. From any thread."""
        with self._lock:
            self._parts -= 1
            last = self._parts == 0
        if last:
            self._done()


Parcel: TypeAlias = tuple[Message, Receipt]
"""A message, and the receipt of the sample that it comes of."""
