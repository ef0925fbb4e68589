"""One client's connection: its requests are answered one after the other, in the order they came.

No client can hold a connection, or fill the memory with one, for nothing. At each moment a connection waits for one
thing (`Phase`), and for each there is a time after which it ends (`Limits`): the head of a request, its body, the
rest of a body that was refused already, the next request, a client that does not read. `Listener` looks at the
clock once a second, so that a request costs no timer.

Requests are answered in one of two ways. Hot routes answer here and at once where they can, which spares a task and a
turn of the event loop; all others run as a task, one at a time. What comes meanwhile waits unread.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable

from edge.http.fastpath import KnownHead
from edge.http.http_types import CLOSE, Request, Response, last_answer
from edge.http.options import Limits
from edge.http.reader import BESIDE_MOST, PIPELINED_MOST, NotHttp, RequestReader, UnknownMethod
from edge.http.shared import READ_MOST, Shared

WAITING_MOST = READ_MOST
"""Unread bytes behind a request that is being answered, after which the connection is not read on."""
TOGETHER_MOST = 65_536
"""Bytes of a body up to which it is sent in one piece with its head."""
UNSENT_MOST = 65_536
"""Bytes that wait for a client that does not read, after which it is answered no further request."""
GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"
INVALID = last_answer(400, "this is no HTTP request")
UNKNOWN = last_answer(501, "this method is done nowhere here")
TOO_MANY = last_answer(429, f"more than {PIPELINED_MOST} requests wait on this connection")
TOO_LONG = last_answer(431, f"the head of the request has more than {BESIDE_MOST} bytes")
HEALTH = "/health"


class Phase(enum.IntEnum):
    """What a connection waits for."""

    HEAD = enum.auto()
    """The first request, or the rest of a head."""
    BODY = enum.auto()
    """The rest of a body."""
    ANSWER = enum.auto()
    """The server's own work."""
    REST = enum.auto()
    """The rest of a body whose request was refused already: it is read and dropped."""
    IDLE = enum.auto()
    """The next request."""
    LINGER = enum.auto()
    """A client that was refused: a socket that is closed with unread bytes in it takes back the answer."""
    FLUSH = enum.auto()
    """Nothing more but that what was sent is taken."""


class Connection(asyncio.BufferedProtocol):
    """The event loop's own. `lost` is called once, at its end."""

    def __init__(
        self, shared: Shared, address: str, lost: Callable[[Connection], None], *, scheme: str, spare: bool
    ) -> None:
        """`spare`: past the limit of connections, for one request, which is to be for `/health`."""
        self._shared = shared
        self._limits = shared.limits
        self._app = shared.app
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._reader = RequestReader(self._admit, shared.budget, address)
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._unread = b""
        self._known: KnownHead | None = None
        self._held = b""
        """A known head without its body."""
        self._lead = b""
        """A head that came alone, while its body is waited for."""
        self._last = b""
        """What is answered behind all requests before it, for what came then is none."""
        self._gone = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._ended = False
        """The client sends no more."""
        self._stopping = False
        self._body_since = 0.0
        self._stuck_s = 0.0
        self.address = address
        self.scheme = scheme
        self.spare = spare
        self.phase = Phase.HEAD
        self.since = self._loop.time()
        """When `phase` began, or in `BODY` when the client last sent something."""

    # --- the transport's callbacks --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(UNSENT_MOST)  # in TLS it would be 512 kB
        self._enter(Phase.HEAD)
        if self._gone.is_set():  # evicted in the middle of its TLS
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone.set()
        self._writable.set()
        for request in self._reader.requests:
            self._shared.budget.release(request)
        self._reader.requests.clear()
        self._transport = None
        self._lost(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._shared.buffer

    def buffer_updated(self, count: int) -> None:
        data = bytes(self._shared.buffer[:count])
        if self._task is not None or not self._writable.is_set():
            self._keep(data)
        elif self.phase < Phase.LINGER:
            self._read(data)

    def eof_received(self) -> bool:
        """One that has said all may still wait for its answer, but not in TLS; a body without its end gets none."""
        self._ended = True
        self._gone.set()
        requests = self._reader.requests
        return self.scheme == "http" and bool(self._task or self._unread or any(r.complete for r in requests))

    def pause_writing(self) -> None:
        self._writable.clear()
        self._stuck_s = self._loop.time()

    def resume_writing(self) -> None:
        self._writable.set()
        if self._task is None:
            self._go_on()

    # --- reading --------------------------------------------------------------------------------------

    def _admit(self, request: Request) -> Response | None:
        if self.spare and request.path != HEALTH:
            return Response(b'{"error":"too many connections; try again"}', status=503,
                            headers=((b"retry-after", b"1"), *CLOSE))  # fmt: skip
        return self._app.admit(request)

    def _keep(self, data: bytes) -> None:
        self._unread += data
        if len(self._unread) >= WAITING_MOST and self._transport is not None:
            self._transport.pause_reading()

    def _read(self, data: bytes) -> None:
        if self._held:
            data, self._held = self._held + data, b""
        if self._known is not None and self._answer_known(self._known, data):
            return
        reader = self._reader
        lead, self._lead = self._lead, b""
        alone = reader.between or bool(lead)
        try:
            reader.feed(data)
        except NotHttp as exc:
            self._last = UNKNOWN if isinstance(exc, UnknownMethod) else INVALID
            self._advance()
            return
        if reader.too_long or reader.too_many:
            self._refuse(TOO_LONG if reader.too_long else TOO_MANY)
            return
        if alone and not reader.between and not reader.in_head:
            self._lead = data
        self._advance(lead + data if alone and reader.between else b"")

    def _advance(self, alone: bytes = b"") -> None:
        """Answers what has come whole, and says what is waited for then. `alone`: the bytes of a lone request."""
        requests = self._reader.requests
        while requests and self._free:
            request = requests[0]
            if request.refusal is None and not request.complete:
                break
            requests.popleft()
            if request.refusal is not None and not request.delay_s:
                self._respond(request, request.refusal)
            elif request.refusal is not None:
                self.phase = Phase.ANSWER
                self._task = self._loop.create_task(self._run(request))
            else:
                self._start(request, alone if not requests else b"")
        if self._last and self._free:
            self._refuse(self._last)
        elif self._task is None and self.phase < Phase.LINGER:
            self._wait()

    def _go_on(self) -> None:
        """After an answer that took its time: what came meanwhile is read now."""
        self._advance()
        if self._unread and self._free and self._transport is not None:
            unread, self._unread = self._unread, b""
            self._transport.resume_reading()
            self._read(unread)
        if self._ended and self._free:
            self._close()

    @property
    def _free(self) -> bool:
        """True where the next request may be begun."""
        return self._task is None and self._writable.is_set() and self.phase < Phase.LINGER

    def _wait(self) -> None:
        reader = self._reader
        if reader.requests:
            if not reader.requests[0].complete:
                self._wait_for_body(reader.requests[0])
        elif reader.between:
            self._enter(Phase.IDLE)
        elif not reader.in_head:
            if self.phase != Phase.REST:
                self._enter(Phase.REST)
        elif self.phase != Phase.HEAD:
            self._enter(Phase.HEAD)

    def _wait_for_body(self, request: Request) -> None:
        if self.phase != Phase.BODY:
            self._body_since = self._loop.time()
            if request.version == "1.1" and request.by_name.get(b"expect", b"").lower() == b"100-continue":
                self._write(GO_ON)
        self._enter(Phase.BODY)

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self.since = self._loop.time()

    # --- answering ------------------------------------------------------------------------------------

    def _answer_known(self, known: KnownHead, data: bytes) -> bool:
        """True where it is a request like the one before, and is answered, or waits for its body."""
        if not self._reader.between:
            return False
        split = known.split(data)
        if split is None:
            return False
        body, length = split
        if len(body) != length:
            if body or not known.small(length):
                return False
            self._held = data
            self._body_since = self._loop.time()
            self._enter(Phase.BODY)
            return True
        response = known.answer(body)
        if response is None:
            return False
        self._send(response, keep_alive=True)
        self._enter(Phase.IDLE)
        return True

    def _start(self, request: Request, alone: bytes) -> None:
        handler = self._app.hot(request)
        if handler is not None:
            body = request.body
            response = self._app.at_once(handler, request, body)
            if response is not None:
                if alone and request.keep_alive:
                    self._known = self._shared.learn(alone, len(body), self._app.again(handler, request))
                self._respond(request, response)
                return
        self.phase = Phase.ANSWER
        self._task = self._loop.create_task(self._run(request))

    async def _run(self, request: Request) -> None:
        response = await self._app.answer(request, self, self._gone.wait)
        self._task = None
        if response is not None:
            self._respond(request, response)
        else:
            self._end(request, keep_alive=request.keep_alive)
        self._go_on()

    def _respond(self, request: Request, response: Response) -> None:
        keep_alive = request.keep_alive and not (response.closes or self._stopping or self.spare)
        self._send(response, keep_alive=keep_alive, without_body=request.method == "HEAD")
        self._end(request, keep_alive=keep_alive)

    def _end(self, request: Request, *, keep_alive: bool) -> None:
        """The request is answered."""
        whole = request.complete and not self._reader.requests
        self._shared.budget.release(request)
        if not keep_alive or self._stopping:
            self._close(linger=not (whole and self._reader.between))

    def _send(self, response: Response, *, keep_alive: bool, without_body: bool = False) -> None:
        end = b"\r\n" if keep_alive else b"connection: close\r\n\r\n"
        body = b"" if without_body else response.body
        if len(body) <= TOGETHER_MOST:
            self._write(b"".join((response.head(), self._shared.date(), end, body)))
        else:
            self._write(b"".join((response.head(), self._shared.date(), end)))
            self._write(body)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def write(self, data: bytes) -> None:
        """A piece of a response that is sent as it is made; waits while the client does not read."""
        self._write(data)
        await self._writable.wait()

    @property
    def date_lines(self) -> bytes:
        """As `Shared.date`."""
        return self._shared.date()

    # --- ends -----------------------------------------------------------------------------------------

    def _refuse(self, answer: bytes) -> None:
        """The last answer on a connection whose bytes mean nothing any more."""
        self._write(answer)
        self._close(linger=True)

    def _close(self, *, linger: bool = False) -> None:
        transport = self._transport
        if transport is None or self.phase >= Phase.LINGER:
            return
        for request in self._reader.requests:
            self._shared.budget.release(request)
        self._reader.requests.clear()
        self._unread = b""
        if linger and not self._ended:
            self._enter(Phase.LINGER)
            transport.resume_reading()
            if transport.can_write_eof():
                try:
                    transport.write_eof()
                except OSError:  # its client has reset it, just now
                    transport.abort()
            return
        self._enter(Phase.FLUSH)
        transport.close()

    def abort(self) -> None:
        """Ends now, and takes back what was not yet sent."""
        self._gone.set()
        if self._transport is not None:
            self._transport.abort()

    @property
    def sent(self) -> bool:
        """Nothing waits for a client that does not read."""
        return self._transport is None or not self._transport.get_write_buffer_size()

    def hang_up(self) -> None:
        """Ends an idle connection now: to wait would leave it to the client, who may not read, nor answer TLS's end."""
        self._close()
        self.abort()

    def stop(self) -> None:
        """Ends when the request that is being answered is; at once where there is none."""
        self._stopping = True
        if self._task is None:
            if self.phase in (Phase.IDLE, Phase.FLUSH) and not self.sent:
                self._close()
            elif self.phase == Phase.IDLE:
                self.hang_up()
            else:
                self.abort()

    def cancel(self) -> None:
        """Answers what is still being worked on with a 503."""
        if self._task is not None:
            self._task.cancel()

    def check_time(self, now: float) -> None:
        """Ends what has waited too long; called from time to time."""
        limits, waited = self._limits, now - self.since
        if not self._writable.is_set() and now - self._stuck_s > limits.read_s:
            self.abort()
        elif self.phase == Phase.BODY:
            self._check_body(now, waited)
        elif self.phase == Phase.IDLE:
            if waited > limits.keep_alive_s:
                self._close()
        elif self.phase != Phase.ANSWER and waited > _limit(limits, self.phase):
            self.abort()

    def _check_body(self, now: float, waited: float) -> None:
        limits = self._limits
        if waited > limits.chunk_s:
            text = f"nothing came for {limits.chunk_s:g} s in the middle of the body"
        elif now - self._body_since > limits.body_s:
            text = f"the body did not come whole within {limits.body_s:g} s"
        else:
            return
        self._refuse(last_answer(408, text))


def _limit(limits: Limits, phase: Phase) -> float:
    return {
        Phase.HEAD: limits.head_s, Phase.REST: limits.rest_s, Phase.LINGER: limits.linger_s, Phase.FLUSH: limits.flush_s
    }[phase]  # fmt: skip
