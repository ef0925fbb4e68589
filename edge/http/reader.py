"""From bytes to requests, by httptools' parser. Knows no socket and no time.

What a client sends may cost memory before anybody has asked it for a token: the parser itself keeps whatever comes
as a head, as trailers and as pipelined requests. So everything that is not a body is counted (`beside`), bodies are
bounded one by one and all together (`BodyBudget`), and requests behind `PIPELINED_MOST` are not kept.
"""

from __future__ import annotations

import io
import re
from collections import Counter, deque
from collections.abc import Callable

import httptools

from edge.http.http_types import CLOSE, RETRY, Refusal, Request, Response, refused

BESIDE_MOST = 65_536
"""Bytes of a request that are not its body: head, trailers, what stands around chunks."""
AROUND_CHUNK = 16
"""Bytes around a chunk that are not held against the client."""
_REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,40} [!-~]+ HTTP/1\.[01]\r?\n")
PIPELINED_MOST = 256
"""Requests that may wait behind one on the same connection."""
READ_TOGETHER = 4
"""Bodies of the largest size that may be held at once, from whatever connections; of one address one fewer."""
LARGE = 4_000_000
"""Bytes of bodies held at once after which the C library may have kept a multiple of them."""


class NotHttp(Exception):  # noqa: N818 - a finding about bytes
    """These bytes are no request."""


class UnknownMethod(NotHttp):
    """A request, but of a method that is not known, or not done here for anything."""


class BodyBudget:
    """Bytes of bodies that are held, of all connections. The event loop's own."""

    def __init__(self, most: int, emptied: Callable[[], None] = lambda: None) -> None:
        """`emptied` is called when none is held any more, of many or large ones."""
        self.most = most
        """Of one body."""
        self._most_together = most * READ_TOGETHER
        self._share = self._most_together - most
        """Of one address: another has a place for one of the largest size whatever that one holds."""
        self._held = 0
        self._held_by: Counter[str] = Counter()
        """By address."""
        self._large = False
        self._emptied = emptied

    def hold(self, request: Request, size: int) -> None:
        """Counts more of a request's body. Raises Refusal: 413, 503."""
        request.size += size
        self._count(size, request.address)
        if request.size > self.most:
            raise self.too_large(request.size)
        self._check(request.address)

    def take(self, size: int, address: str) -> None:
        """Counts so many bytes, until `give_back`. Raises Refusal: 503; then they are not counted."""
        self._count(size, address)
        try:
            self._check(address)
        except Refusal:
            self.give_back(size, address)
            raise

    def _count(self, size: int, address: str) -> None:
        self._held += size
        self._held_by[address] += size

    def _check(self, address: str) -> None:
        if self._held > self._most_together or self._held_by[address] > self._share:
            whose = "" if self._held > self._most_together else " from your address"
            raise Refusal(503, f"too many large bodies at once{whose}; try again", (*RETRY, *CLOSE))

    def release(self, request: Request) -> None:
        """The request is answered, or refused: its body no longer counts."""
        self.give_back(request.size, request.address)
        request.size = 0
        request.body = b""

    def give_back(self, size: int, address: str) -> None:
        """What `take` counted."""
        if not size:
            return
        self._large = self._large or self._held > LARGE
        self._held -= size
        self._held_by[address] -= size
        if not self._held_by[address]:
            del self._held_by[address]
        if self._large and not self._held:
            self._large = False
            self._emptied()

    def too_large(self, size: int) -> Refusal:
        """For a body of so many bytes."""
        return Refusal(
            413, f"a body of {size / 1e6:.1f} MB; at most {self.most / 1e6:g} MB are taken (--http-max-body)", CLOSE
        )


class RequestReader:
    """Of one connection; the methods `on_...` are the parser's. `requests` are to be taken from the left.

    A request stands there from the end of its head, so that it can be refused before its body came.
    """

    def __init__(self, admit: Callable[[Request], Response | None], budget: BodyBudget, address: str = "") -> None:
        """`admit` looks at a head, and returns the answer where the head alone decides. `address`: whose it is."""
        self._admit = admit
        self._address = address
        self._budget = budget
        self._parser = httptools.HttpRequestParser(self)
        self._request = Request(address)
        self._body = io.BytesIO()
        """Of a request whose body comes in pieces: it grows where it stands, and is handed on without a copy."""
        self.requests: deque[Request] = deque()
        self.beside = 0
        """Bytes since the last whole request that were no body."""
        self.between = True
        """From the end of a request to the first byte of the next."""
        self.in_head = False
        self._upgrading = False
        self._replaying = False
        self._long_head = False
        self._begun = 0
        """Requests."""

    def feed(self, data: bytes | memoryview) -> None:
        """More of what came. Raises NotHttp."""
        self.beside += len(data)
        first = self._begun + 1 if self.between else 0
        try:
            while len(data):
                try:
                    self._parser.feed_data(data)
                    return
                except httptools.HttpParserUpgrade as exc:
                    if self._request.method == "CONNECT":
                        raise UnknownMethod("CONNECT: this is no proxy") from None
                    data = data[exc.args[0] :]
                    self._replay()
        except httptools.HttpParserInvalidMethodError as exc:
            unknown = self._begun <= first and _REQUEST_LINE.match(data)
            raise (UnknownMethod if unknown else NotHttp)(str(exc)) from exc
        except httptools.HttpParserError as exc:
            raise NotHttp(str(exc)) from exc

    @property
    def too_long(self) -> bool:
        """True where a head, or what stands beside a body, has no end, or a whole head is longer than it may be."""
        return self.beside > BESIDE_MOST or self._long_head

    @property
    def too_many(self) -> bool:
        """True where more requests came together than may wait."""
        return len(self.requests) > PIPELINED_MOST

    def _replay(self) -> None:
        """Reads a head again without its Upgrade.

        The server does not change protocols, so the offer is as good as not made (RFC 9110, 7.8), and the body belongs
        to the request. The parser, though, ends such a request with its head.
        """
        request = self._request
        self._parser = httptools.HttpRequestParser(self)  # the old one takes nothing more behind `Connection: close`
        self._replaying = True
        lines = [b"%b: %b\r\n" % header for header in request.headers if header[0] != b"upgrade"]
        first = b"%b %b HTTP/%b\r\n" % (request.method.encode(), request.target, request.version.encode())
        self._parser.feed_data(first + b"".join(lines) + b"\r\n")

    # --- the parser's callbacks -----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.between = False
        self.in_head = True
        self._begun += 1
        if not self._replaying:
            self._request = Request(self._address)

    def on_url(self, url: bytes) -> None:
        if not self._replaying:
            self._request.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._replaying:
            self._request.add_header(name, value)

    def on_headers_complete(self) -> None:
        request, parser = self._request, self._parser
        self._replaying = False
        if b"upgrade" in request.by_name and parser.should_upgrade():
            self._upgrading = True
            request.method = parser.get_method().decode("ascii")
            request.version = parser.get_http_version()
            return
        self.in_head = False
        # What came together with a body, or with other requests, is no head.
        self._long_head = self._long_head or (self.beside > BESIDE_MOST and request.head_size > BESIDE_MOST)
        request.method = parser.get_method().decode("ascii")
        if self.too_many or self._long_head or request.method == "CONNECT":  # that one ends the connection, see `feed`
            return
        request.version = parser.get_http_version()
        request.keep_alive = request.version == "1.1" and parser.should_keep_alive()
        request.split_target()
        request.refusal = self._admit(request)
        self.requests.append(request)

    def on_body(self, body: bytes) -> None:
        self.beside = max(0, self.beside - len(body) - AROUND_CHUNK)
        request = self._request
        if request.refusal is not None or self.too_many or self._long_head:
            return
        try:
            self._budget.hold(request, len(body))
        except Refusal as exc:
            self._body = io.BytesIO()
            self._budget.release(request)
            request.refusal = refused(exc)
            return
        if not self._body.tell() and not request.body:
            request.body = body
            return
        if not self._body.tell():
            self._body.write(request.body)
        self._body.write(body)

    def on_message_complete(self) -> None:
        if self._upgrading:
            self._upgrading = False
            return
        if self._body.tell():
            self._request.body = self._body.getvalue()
            self._body = io.BytesIO()
        self._request.complete = True
        self.between = True
        self.beside = 0
