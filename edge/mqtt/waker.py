"""Ends the wait of a thread that waits in a selector. A second `wake` before the thread has looked costs nothing."""

from __future__ import annotations

import contextlib
import io
import os


class PipeWaker:
    """`wake` from any thread; the rest from the thread that waits, or before it starts."""

    def __init__(self) -> None:
        self._reader: io.FileIO | None = None
        self._writer: io.FileIO | None = None
        self._woken = False

    def open(self) -> None:
        reader, writer = os.pipe()  # half of what a pair of sockets costs
        for end in (reader, writer):
            os.set_blocking(end, False)
        self._reader, self._writer = io.FileIO(reader, "rb"), io.FileIO(writer, "wb")
        self._woken = False

    def fileno(self) -> int:
        """For the selector: readable after `wake`."""
        return self._reader.fileno() if self._reader is not None else -1

    def wake(self) -> None:
        """What this thread wrote before is visible to the other after its next `clear`."""
        if self._woken or self._writer is None:
            return
        self._woken = True
        with contextlib.suppress(ValueError, OSError):  # closed: the thread has ended
            self._writer.write(b"\0")

    def clear(self) -> None:
        """To be called before looking for work: a `wake` from now on ends the next wait.

        The pipe is emptied first: a `wake` in between does nothing, and its work is found all the same.
        """
        if self._reader is not None:
            self._reader.read(4096)
        self._woken = False

    def close(self) -> None:
        for end in (self._reader, self._writer):
            if end is not None:
                end.close()
