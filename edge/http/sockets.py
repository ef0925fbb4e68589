"""The two ends of the sockets: one that hands out so many connections, and one that sends in few pieces."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any


class Listener(socket.socket):
    """A listening socket that hands out at most `most` connections at a time, and hangs up on the others.

    A connection counts from its first packet: in TLS, before anything of HTTP is known of it.
    """

    def __init__(self, family: int, kind: int, proto: int, most: int) -> None:
        super().__init__(family, kind, proto)
        self.most = most
        self._open: list[socket.socket] = []

    def accept(self) -> tuple[socket.socket, Any]:
        """As `socket.accept`; ConnectionAbortedError, which asyncio takes as "later", where there are too many."""
        made, address = super().accept()
        if len(self._open) >= self.most:
            self._open = [one for one in self._open if one.fileno() >= 0]
        if len(self._open) >= self.most:
            made.close()
            raise ConnectionAbortedError("too many connections")
        self._open.append(made)
        return made, address


class Corked:
    """A transport that sends a response's head together with what follows at once: one packet, one system call.

    uvicorn writes the two one after the other, without waiting in between.
    """

    def __init__(self, transport: asyncio.Transport, linger: Callable[[], bool]) -> None:
        """`linger` is asked at the end: True where it will close the transport itself, later."""
        self._transport = transport
        self._linger = linger
        self._held: bytes | None = None
        self._ended = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def read_at_most(self, size: int) -> None:
        """So many bytes at once, where the transport lets itself be told: asyncio's own for plain sockets does."""
        if hasattr(self._transport, "max_size"):
            self._transport.max_size = size

    def write(self, data: bytes) -> None:
        """Holds back what begins like a response's head until the next write, or the response's end."""
        if self.is_closing():  # asyncio would log each write to a connection that is gone
            return
        if self._held is not None:
            data, self._held = self._held + data, None
        elif data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 100"):  # "go on" waits for nothing
            self._held = data
            return
        self._transport.write(data)

    def write_through(self, data: bytes) -> None:
        """Holds nothing back."""
        if not self.is_closing():
            self._transport.write(data)

    def flush(self) -> None:
        """Sends what is held back."""
        if self._held is not None:
            data, self._held = self._held, None
            self.write_through(data)

    def close(self) -> None:
        """What is held back goes first."""
        self.flush()
        if not self._ended and not self._transport.is_closing() and self._linger():
            self._ended = True
            if self._transport.can_write_eof():
                self._transport.write_eof()
        elif not self._ended:
            self._transport.close()

    def is_closing(self) -> bool:
        """True where nothing more can be sent."""
        return self._ended or self._transport.is_closing()
