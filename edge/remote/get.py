"""GET from one server that may be slow, endless or lying: bounded in time and bytes, with basic or digest login.

No proxies, and no redirects: a password would go with them.
"""

from __future__ import annotations

import contextlib
import http.client
import re
from urllib.parse import quote, urlsplit

from edge.errors import UnavailableError
from edge.remote.address import PORTS, Address
from edge.remote.login import Login
from edge.remote.timed import CHUNK, TIMEOUT_S, TimedConnection
from edge.remote.tls import other_scheme, tls_context

MOST_DRAINED = 65_536
"""Of the body behind a refusal: the connection goes on behind it."""
SAFE = "/%:@!$&'()*+,;=~?[]|"
"""What stands as it is in a path or a query."""


class Answer:
    """An answer whose body has yet to be read. Belongs to the `Getter`'s thread."""

    def __init__(self, response: http.client.HTTPResponse, connection: TimedConnection) -> None:
        self._response = response
        self.begin = connection.begin
        """The time for what is read next begins: for the head, for a body, and for each part of an endless one."""
        self.kind = response.headers.get_content_type() if response.headers.get("Content-Type") else ""
        """`image/jpeg`; "" where it does not say."""
        self.boundary = response.headers.get_boundary() or ""
        self.encoding = response.headers.get("Content-Encoding", "").strip()[:20]
        """`gzip`; "" where it is as it is."""
        self.length = response.length
        """Of the body, in bytes; None where it does not say."""
        self._ahead = b""
        self._came = 0

    def look(self, least: int) -> bytes:
        """What comes next, at least so many bytes where there are; it comes again. Raises UnavailableError."""
        while len(self._ahead) < least and (piece := self._read()):
            self._ahead += piece
        return self._ahead

    def more(self) -> bytes:
        """What has come, at least a byte; nothing at the end. Raises UnavailableError."""
        piece, self._ahead = self._ahead, b""
        return piece or self._read()

    def _read(self) -> bytes:
        try:
            piece = self._response.read1(CHUNK)
        except (OSError, http.client.HTTPException, ValueError) as exc:
            raise UnavailableError(_said(exc)) from exc
        self._came += len(piece)
        if not piece and self.length is not None and self._came < self.length:
            raise UnavailableError(f"the answer breaks off after {self._came} of {self.length} bytes")
        return piece

    def body(self, most: int) -> bytes:
        """All of it. Raises UnavailableError where it is more than `most` bytes, or breaks off."""
        self.bound(most)
        pieces, size = [], 0
        while piece := self.more():
            pieces.append(piece)
            size += len(piece)
            if size > most:
                raise self._too_large(size, most)
        self._response.close()  # the connection is free for the next request
        return b"".join(pieces)

    def bound(self, most: int) -> None:
        """Raises UnavailableError where it says that it is more than `most` bytes."""
        if self.length is not None and self.length > most:
            raise self._too_large(self.length, most)

    def _too_large(self, size: int, most: int) -> UnavailableError:
        text = f"an answer of {size / 1e6:.1f} MB or more; at most {most / 1e6:g} MB (--max-input)"
        return UnavailableError(text)


class Getter:
    """GET of one address, over a connection that is kept where the server keeps it. Belongs to one thread."""

    def __init__(self, address: Address, login: Login, ca: str = "", timeout_s: float = TIMEOUT_S) -> None:
        """`ca` is a file of certificates to trust, "" for the system's. Raises ConfigError."""
        self._login, self._timeout_s = login, timeout_s
        self._where = address.host_port(PORTS[address.scheme])
        self._tls = tls_context(address, ca) if address.scheme == "https" else None
        query = f"?{address.query}" if address.query else ""
        self._target = quote((address.path or "/") + query, safe=SAFE)
        self._connection: TimedConnection | None = None

    def get(self) -> Answer:
        """The answer, if it is a 200; one to another login first where the server asks for it. Raises
        UnavailableError."""
        while True:
            sent = self._login.header(self._target)
            answered = self._ask(sent)
            if answered is None:
                continue  # the server had closed the connection of the time before
            response, connection = answered
            if response.status != 401:
                break
            challenges = response.headers.get_all("WWW-Authenticate") or []
            self._drain(response)
            refusal = self._login.challenged(challenges, answered=bool(sent))
            if refusal:
                raise UnavailableError(f"HTTP 401: {refusal}")
        if sent:
            self._login.accepted()
        if response.status != 200:
            self.close()
            raise UnavailableError(_status(response))
        return Answer(response, connection)

    def _ask(self, authorization: str) -> tuple[http.client.HTTPResponse, TimedConnection] | None:
        """None where a connection that was kept is found closed. Raises UnavailableError."""
        kept = self._connection is not None
        headers: dict[str, str | bytes] = {
            "User-Agent": "edge-run",
            "Accept": "image/*, multipart/x-mixed-replace",
            "Accept-Encoding": "identity",
        }
        if authorization:
            headers["Authorization"] = authorization.encode()
        try:
            if self._connection is None:
                self._connection = TimedConnection(self._where, self._tls, self._timeout_s)
            self._connection.begin()
            self._connection.request("GET", self._target, headers=headers)
            return self._connection.getresponse(), self._connection
        except (OSError, http.client.HTTPException, UnicodeError) as exc:
            self.close()
            if kept and isinstance(exc, ConnectionError):
                return None
            raise UnavailableError(_said(exc) + other_scheme(exc, encrypted=self._tls is not None)) from exc

    def _drain(self, response: http.client.HTTPResponse) -> None:
        """The body of a refusal, so that the next request follows on the same connection, where it is short."""
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            response.read(MOST_DRAINED)
        if not response.isclosed():
            response.close()
            self.close()
        elif response.will_close:
            self.close()

    def close(self) -> None:
        """The next `get` connects anew."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _status(response: http.client.HTTPResponse) -> str:
    text = f"HTTP {response.status} {re.sub(r'[^ -~]', ' ', response.reason)[:60]}".rstrip()
    location = response.headers.get("Location")
    if location and 300 <= response.status < 400:
        return f"{text}: it is at {_plain(location)}; name that address"
    return text


def _plain(location: str) -> str:
    """Where a redirect leads, without what may be secret."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return "another place"
    host = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else ""
    return re.sub(r"[^!-~]", "", f"{host}{parts.path}")[:200]


def _said(exc: BaseException) -> str:
    if isinstance(exc, TimeoutError):
        return "the answer takes too long"
    return " ".join(str(exc).split())[:200] or type(exc).__name__
