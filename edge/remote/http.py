"""Requests to one server over one connection that is kept, by the standard library: it costs a quarter of others.

No proxies, no redirects: a POST that is sent elsewhere would be a GET there, or a loss.
"""

from __future__ import annotations

import http.client
from collections.abc import Mapping

import msgspec

from edge.errors import ConfigError, UnavailableError, one_line
from edge.remote.address import PORTS, Address
from edge.remote.timed import TIMEOUT_S, TimedConnection
from edge.remote.tls import other_scheme, tls_context

MOST_READ = 65_536


class Answer(msgspec.Struct, frozen=True):
    """What the server said; `body` is cut where it is long. Names of headers may be asked for in any case."""

    status: int
    body: bytes
    headers: http.client.HTTPMessage

    @property
    def said(self) -> str:
        """The status, and the begin of the body in one line."""
        text = " ".join(self.body[:200].decode(errors="replace").split())
        return f"HTTP {self.status}{': ' + text if text else ''}"


class HttpClient:
    """Belongs to one thread."""

    def __init__(self, address: Address, ca: str = "", timeout_s: float = TIMEOUT_S) -> None:
        """`ca` is a file of certificates to trust, "" for the system's. Raises ConfigError."""
        if address.scheme not in PORTS:
            raise ConfigError(f"{address.flag} {address}: an http:// or https:// address belongs there")
        self._address = address
        self._where = address.host_port(PORTS[address.scheme])
        self._ca, self._timeout_s = ca, timeout_s
        self._connection: TimedConnection | None = None
        self._used = False

    def connect(self) -> None:
        """Raises UnavailableError."""
        self.close()
        tls = tls_context(self._address, self._ca) if self._address.scheme == "https" else None
        connection = TimedConnection(self._where, tls, self._timeout_s)
        try:
            connection.connect()
        except (OSError, UnicodeError, UnavailableError) as exc:  # a name that is none of a host is a UnicodeError
            connection.close()
            raise UnavailableError(f"{self._address}: {exc}") from exc
        self._connection = connection

    def ask(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """The answer to a request. One that meets a connection which the server has closed meanwhile is sent once more.

        Raises UnavailableError.
        """
        try:
            return self._ask(method, target, headers, body)
        except (OSError, http.client.HTTPException, ValueError) as exc:
            stale, self._used = self._used and isinstance(exc, ConnectionError), False
            self.close()
            if not stale:
                way_out = other_scheme(exc, encrypted=self._address.scheme == "https")
                raise UnavailableError(f"{self._address}: {_said(exc)}{way_out}") from exc
        self.connect()
        return self.ask(method, target, headers, body)

    def _ask(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if self._connection is None:
            raise UnavailableError(f"{self._address}: not connected")
        self._connection.begin()
        self._connection.request(method, target, body or None, headers)
        self._connection.begin()
        response = self._connection.getresponse()
        read = response.read(MOST_READ)
        answer = Answer(response.status, read, response.headers)
        self._used = True
        if not response.isclosed():
            self.close()
        return answer

    def close(self) -> None:
        """The next `ask` needs `connect` first."""
        connection, self._connection = self._connection, None
        self._used = False
        if connection is not None:
            connection.close()


def _said(exc: Exception) -> str:
    """Neither the bytes that came, where they are no HTTP, nor what cannot be sent, which may hold a secret."""
    if isinstance(exc, (http.client.InvalidURL, ValueError)) and not isinstance(exc, OSError):
        return "the path, the query or a header holds what HTTP cannot carry; write it as %20"
    if isinstance(exc, http.client.BadStatusLine) and not isinstance(exc, ConnectionError):
        return "what answers there does not speak HTTP"
    if isinstance(exc, TimeoutError):
        return "the answer takes too long"
    return one_line(exc)
