"""A request as it was read and a response as it is sent, as small as the hot routes need them."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from http import HTTPStatus
from typing import Any, Protocol, TypeAlias
from urllib.parse import unquote, urlsplit

import msgspec

from edge.errors import SampleError

Header: TypeAlias = tuple[bytes, bytes]

JSON = b"application/json"
HEADERS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
"""On every response."""
CLOSE: tuple[Header, ...] = ((b"connection", b"close"),)
RETRY: tuple[Header, ...] = ((b"retry-after", b"1"),)
ONCE = frozenset({b"host", b"origin", b"authorization", b"content-length", b"inference-header-content-length"})
"""Headers that decide something: a request in which one of them comes twice is refused."""


class Refusal(SampleError):  # noqa: N818 - what becomes of a request, as StopIteration is of a loop
    """This request cannot be answered; `status` says whose fault it is."""

    def __init__(self, status: int, message: str, headers: tuple[Header, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


class Request:
    """One request of a connection. `body` grows until `complete`; then it is decoded in place where it is packed."""

    __slots__ = (
        "address",
        "body",
        "by_name",
        "complete",
        "delay_s",
        "headers",
        "keep_alive",
        "method",
        "path",
        "query",
        "refusal",
        "size",
        "target",
        "twice",
        "version",
    )

    def __init__(self, address: str = "") -> None:
        self.address = address
        """Whose it is."""
        self.method = ""
        self.target = b""
        self.path = ""
        """Without the query, percent-decoded."""
        self.query = b""
        self.version = "1.1"
        self.headers: list[Header] = []
        """In the order they came, names in small letters."""
        self.by_name: dict[bytes, bytes] = {}
        self.twice = b""
        """The header of `ONCE` that came a second time."""
        self.keep_alive = True
        self.body = b""
        self.size = 0
        """Bytes of the body that came so far."""
        self.complete = False
        self.delay_s = 0.0
        """How long the refusal is held back."""
        self.refusal: Response | None = None
        """The answer, where the head alone decides, or the body became too large; the body is dropped then."""

    def add_header(self, name: bytes, value: bytes) -> None:
        """As it came."""
        name = name.lower()
        if name in self.by_name and name in ONCE:
            self.twice = name
        self.by_name[name] = value
        self.headers.append((name, value))

    @property
    def head_size(self) -> int:
        """Bytes of the head, or a few less than came."""
        return len(self.target) + sum(len(name) + len(value) + 3 for name, value in self.headers)

    def split_target(self) -> None:
        """Path and query of the target. That may be a whole URL: its host goes before `Host` (RFC 9112, 3.2.2)."""
        target = self.target
        if not target.startswith(b"/"):
            parts = urlsplit(target)
            if parts.netloc:
                self.by_name[b"host"] = parts.netloc
            target = (parts.path or b"/") + (b"?" + parts.query if parts.query else b"")
        path, _, self.query = target.partition(b"?")
        text = path.decode("latin-1")
        self.path = unquote(text) if "%" in text else text

    def header(self, name: bytes) -> str:
        """A header's value, "" where there is none."""
        return self.by_name.get(name, b"").decode("latin-1")


class Response:
    """Sent whole, with its length. An ASGI application too, so that the framework's routes can answer with it."""

    __slots__ = ("body", "headers", "kind", "status")

    def __init__(self, body: bytes, *, status: int = 200, kind: bytes = JSON, headers: tuple[Header, ...] = ()) -> None:
        self.status = status
        self.body = body
        self.kind = kind
        self.headers = headers
        """Beside the type, the length and `HEADERS`."""

    async def __call__(self, scope: MutableMapping[str, Any], receive: object, send: Send) -> None:
        length = str(len(self.body)).encode()
        headers = [(b"content-type", self.kind), (b"content-length", length), *self.headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})

    @property
    def closes(self) -> bool:
        """True where the connection ends with it."""
        return bool(self.headers) and CLOSE[0] in self.headers

    def head(self) -> bytes:
        """Status line and headers, but for those that are the connection's own: it ends them."""
        more = b""
        if self.headers:
            more = b"".join([b"%b: %b\r\n" % header for header in self.headers if header != CLOSE[0]])
        return b"%bcontent-type: %b\r\ncontent-length: %d\r\n%b" % (
            _STATUS.get(self.status) or status_line(self.status), self.kind, len(self.body), more
        )  # fmt: skip


class Send(Protocol):
    """ASGI's."""

    async def __call__(self, message: MutableMapping[str, Any], /) -> None: ...


_STATUS = {s.value: b"HTTP/1.1 %d %b\r\n" % (s.value, s.phrase.encode()) for s in HTTPStatus}


def status_line(status: int) -> bytes:
    """With its end of line."""
    return _STATUS.get(status) or b"HTTP/1.1 %d \r\n" % status


def last_answer(status: int, text: str) -> bytes:
    """All bytes of an answer that no other follows on its connection."""
    body = msgspec.json.encode({"error": text})
    return b"%bcontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (
        status_line(status), len(body), body
    )  # fmt: skip


def as_json(value: Any, status: int = 200, headers: tuple[Header, ...] = ()) -> Response:
    """Any value that msgspec knows."""
    return Response(msgspec.json.encode(value), status=status, headers=headers)


def refused(exc: SampleError) -> Response:
    """`{"error": ...}`; what the sample's maker did wrong is a 400."""
    if isinstance(exc, Refusal):
        return as_json({"error": str(exc)}, exc.status, exc.headers)
    return as_json({"error": str(exc)}, 400)


class Gone(Protocol):
    """Returns when the client hangs up."""

    async def __call__(self) -> object: ...


class HotHandler(Protocol):
    """A route that is answered straight from the connection, without the framework. Raises SampleError."""

    def at_once(self, body: bytes, headers: Mapping[bytes, bytes]) -> Response | None:
        """The response, where the work is quick and no request waits before it; else None: `later` is the way."""
        ...

    async def later(self, body: bytes, headers: Mapping[bytes, bytes], gone: Gone) -> Response:
        """The response, after its turn has come."""
        ...
