"""A request and a response, as small as the hot path needs them."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import msgspec

from edge.errors import SampleError

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON = b"application/json"
HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
"""On every response."""
CLOSE = ((b"connection", b"close"),)
RETRY = ((b"retry-after", b"1"),)
CHUNK_WAIT_S = 10.0
"""How long a client may send nothing in the middle of a body."""
BODY_WAIT_S = 60.0
"""How long a whole body may take."""
READ_TOGETHER = 4
"""Bodies of the largest size that may be held at once, whoever sends them."""


class Refusal(SampleError):  # noqa: N818 - what becomes of a request, as StopIteration is of a loop
    """This request cannot be answered; `status` says whose fault it is."""

    def __init__(self, status: int, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


class Response:
    """Sent whole, with its length."""

    __slots__ = ("body", "headers", "kind", "status")

    def __init__(
        self, body: bytes, *, status: int = 200, kind: bytes = JSON, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        self.status = status
        self.body = body
        self.kind = kind
        self.headers = headers
        """Beside the type, the length and `HEADERS`."""

    async def send(self, scope: Scope, receive: Receive, send: Send) -> None:
        """At once where the connection can, else as ASGI wants it."""
        if self.whole(scope):
            return
        length = str(len(self.body)).encode()
        headers = [(b"content-type", self.kind), (b"content-length", length), *self.headers, *HEADERS]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})

    def whole(self, scope: Scope) -> bool:
        """Sends it in one piece; False where the connection cannot."""
        respond = scope.get("edge.respond")
        return respond is not None and respond(*self.parts())

    def parts(self) -> tuple[bytes, bytes, bool]:
        """Status line and headers, the body, and whether the connection ends: to say that is the connection's."""
        more, closes = b"", False
        if self.headers:
            closes = CLOSE[0] in self.headers
            more = b"".join(b"%b: %b\r\n" % header for header in self.headers if header != CLOSE[0])
        head = b"%bcontent-type: %b\r\ncontent-length: %d\r\n%b%b" % (
            _STATUS[self.status], self.kind, len(self.body), more, _HEADERS
        )  # fmt: skip
        return head, self.body, closes


_STATUS = {s.value: b"HTTP/1.1 %d %b\r\n" % (s.value, s.phrase.encode()) for s in HTTPStatus}
_HEADERS = b"".join(b"%b: %b\r\n" % header for header in HEADERS)


def as_json(value: Any, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Response:
    """Any value that msgspec knows."""
    return Response(msgspec.json.encode(value), status=status, headers=headers)


def refused(exc: SampleError) -> Response:
    """`{"error": ...}`; what the sample's maker did wrong is a 400."""
    if isinstance(exc, Refusal):
        return as_json({"error": str(exc)}, exc.status, exc.headers)
    return as_json({"error": str(exc)}, 400)


class Bodies:
    """Reads bodies, bounded one by one and all together. Used by the event loop alone."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._most_together = most * READ_TOGETHER
        self.held = 0
        """Bytes of bodies that came in several pieces, until their requests are answered."""

    async def read(self, request: Request) -> bytes:
        """The body, decompressed. Raises Refusal: 413, 408, 415, 503; 400 where the client went away."""
        headers = request.headers
        said = headers.get(b"content-length", b"")
        if said.isdigit() and int(said) > self.most:
            raise self._too_large(int(said))
        # No timer here: the connection has one for the time until the first byte of the body.
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise gone()
        data: bytes = message.get("body", b"")
        if message.get("more_body"):
            data = await self._rest(data, request)
        elif len(data) > self.most:
            raise self._too_large(len(data))
        coding = headers.get(b"content-encoding")
        return data if coding is None else self._decompress(data, coding.decode("latin-1").strip().lower())

    @staticmethod
    async def _chunk(receive: Receive, wait_s: float) -> MutableMapping[str, Any]:
        try:
            async with asyncio.timeout(wait_s):
                message = await receive()
        except TimeoutError:
            raise Refusal(408, f"nothing came for {wait_s:.0f} s in the middle of the body", CLOSE) from None
        if message["type"] == "http.disconnect":
            raise gone()
        return message

    async def _rest(self, first: bytes, request: Request) -> bytes:
        loop = asyncio.get_running_loop()
        until = loop.time() + BODY_WAIT_S
        chunks, more = [first], True
        self._hold(len(first), request)
        while more:
            message = await self._chunk(request.receive, min(CHUNK_WAIT_S, max(0.01, until - loop.time())))
            more = message.get("more_body", False)
            chunks.append(message.get("body", b""))
            self._hold(len(chunks[-1]), request)
        return b"".join(chunks)

    def _hold(self, size: int, request: Request) -> None:
        request.held += size
        self.held += size
        if request.held > self.most:
            raise self._too_large(request.held)
        if self.held > self._most_together:
            raise Refusal(503, "too many large bodies at once; try again", (*RETRY, *CLOSE))

    def _too_large(self, size: int) -> Refusal:
        return Refusal(
            413, f"a body of {size / 1e6:.1f} MB; at most {self.most / 1e6:g} MB are taken (--http-max-body)", CLOSE
        )

    def _decompress(self, data: bytes, coding: str) -> bytes:
        if coding in ("", "identity"):
            return data
        if coding not in ("gzip", "deflate"):
            raise Refusal(415, f"Content-Encoding {coding!r}; gzip, deflate and identity are understood")
        inflate = zlib.decompressobj(47)  # zlib's or gzip's header, whichever stands there
        try:
            plain = inflate.decompress(data, self.most + 1)
        except zlib.error as exc:
            raise Refusal(400, f"the body is not {coding}: {exc}") from exc
        if len(plain) > self.most:
            raise self._too_large(len(plain))
        if not inflate.eof:
            raise Refusal(400, f"the {coding} body ends in the middle")
        return plain


def gone() -> Refusal:
    """Nobody will read it."""
    return Refusal(400, "the client went away in the middle of the body")


class Request:
    """What a handler sees. `body` reads it, once."""

    __slots__ = ("_bodies", "headers", "held", "params", "path", "receive", "scope")

    def __init__(self, scope: Scope, receive: Receive, bodies: Bodies) -> None:
        self.scope = scope
        self.path: str = scope["path"]
        self.receive = receive
        self.headers: Mapping[bytes, bytes] = {}
        self.params: Mapping[str, str] = {}
        """What stood in the path's braces."""
        self.held = 0
        self._bodies = bodies

    async def body(self) -> bytes:
        """Raises Refusal."""
        return await self._bodies.read(self)

    def release(self) -> None:
        """The request is answered: its body no longer counts."""
        self._bodies.held -= self.held
        self.held = 0

    async def gone(self) -> None:
        """Returns when the client hangs up. Only after `body`."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    def header(self, name: bytes) -> str:
        """A header's value, "" where there is none."""
        return self.headers.get(name, b"").decode("latin-1")

    @property
    def query(self) -> Mapping[str, str]:
        """The query's parameters; the last one wins."""
        return dict(parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True))


Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
