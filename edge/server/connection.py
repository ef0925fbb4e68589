"""A connection with limits: uvicorn's, and nobody can hold one for nothing.

uvicorn waits for ever for the head of a request, and for a client that does not read. A few hundred such clients
would use up the process's file descriptors, and the broker's connection with them.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_WAIT_S = 10.0
"""How long a request may take up to the first byte of its body, from its first byte or from the connection."""
FLUSH_WAIT_S = 10.0
"""How long a connection that is closed may take to send what is left."""

_WORDS = b'{"error": "too many connections; try again"}'
FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_WORDS), _WORDS)
)


class Corked:
    """A transport that sends a response's head together with what follows at once: one packet, one system call.

    uvicorn writes the two one after the other, without waiting in between.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held: bytes | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Holds back what begins like a response's head until the next write, or the response's end."""
        if self._held is not None:
            data, self._held = self._held + data, None
        elif data.startswith(b"HTTP/1.1 "):
            self._held = data
            return
        self._transport.write(data)

    def flush(self) -> None:
        """Sends what is held back."""
        if self._held is not None:
            data, self._held = self._held, None
            self._transport.write(data)

    def close(self) -> None:
        """What is held back goes first."""
        self.flush()
        self._transport.close()


class Connection(HttpToolsProtocol):
    """`most` connections at once; more are told so and closed."""

    most = 256

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._head_timer: asyncio.TimerHandle | None = None
        self._in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._corked = Corked(transport)
        super().connection_made(self._corked)  # type: ignore[arg-type]
        if len(self.connections) > self.most:
            transport.write(FULL)
            transport.close()
            self.loop.call_later(FLUSH_WAIT_S, transport.abort)
            return
        self._head_timer = self.loop.call_later(HEAD_WAIT_S, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Armed only where a head came in pieces: most requests come whole, and need no timer.
        if self._in_head and self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(HEAD_WAIT_S, self._too_slow)

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()
        self.scope["edge.abort"] = self.transport.abort  # type: ignore[typeddict-unknown-key]

    def on_body(self, body: bytes) -> None:
        self._end_head()  # from here on the reader of the body has an eye on the time
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._end_head()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._corked.flush()  # the answer to a HEAD, or a 204, is a head and nothing else
        super().on_response_complete()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self.loop.call_later(FLUSH_WAIT_S, self.transport.abort)

    def _end_head(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.abort()
