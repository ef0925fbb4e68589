"""Wakes a thread that waits in a selector. To ring again before it has looked costs nothing."""

from __future__ import annotations

import contextlib
import socket


class Bell:
    """`ring` from any thread; the rest from the one that waits."""

    def __init__(self) -> None:
        self._ear, self._hand = socket.socketpair()
        self._ear.setblocking(False)
        self._hand.setblocking(False)
        self._rung = False

    def fileno(self) -> int:
        """For the selector: readable once it was rung."""
        return self._ear.fileno()

    def ring(self) -> None:
        """What was done before it is seen by the thread after its next `hush`."""
        if self._rung:
            return
        self._rung = True
        try:
            self._hand.send(b"\0")
        except OSError:
            return  # closed: nobody waits any more

    def hush(self) -> None:
        """Before looking at what there is to do: who rings from now on is heard again.

        Emptied first: a ring in between is swallowed, and what it was for is looked at all the same.
        """
        with contextlib.suppress(BlockingIOError):
            self._ear.recv(4096)
        self._rung = False

    def close(self) -> None:
        self._ear.close()
        self._hand.close()
