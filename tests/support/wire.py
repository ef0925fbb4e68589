"""A connection of the server without a socket: bytes in, bytes out, and the application behind it is the real one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from starlette.requests import Request
from starlette.routing import Route

from edge.http import fastpath
from edge.http.asgi import App, Endpoints, framework
from edge.http.auth import Auth, Token
from edge.http.connection import Connection
from edge.http.http_types import Gone, Response
from edge.http.options import Limits
from edge.http.reader import BodyBudget
from edge.http.scheduling import Admission, AdmissionOptions, CpuBudget
from edge.http.shared import Shared
from edge.telemetry.metrics import Metrics
from edge.testing.fakes import FakeClock

HOT = b"/v2/models/m/infer"
SLOW = b"/slow"
TOKEN = b"Authorization: Bearer secret\r\n"
MAX_BODY = 100_000


class Wire(asyncio.Transport):
    """What a connection writes to, in the place of a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.closed = False
        self.reading = asyncio.Event()
        self.reading.set()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def write_eof(self) -> None: ...

    def can_write_eof(self) -> bool:
        return True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True
        self.reading.set()

    abort = close

    def pause_reading(self) -> None:
        self.reading.clear()

    def resume_reading(self) -> None:
        self.reading.set()


class Echo:
    """A hot route that answers what it is sent; `quick`: at once."""

    def __init__(self, *, quick: bool) -> None:
        self._quick = quick

    def at_once(self, body: bytes, headers: Mapping[bytes, bytes]) -> Response | None:
        return Response(body) if self._quick else None

    async def later(self, body: bytes, headers: Mapping[bytes, bytes], gone: Gone) -> Response:
        await asyncio.sleep(0)
        return Response(body)


async def slow(request: Request) -> Response:
    body = await request.body()
    await asyncio.sleep(0)
    return Response(b"slow:" + body)


def shared(
    *,
    quick: bool = True,
    learn: Callable[..., fastpath.KnownHead | None] = fastpath.learn,
    token: Token | None = None,
) -> Shared:
    """Of a server with a token, a hot route and one of the framework's."""
    budget, clock, metrics = BodyBudget(MAX_BODY), FakeClock(), Metrics()
    admission = Admission(
        AdmissionOptions(1, 1, inline=True, lowers_priority=False), CpuBudget(1.0, clock, metrics), metrics
    )
    routes = [Route(SLOW.decode(), slow, methods=["GET", "POST"])]
    app = App(
        Auth(token or Token("secret"), ("localhost",), tls=False), Limits(wrong_token_s=0), budget, admission,
        Endpoints({("POST", HOT.decode()): Echo(quick=quick)}, framework(routes), {}),
    )  # fmt: skip
    return Shared(app, Limits(), budget, lambda: b"date: now\r\n", learn)


Piece: TypeAlias = bytes | Callable[[], object]


async def talk(common: Shared, pieces: Sequence[Piece]) -> bytes:
    """All that is answered to `pieces`, each of which comes by itself; a function among them is called in its place."""
    wire = Wire()
    connection = Connection(common, "127.0.0.1", lambda _: None, scheme="http", spare=False)
    connection.connection_made(wire)
    for piece in pieces:
        if not isinstance(piece, bytes):
            piece()
            continue
        at = 0
        while at < len(piece):
            await wire.reading.wait()
            buffer = connection.get_buffer(-1)
            part = piece[at : at + len(buffer)]
            buffer[: len(part)] = part
            connection.buffer_updated(len(part))
            at += len(part)
    while len(asyncio.all_tasks()) > 1:
        await asyncio.sleep(0)
    connection.connection_lost(None)
    return bytes(wire.sent)


def answers(common: Shared, pieces: Sequence[Piece]) -> list[tuple[int, bytes]]:
    """Status and body of each answer to `pieces`."""
    return responses(asyncio.run(talk(common, pieces)))


def responses(data: bytes) -> list[tuple[int, bytes]]:
    """Status and body of each; "100 Continue" has neither."""
    found, rest = [], data.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    while match := re.match(rb"HTTP/1\.1 (\d+) .*?content-length: (\d+)(?:\r\n.*?)?\r\n\r\n", rest, re.DOTALL):
        end = match.end() + int(match[2])
        found.append((int(match[1]), rest[match.end() : end]))
        rest = rest[end:]
    assert not rest
    return found


def head(length: int, more: bytes = TOKEN, path: bytes = HOT) -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%b\r\n" % (path, length, more)


def whole(body: bytes, more: bytes = TOKEN, path: bytes = HOT) -> bytes:
    """A request that comes in one piece."""
    return head(len(body), more, path) + body
