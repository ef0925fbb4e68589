"""The end of the process, or a new beginning: asked for by a signal or by a part, carried out by the main thread.

Made before everything else and given to each part, so that none needs to know the runner.
"""

from __future__ import annotations

import contextlib
import threading
from queue import Empty, SimpleQueue


class Stop:
    """`request`, `fail` and `look` from any thread; `request` and `look` from a signal's handler too."""

    def __init__(self, wakes: SimpleQueue[bool] | None = None) -> None:
        # A signal's handler runs between two steps of the main thread: it may take no lock that this one holds.
        # To put into a SimpleQueue is safe there, to set an Event is not.
        self._wakes: SimpleQueue[bool] = SimpleQueue() if wakes is None else wakes
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._asked = self._again = False

    def of_run(self) -> Stop:
        """For one of the runs of the process that this one ends: the main thread waits for both."""
        return Stop(self._wakes)

    @property
    def failure(self) -> BaseException | None:
        """What ends the process with an error: the first that came."""
        return self._failure

    @property
    def asked(self) -> bool:
        """It is to end, in order or to begin anew."""
        return self._asked or self._again

    @property
    def begins_again(self) -> bool:
        """The process is to begin anew where it ends: nothing but `restart` ended it."""
        return self._again and not self._asked and self._failure is None

    def request(self) -> None:
        """The process is to end in order."""
        self._asked = True
        self._wakes.put(True)

    def restart(self) -> None:
        """The process is to end in order and to begin anew, with another model."""
        self._again = True
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
