"""A connection of `http.client` whose answers are bounded in time: all pieces of one share one time.

What `timeout` bounds there is each piece that comes, so a server that sends a byte now and then would hold a thread for
ever.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import TYPE_CHECKING

from edge.errors import UnavailableError
from edge.remote.address import PORTS

if TYPE_CHECKING:
    import ssl

    from _typeshed import WriteableBuffer

TIMEOUT_S = 10.0
CHUNK = 65_536


class _Timed(io.RawIOBase):
    """What comes from a socket, until its time is up."""

    def __init__(self, owner: _TimedSocket, raw: socket.SocketIO) -> None:
        self._owner, self._raw = owner, raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        self._owner.wait_no_longer()
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedSocket:
    """As much of a socket as `http.client` uses."""

    def __init__(self, sock: socket.socket, timeout_s: float) -> None:
        self._socket, self._timeout_s = sock, timeout_s
        self.begin()

    def begin(self) -> None:
        self._until_s = time.monotonic() + self._timeout_s

    def wait_no_longer(self) -> None:
        """Raises TimeoutError where the time is up."""
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._socket.settimeout(left_s)

    def makefile(self, mode: str, *_: object) -> io.BufferedReader:
        return io.BufferedReader(_Timed(self, self._socket.makefile("rb", buffering=0)), CHUNK)

    def sendall(self, data: bytes) -> None:
        self.wait_no_longer()
        self._socket.sendall(data)

    def close(self) -> None:
        self._socket.close()


class TimedConnection(http.client.HTTPConnection):
    """To a host and a port, over TLS with `tls`. Belongs to one thread."""

    def __init__(self, where: tuple[str, int], tls: ssl.SSLContext | None, timeout_s: float) -> None:
        super().__init__(*where)
        self.default_port = PORTS["http" if tls is None else "https"]
        self._tls, self._timeout_s = tls, timeout_s
        self._timed: _TimedSocket | None = None

    def connect(self) -> None:
        """Raises OSError; UnavailableError where the server's certificate is not trusted."""
        sock = socket.create_connection((self.host, self.port), self._timeout_s)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a body does not wait for its head's ACK
            if self._tls is not None:
                sock = _encrypted(self._tls, sock, self.host)
        except BaseException:
            sock.close()
            raise
        self.sock = self._timed = _TimedSocket(sock, self._timeout_s)

    def begin(self) -> None:
        """The time begins anew for what is sent or read next."""
        if self._timed is not None:
            self._timed.begin()


def _encrypted(tls: ssl.SSLContext, sock: socket.socket, host: str) -> ssl.SSLSocket:
    """Raises UnavailableError where the server's certificate is not trusted, OSError for anything else."""
    from ssl import SSLCertVerificationError  # is there already, with the context

    try:
        return tls.wrap_socket(sock, server_hostname=host)
    except SSLCertVerificationError as exc:
        text = f"its certificate is not trusted: {exc.verify_message}; #ca=FILE names the certificate to trust"
        raise UnavailableError(text) from exc
