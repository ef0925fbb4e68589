"""Ends the wait of a thread that waits for nothing but its waker."""

from __future__ import annotations

import threading


class ThreadWaker:
    """`wake` from any thread, `wait` from the thread that is woken."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def wake(self) -> None:
        """What this thread wrote before is visible to the other one when its `wait` returns."""
        if not self._event.is_set():
            self._event.set()

    def wait(self, timeout_s: float) -> None:
        """Returns once it was woken since the last time, or after `timeout_s` seconds."""
        self._event.wait(timeout_s)
        self._event.clear()
