"""A connection with limits: uvicorn's, and nobody can hold one, or fill the memory with one, for nothing.

uvicorn waits for ever for the head of a request, for a client that does not read, and for the rest of a body that
was refused already. A few hundred such clients would use up the process's file descriptors, and the broker's
connection with them. It also keeps whatever comes as a head, as trailers and as pipelined requests: a client that
sends nothing else for some seconds costs gigabytes, before anybody has asked it for a token.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import Any, cast

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from edge.http.fastpath import Again, Answer, learn
from edge.http.http_types import Scope
from edge.http.sockets import Corked

HEAD_WAIT_S = 10.0
"""How long a request may take up to the first byte of its body, from its first byte or from the connection."""
REST_WAIT_S = 10.0
"""How long the rest of a body may take that nobody wants any more."""
FLUSH_WAIT_S = 10.0
"""How long a connection that is closed may take to send what is left."""
LINGER_S = 10.0
"""How long a client that is still sending may take to read why its request was refused."""
BESIDE_MOST = 65_536
"""Bytes of a request that are not its body: head, trailers, what stands around chunks."""
AROUND_CHUNK = 16
"""Bytes around a chunk that are not held against the client."""
PIPELINED_MOST = 256
"""Requests that may wait behind one on the same connection."""
READ_MOST = 120_000
"""Bytes that are read at once. asyncio asks for 256 KB: memory that glibc maps anew for each small request, which
costs as much as reading and answering it."""
READ_LARGE = 1_000_000
"""The same, once a client has sent so much that one read did not hold it."""
HELD_MOST = 16_384
"""Bytes of a body that is waited for with its head unread."""
SPARE = 32
"""Connections that are accepted past the limit, to be told why they are closed."""


def _answer(status: int, text: str, more: bytes = b"") -> bytes:
    body = msgspec.json.encode({"error": text})
    return b"%bcontent-type: application/json\r\n%bconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (
        STATUS_LINE[status], more, len(body), body
    )  # fmt: skip


FULL = _answer(503, "too many connections; try again", b"retry-after: 1\r\n")
INVALID = _answer(400, "this is no HTTP request")
TOO_MANY = _answer(429, f"more than {PIPELINED_MOST} requests wait on this connection")
TOO_LONG = _answer(431, f"the head of the request has more than {BESIDE_MOST} bytes")


class Connection(HttpToolsProtocol):
    """`most` connections at once; more are told so and closed."""

    most = 256

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._head_timer: asyncio.TimerHandle | None = None
        self._rest_timer: asyncio.TimerHandle | None = None
        self._in_head = True
        self._in_body = False
        """From the end of a head to the end of its request."""
        self._refused = False
        self._reading = False
        self._running: RequestResponseCycle | None = None
        self._unstarted: tuple[RequestResponseCycle, Any] | None = None
        self._beside = 0
        """Bytes since the last whole request that were no body."""
        self._between = True
        """From the end of a request to the first byte of the next."""
        self._again: Again | None = None
        self._held = b""
        """A head that is known, without its body: read when that is there."""
        self._lead = b""
        """A head that was read, whose body is waited for."""
        self._answered_s = 0.0
        self._default: list[tuple[bytes, bytes]] | None = None
        self._default_lines = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._corked = Corked(transport, self._linger)
        super().connection_made(self._corked)  # type: ignore[arg-type]
        self._corked.read_at_most(READ_MOST)
        if len(self.connections) > self.most:
            transport.write(FULL)
            transport.close()
            self.loop.call_later(FLUSH_WAIT_S, transport.abort)
            return
        self._head_timer = self.loop.call_later(HEAD_WAIT_S, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        self._end_rest()
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True  # uvicorn tells the newest request alone, not the one before it
            self._running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._held:
            data, self._held = self._held + data, b""
        if self._again is not None and self._answer_again(self._again, data):
            return
        if len(data) == READ_MOST:
            self._corked.read_at_most(READ_LARGE)
        lead, self._lead = self._lead, b""
        alone = self._between or bool(lead)
        self._beside += len(data)
        self._reading = True
        super().data_received(data)
        quick = self._start()
        if self.transport.is_closing():
            return
        if alone and self._unstarted is not None:
            self._lead = data
        elif alone and quick is not None and self._between:
            self._again = learn(lead + data, len(self.cycle.body), quick)
        if self._beside > BESIDE_MOST or len(self.pipeline) > PIPELINED_MOST:
            self._refuse(TOO_LONG if self._beside > BESIDE_MOST else TOO_MANY)
            return
        if self.pipeline:  # uvicorn reads on after every answer, however many requests wait
            self.flow.pause_reading()
        # Armed only where a head came in pieces: most requests come whole, and need no timer.
        if self._in_head and self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_WAIT_S, self._too_slow)

    # --- what the parser finds ----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._in_head = True
        self._between = False
        super().on_message_begin()
        self.scope["edge.abort"] = self.transport.abort  # type: ignore[typeddict-unknown-key]

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._in_body = True
        self.scope["edge.respond"] = partial(self._respond, self.cycle)  # type: ignore[typeddict-unknown-key]
        if self.scope["http_version"] == "1.0":
            self.scope["edge.until_close"] = partial(_until_close, self.cycle)  # type: ignore[typeddict-unknown-key]

    def on_body(self, body: bytes) -> None:
        self._end_head()  # from here on the reader of the body has an eye on the time
        self._beside = max(0, self._beside - len(body) - AROUND_CHUNK)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._end_head()
        self._in_body = False
        self._between = True
        self._beside = 0
        super().on_message_complete()
        if self._rest_timer is not None:  # the end of a body that was refused: now the connection is idle
            self._end_rest()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def send_400_response(self, msg: str) -> None:
        self._refuse(INVALID)

    # --- answers ------------------------------------------------------------------------------------

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        if self._reading:  # what came together with the head is read first: most often that is all
            self._unstarted = (cycle, app)
        else:
            super()._start_asgi_task(cycle, app)

    def _start(self) -> Answer | None:
        """Begins requests: a whole and quick one is answered at once, which spares a task and a turn of the loop.

        Returns what has answered the last one, where that was so.
        """
        quick: Answer | None = None
        while self._unstarted is not None and not self.transport.is_closing():
            cycle, app = self._unstarted
            if self._waits(cycle, app):
                break
            self._unstarted = None
            quick = None if cycle.more_body else self._at_once(cycle, app)
            if quick is None:
                super()._start_asgi_task(cycle, app)
        self._reading = False
        return quick

    @staticmethod
    def _waits(cycle: RequestResponseCycle, app: Any) -> bool:
        """True where a head came without the small body that it promises: many clients send the two apart."""
        if not cycle.more_body or cycle.body or cycle.waiting_for_100_continue:
            return False
        length = dict(cycle.scope["headers"]).get(b"content-length", b"")
        small = length.isdigit() and int(length) <= HELD_MOST
        return small and getattr(app, "quick", None) is not None and app.quick(cycle.scope) is not None

    def _at_once(self, cycle: RequestResponseCycle, app: Any) -> Answer | None:
        quick, scope = getattr(app, "quick", None), cast(Scope, cycle.scope)
        answer: Answer | None = quick(scope) if quick is not None and not self.flow.write_paused else None
        response = answer(bytes(cycle.body)) if answer is not None else None
        return answer if response is not None and response.whole(scope) else None

    def _answer_again(self, again: Again, data: bytes) -> bool:
        """True where it is a request like the one before, and is answered, or waits for its body."""
        if not (self._between and self.cycle.response_complete) or self.pipeline or self.flow.write_paused:
            return False
        split = again.split(data)
        if split is None:
            return False
        body, length = split
        if len(body) != length:
            return not body and self._hold(data, length)
        response = again.answer(body)
        if response is None:
            return False
        self._end_head()
        self._answered_s = self.loop.time()
        self.server_state.total_requests += 1
        head, body, close = response.parts()
        self._send(head, body, close)
        if close:
            self.transport.close()
        return True

    def _hold(self, head: bytes, length: int) -> bool:
        """Waits for the body where it is to be a small one."""
        if length > HELD_MOST:
            return False
        self._held = head
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_WAIT_S, self._too_slow)
        return True

    def _respond(self, cycle: RequestResponseCycle, head: bytes, body: bytes, close: bool) -> bool:
        """Sends a whole response at once, which costs a third of uvicorn's two messages; False: send it that way.

        `head` is the status line and the response's own headers.
        """
        if cycle.response_started or cycle.disconnected or self.flow.write_paused or cycle.scope["method"] == "HEAD":
            return False
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.keep_alive = cycle.keep_alive and not close
        self._send(head, body, not cycle.keep_alive)
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
        return True

    def _send(self, head: bytes, body: bytes, close: bool) -> None:
        default = self.server_state.default_headers
        if default is not self._default:  # uvicorn makes a new list each second, for the date
            self._default, self._default_lines = default, b"".join([b"%b: %b\r\n" % header for header in default])
        end = b"connection: close\r\n\r\n" if close else b"\r\n"
        self._corked.write_through(b"".join((head, self._default_lines, end, body)))

    # --- ends ---------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        self._corked.flush()  # the answer to a HEAD, or a 204, is a head and nothing else
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self._in_body and self.cycle.response_complete:
            self._end_head()
            self._rest_timer = self.loop.call_later(REST_WAIT_S, self._too_slow)

    def timeout_keep_alive_handler(self) -> None:
        # Requests that come again leave the timer as it is: that is cheaper than a new one for each.
        left_s = self._answered_s + self.timeout_keep_alive - self.loop.time()
        if left_s > 0 or self._held:
            self.timeout_keep_alive_task = self.loop.call_later(max(1.0, left_s), self.timeout_keep_alive_handler)
            return
        super().timeout_keep_alive_handler()
        self.loop.call_later(FLUSH_WAIT_S, self.transport.abort)

    def shutdown(self) -> None:
        if self._refused or self._in_body or self._held:  # it has its answer, or has not said all of what it asks
            self.transport.abort()
            return
        super().shutdown()

    def _linger(self) -> bool:
        """Reads on for a while: a socket that is closed with unread bytes in it takes back the answer."""
        if not (self._refused or (self._in_body and self.cycle.response_complete)):
            return False
        self.flow.resume_reading()
        self._end_head()
        self.loop.call_later(LINGER_S, self.transport.abort)
        return True

    def _refuse(self, answer: bytes) -> None:
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.abort()
            return
        self._refused = True
        self.transport.write(answer)
        self.transport.close()

    def _end_head(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end_rest(self) -> None:
        if self._rest_timer is not None:
            self._rest_timer.cancel()
            self._rest_timer = None

    def _too_slow(self) -> None:
        self._head_timer = self._rest_timer = None
        if not self.transport.is_closing():
            self.transport.abort()


def _until_close(cycle: RequestResponseCycle, *, ends: bool) -> None:
    """HTTP/1.0 has no chunks: a response without a length lasts until the connection is closed."""
    cycle.chunked_encoding = False
    cycle.expected_content_length = 0 if ends else sys.maxsize
