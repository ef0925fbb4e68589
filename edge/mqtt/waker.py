"""Ends the wait of a thread that waits in a selector. A second `wake` before the thread has looked costs nothing."""

from __future__ import annotations

import contextlib
import socket


class SocketWaker:
    """`wake` from any thread; the rest from the thread that waits, or before it starts."""

    def __init__(self) -> None:
        self._reader: socket.socket | None = None
        self._writer: socket.socket | None = None
        self._woken = False

    def open(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._woken = False

    def fileno(self) -> int:
        """For the selector: readable after `wake`."""
        return self._reader.fileno() if self._reader is not None else -1

    def wake(self) -> None:
        """What this thread wrote before is visible to the other after its next `clear`."""
        if self._woken or self._writer is None:
            return
        self._woken = True
        try:
            self._writer.send(b"\0")
        except OSError:
            return  # closed: the thread has ended

    def clear(self) -> None:
        """To be called before looking for work: a `wake` from now on ends the next wait.

        The socket is emptied first: a `wake` in between does nothing, and its work is found all the same.
        """
        if self._reader is not None:
            with contextlib.suppress(BlockingIOError):
                self._reader.recv(4096)
        self._woken = False

    def close(self) -> None:
        for end in (self._reader, self._writer):
            if end is not None:
                end.close()
