"""The end of the process: asked for by a signal or by a part that failed, carried out by the main thread.

Made before everything else and given to each part, so that none needs to know the runner.
"""

from __future__ import annotations

import contextlib
import threading
from queue import Empty, SimpleQueue


class Stop:
    """`request`, `fail` and `look` from any thread; `request` and `look` from a signal's handler too."""

    def __init__(self) -> None:
        # A signal's handler runs between two steps of the main thread: it may take no lock that this one holds.
        # To put into a SimpleQueue is safe there, to set an Event is not.
        self._wakes: SimpleQueue[bool] = SimpleQueue()
        self._lock = threading.Lock()
        self._failure: BaseException | None = None

    @property
    def failure(self) -> BaseException | None:
        """What ends the process with an error: the first that came."""
        return self._failure

    def request(self) -> None:
        """The process is to end in order."""
        self._wakes.put(True)

    def fail(self, exc: BaseException) -> None:
        """A part has ended with an error, and so does the process."""
        with self._lock:
            if self._failure is None:
                self._failure = exc
        self.request()

    def look(self) -> None:
        """Ends the main thread's wait: a thread has ended."""
        self._wakes.put(False)

    def wait(self, timeout_s: float) -> bool:
        """Of the main thread: until something came, at most `timeout_s`. True where it is a request to end."""
        with contextlib.suppress(Empty):
            return self._wakes.get(timeout=timeout_s)
        return False
