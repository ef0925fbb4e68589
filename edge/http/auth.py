"""Who may ask: the address that is listened on, the token, and what keeps a web page elsewhere from asking.

A page of a stranger's, open in the browser of somebody who can reach this endpoint, can send requests here. Three
things stop it: `Host` must be an address or one of our names (a name of the stranger's that points here is refused:
DNS rebinding), `Origin`, where a browser sends one, must be our own, and no CORS header ever lets it read an answer.

A head that was let in is let in again, byte for byte and on the same connection, without another look (`fastpath.py`),
until the token changes.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
import socket
import ssl
from asyncio import sslproto
from collections.abc import Iterable
from pathlib import Path

from edge.data import small_file
from edge.errors import ConfigError, reason
from edge.http.http_types import Refusal, Request

log = logging.getLogger("edge.http")

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


def split_address(text: str, flag: str = "--http") -> tuple[str, int]:
    """Host and port of `[HOST:]PORT`. Raises ConfigError."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"{flag} {text}: {port!r} is not a port; say 8080 or 127.0.0.1:8080")
    return host or "127.0.0.1", int(port)


TOKEN_LEAST = 16
"""Characters of a token on an address that others reach."""


def read_token(file: Path, *, strict: bool = False) -> str:
    """The token in a file; `strict`: others reach the address, so it has to be a good one. Raises ConfigError."""
    try:
        mode = file.stat().st_mode
        token = small_file.text(file).strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"--http-token-file {file}: {reason(exc)}; check the path and its rights") from exc
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            f"--http-token-file {file}: one line of letters, digits and signs belongs there; "
            "openssl rand -hex 32 makes one"
        )
    if strict and len(token) < TOKEN_LEAST:
        raise ConfigError(
            f"--http-token-file {file}: a token of {len(token)} characters can be guessed; at least {TOKEN_LEAST} "
            "belong there: openssl rand -hex 32 makes one"
        )
    if strict and mode & 0o077:
        raise ConfigError(
            f"--http-token-file {file}: other users of this machine can read it (mode {mode & 0o777:o}); "
            f"chmod 600 {file}"
        )
    return token


class Token:
    """What clients have to send, read again when its file changes. The event loop's own."""

    def __init__(self, text: str | None, file: Path | None = None, *, strict: bool = False) -> None:
        """`text` None, without a file: none is demanded. Raises ConfigError."""
        self._file = file
        self._strict = strict
        self._seen = _changed_ns(file)
        if file is not None:
            text = read_token(file, strict=strict)
        self.text = text.encode() if text is not None else None
        self.generation = 0
        """Counts the changes: what was let in by an older token has to show the new one."""

    def refresh(self) -> None:
        """Looks whether the file has changed; one that cannot be used leaves the token as it is."""
        seen = _changed_ns(self._file)
        if self._file is None or seen == self._seen:
            return
        self._seen = seen
        try:
            token = read_token(self._file, strict=self._strict).encode()
        except ConfigError as exc:
            log.warning("the token stays as it was", extra={"reason": str(exc)})
            return
        if token != self.text:
            self.text = token
            self.generation += 1
            log.info("the token has changed", extra={"file": str(self._file)})


class Certificate:
    """The server's TLS, its files read again when they change. The event loop's own."""

    def __init__(self, cert: Path, key: Path | None) -> None:
        """Raises ConfigError."""
        bound_buffers()
        self._files = (cert, key)
        self._seen = self._changed()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        check_tls(cert, key)
        self.context.load_cert_chain(cert, key)
        self.pem = self._read()
        """Of the key and the certificate; another tuple where they have changed."""

    def _read(self) -> tuple[bytes, bytes]:
        cert, key = self._files
        chain = cert.read_bytes()
        return (key.read_bytes() if key is not None else chain), chain

    def _changed(self) -> tuple[int, ...]:
        return tuple(_changed_ns(file) for file in self._files)

    def refresh(self) -> None:
        """For the next connections; files that do not fit leave it as it is."""
        seen = self._changed()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            check_tls(*self._files)
            self.context.load_cert_chain(*self._files)
            self.pem = self._read()
        except (ConfigError, OSError) as exc:
            log.warning("the certificate stays as it was", extra={"reason": str(exc)})
        else:
            log.info("the certificate has changed", extra={"file": str(self._files[0])})


TLS_BUFFER = 32_768


def bound_buffers() -> None:
    """asyncio keeps a buffer of 256 kB for each connection of TLS, 74 MB for all that there may be here. Its size is an
    attribute of a class that asyncio has not documented; where it has another name, that is how it stays."""
    if isinstance(getattr(sslproto.SSLProtocol, "max_size", None), int):
        sslproto.SSLProtocol.max_size = TLS_BUFFER


def _changed_ns(file: Path | None) -> int:
    """When a file was changed last; 0 where there is none."""
    if file is None:
        return 0
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


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

    def __init__(self, token: Token, hosts: Iterable[str], *, tls: bool) -> None:
        self.token = token
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
        if request.path not in OPEN:
            self.check_bearer(headers.get(b"authorization", b""))

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

    def check_bearer(self, header: bytes) -> None:
        """Of an `authorization`. Raises Unauthorized."""
        if self.token.text is None:
            return
        scheme, _, token = header.partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(token.strip(), self.token.text):
            raise Unauthorized(guessed=bool(token.strip()))


class Unauthorized(Refusal):
    """The token is not there, or `guessed`: it is another; to try the next shall take time."""

    def __init__(self, *, guessed: bool) -> None:
        super().__init__(
            401,
            "a token is needed: send Authorization: Bearer <the token of --http-token-file>",
            ((b"www-authenticate", b'Bearer realm="edge-run"'),),
        )
        self.guessed = guessed


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
