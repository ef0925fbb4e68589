"""Who may ask: the address that is listened on, the token, and what keeps a web page elsewhere from asking.

A page of a stranger's, open in the browser of somebody who can reach this endpoint, can send requests here. Three
things stop it: `Host` must be an address or one of our names (a name of the stranger's that points here is refused:
DNS rebinding), `Origin`, where a browser sends one, must be our own, and no CORS header ever lets it read an answer.

A head that was let in is let in again, byte for byte and on the same connection, without another look (`fastpath.py`).
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path

from edge.errors import ConfigError
from edge.http.http_types import Refusal, Request

OPEN = frozenset({"/health"})
"""What needs no token: it says nothing but that the process lives."""

KNOWN_MOST = 64
"""Host headers that are remembered as good."""

PAGE_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)
"""On pages, beside those of every response."""


def split_address(text: str) -> tuple[str, int]:
    """Host and port of `[HOST:]PORT`. Raises ConfigError."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"--http {text}: {port!r} is not a port; say 8080 or 127.0.0.1:8080")
    return host or "127.0.0.1", int(port)


def is_loopback(host: str) -> bool:
    """True where only this machine can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_token(file: Path) -> str:
    """The token in a file. Raises ConfigError."""
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"--http-token-file {file}: {exc}; check the path and its rights") from exc
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            f"--http-token-file {file}: one line of letters, digits and signs belongs there; "
            "openssl rand -hex 32 makes one"
        )
    return token


def check_tls(cert: Path | None, key: Path | None) -> None:
    """Raises ConfigError where the two do not make a server's certificate."""
    if cert is None:
        if key is not None:
            raise ConfigError(f"--http-key {key} without --http-cert: name the certificate too")
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(f"--http-cert {cert}: {exc}; a PEM certificate and its --http-key belong there") from exc


class Auth:
    """`check` raises Refusal: 403 for a stranger's page, 401 without the token."""

    def __init__(self, token: str | None, hosts: Iterable[str], *, tls: bool) -> None:
        self._token = token.encode() if token is not None else None
        own = {"localhost", *(h.lower() for h in hosts if h)}
        machine = socket.gethostname().lower()
        if machine:
            own |= {machine, f"{machine.partition('.')[0]}.local"}
        self._own = frozenset(own)
        self._scheme = "https" if tls else "http"
        self._known: set[bytes] = set()

    def check(self, request: Request) -> None:
        """Raises Refusal where the request may not pass."""
        headers = request.by_name
        host = headers.get(b"host", b"")
        if b"host" not in headers:
            self._check_without_host(request)
        elif host not in self._known:
            self._check_host(host)
        if b"origin" in headers:
            self._check_origin(headers[b"origin"].decode("latin-1"), host.decode("latin-1"))
        if self._token is not None and request.path not in OPEN:
            self._check_token(headers)

    @staticmethod
    def _check_without_host(request: Request) -> None:
        """Browsers always send `Host`; a controller that speaks HTTP/1.0 may not know it."""
        if request.version != "1.0":
            raise Refusal(400, "the header Host is missing: HTTP/1.1 wants it")

    def _check_host(self, host: bytes) -> None:
        name = _host_name(host.decode("latin-1").lower())
        if name not in self._own and not _is_address(name):
            raise Refusal(
                403,
                f"Host {name[:80]!r} is no name of this device: ask by its address, or start it with "
                f"--http-name {name[:80]}",
            )
        if len(self._known) < KNOWN_MOST:
            self._known.add(host)

    def _check_origin(self, origin: str, host: str) -> None:
        # A proxy before us may speak TLS for us; the name it passes on is ours all the same.
        if origin.lower() not in (f"{self._scheme}://{host}".lower(), f"https://{host}".lower()):
            raise Refusal(403, f"Origin {origin[:80]!r} is another site's: pages of this device alone may ask")

    def _check_token(self, headers: Mapping[bytes, bytes]) -> None:
        scheme, _, said = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(said.strip(), self._token or b""):
            raise Refusal(
                401,
                "a token is needed: send Authorization: Bearer <the token of --http-token-file>",
                ((b"www-authenticate", b'Bearer realm="edge-run"'),),
            )


def _host_name(host: str) -> str:
    """Without the port: `pi.local:8080`, `[::1]:8080`."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def csp(scripts: Iterable[str], styles: Iterable[str]) -> bytes:
    """A Content-Security-Policy for a page of ours: its own script and style by their hashes, and nothing else."""
    return (
        "default-src 'none'; connect-src 'self'; img-src 'self' blob: data:; form-action 'self'; base-uri 'none'; "
        f"frame-ancestors 'none'; script-src {' '.join(scripts)}; style-src {' '.join(styles)}"
    ).encode()
