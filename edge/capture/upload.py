"""`--capture-to`: what is kept is put on a server, a PUT for each file, the oldest first.

A file goes under its own name, the lines last: who sees them there finds all that they name. A PUT that is sent twice
writes the same again, so what a break leaves half is sent again from the begin of its segment; up to which number all
is there stands in a file. What makes room for others before it was sent is not sent. One thread, one connection, and
no more in memory than one file.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import msgspec

from edge.capture.store import ABOUT, OURS, SENT, Sent
from edge.delivery.retry import Backoff
from edge.errors import ConfigError, SampleError, UnavailableError
from edge.remote.address import Address, is_loopback, parse, secret
from edge.remote.http import HttpClient
from edge.remote.tls import tls_context
from edge.storage import atomic, state_file
from edge.telemetry.metrics import Metrics
from edge.telemetry.priority import stand_back

log = logging.getLogger("edge.capture")

FLAG = "--capture-to"
USAGE = f"{FLAG} 'https://host/path/{{name}}'"
NAME = "{name}"
SAFE = "/%:@!$&'()*+,;=~"
LOOK_S = 5.0
JOIN_S = 15.0
ABOUT_ONE = frozenset({400, 409, 411, 412, 413, 414, 415, 422})
"""Answers that are about one file: the next one may be taken."""
WAYS = {
    401: "check #token_file or the signature",
    403: "a signature that has run out? #query_file is read again",
    404: "check the path",
    **dict.fromkeys((301, 302, 303, 307, 308), "it sends to another address, which is not followed: say that one"),
}
AZURE = ".blob.core.windows.net"
KINDS = {"jsonl": "application/x-ndjson", "json": "application/json", "jpg": "image/jpeg", "png": "image/png"}


class UploadOptions(msgspec.Struct, frozen=True):
    """Behind the #. Files are read again for each connection: what they hold may have been renewed."""

    token_file: str = ""
    query_file: str = ""
    ca: str = ""


class Remote(Protocol):
    """Where files go. Belongs to one thread."""

    @property
    def place(self) -> str:
        """The same for the same place."""

    def connect(self) -> None:
        """Raises UnavailableError."""

    def put(self, name: str, data: bytes) -> None:
        """Raises UnavailableError, and SampleError where this file is refused for good."""

    def close(self) -> None: ...


def remote(said: str, device: str, model: str) -> HttpRemote:
    """The server of an address as it was said. Raises ConfigError, showing no secret."""
    scheme, mark, rest = said.partition(":")
    if not mark or scheme not in ("https", "http"):
        raise ConfigError(f"{FLAG}: an https:// address belongs there; say {USAGE}")
    address, options = parse(scheme, rest, UploadOptions, USAGE, FLAG)
    if scheme == "http" and not is_loopback(address.host_port(80)[0]):
        raise ConfigError(f"{FLAG} {address}: samples go encrypted only; say https://, with #ca=FILE for your own CA")
    if address.username or address.password:
        raise ConfigError(f"{FLAG} {address}: a user and a password in it are not sent; say #token_file=FILE")
    path = address.path
    if NAME not in path:
        if not path.endswith("/"):
            raise ConfigError(f"{FLAG} {address}: each sample is a file of its own: say where its name goes, {USAGE}")
        path += NAME
    path = path.replace("{device}", quote(device)).replace("{model}", quote(model))
    return HttpRemote(msgspec.structs.replace(address, path=path), options)


class HttpRemote:
    """A server that takes PUT: an object store with a signed query, WebDAV, or one's own."""

    def __init__(self, address: Address, options: UploadOptions) -> None:
        """Raises ConfigError for a secret or certificates that cannot be read."""
        self._address, self._options = address, options
        if address.scheme == "https":
            tls_context(address, options.ca)  # now, when a person is there; it is read again for each connection
        self._http = HttpClient(address, options.ca)
        self._headers: Mapping[str, str] = {}
        self._query = ""
        self._read_secrets()

    def __str__(self) -> str:
        return str(self._address)

    @property
    def place(self) -> str:
        address = self._address
        return hashlib.sha256(f"{address.scheme}://{address.hosts}{address.path}".encode()).hexdigest()[:16]

    def _read_secrets(self) -> None:
        token = _carried("#token_file", secret(f"{FLAG}: #token_file", self._options.token_file))
        query = secret(f"{FLAG}: #query_file", self._options.query_file).lstrip("?") or self._address.query
        self._query = _carried("#query_file, or the query of the address", query)
        azure = self._address.host_port(443)[0].endswith(AZURE)
        self._headers = {
            "User-Agent": "edge-run",
            **({"Authorization": f"Bearer {token}"} if token else {}),
            **({"x-ms-blob-type": "BlockBlob"} if azure else {}),
        }

    def connect(self) -> None:
        try:
            self._read_secrets()
            self._http.connect()
        except ConfigError as exc:  # a file of it is being changed: no reason to end the service
            raise UnavailableError(str(exc)) from exc

    def put(self, name: str, data: bytes) -> None:
        target = quote(self._address.path.replace(NAME, name), safe=SAFE) + (f"?{self._query}" if self._query else "")
        kind = KINDS.get(name.rpartition(".")[2], "application/octet-stream")
        answer = self._http.ask("PUT", target, {**self._headers, "Content-Type": kind}, data)
        if 200 <= answer.status < 300:
            return
        # Not what the server says besides: object stores quote the key and the signature.
        text = f"{self._address}: HTTP {answer.status} to a PUT"
        if answer.status in ABOUT_ONE:
            raise SampleError(text)
        raise UnavailableError(f"{text}; {WAYS[answer.status]}" if answer.status in WAYS else text)

    def close(self) -> None:
        self._http.close()


def _carried(what: str, said: str) -> str:
    """Raises ConfigError where it cannot stand in a request, never showing it."""
    if not (said.isascii() and said.isprintable() and " " not in said):
        raise ConfigError(
            f"{FLAG}: {what} holds a blank, a second line or a character that is not ASCII; write it as %20"
        )
    return said


class Uploader:
    """`start` and `close` once each."""

    def __init__(self, folder: Path, remote: Remote, metrics: Metrics, wait_s: float = LOOK_S) -> None:
        """`wait_s`: how long it waits before it looks for more."""
        self._folder = folder
        self._remote = remote
        self._metrics = metrics
        self._wait_s = wait_s
        self._backoff = Backoff(first_s=min(1.0, wait_s), most_s=300.0)
        self._ended = threading.Event()
        self._number = 0
        self._connected = self._told_about = False
        self._reason = ""
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        # A slow server does not hold up the end of the process: what is half is sent again.
        self._thread = threading.Thread(target=self._run, name="capture-upload", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """What is not sent yet is, after the next start."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(JOIN_S)

    def counts(self) -> Mapping[str, Any]:
        """For `stats`: files since the start. From any thread."""
        counted = self._metrics.counter
        found = {"sent": int(counted("capture_sent")), "refused": int(counted("capture_refused"))}
        return {**found, **({"not_sent_reason": self._reason} if self._reason else {})}

    # --- the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        stand_back()
        self._number = self._known()
        while not self._ended.is_set():
            try:
                self._send_what_is_there()
                self._tell("")
                self._backoff.reset()
                wait_s = self._wait_s
            except (UnavailableError, OSError) as exc:
                self._disconnect()
                self._tell(str(exc))
                wait_s = self._backoff.next_s()
            self._ended.wait(wait_s)
        self._disconnect()

    def _known(self) -> int:
        sent = state_file.read(self._folder / SENT, Sent)
        return sent.number if sent is not None and sent.place == self._remote.place else 0

    def _send_what_is_there(self) -> None:
        for number, files in sorted(self._segments().items()):
            if self._ended.is_set():
                return
            self._connect()
            if not self._told_about:
                self._put(ABOUT)
                self._told_about = True
            for file in files:
                self._put(file)
            self._number = number
            atomic.write(self._folder / SENT, msgspec.json.encode(Sent(number, self._remote.place)))

    def _segments(self) -> dict[int, list[str]]:
        """By number the files of those that are whole and not sent, the lines last."""
        found: dict[int, list[str]] = {}
        try:
            names = sorted(path.name for path in self._folder.iterdir())
        except FileNotFoundError:
            return {}
        for name in names:
            match = OURS.fullmatch(name)
            if match is not None and name[0] != "." and int(match["number"]) > self._number:
                found.setdefault(int(match["number"]), []).append(name)
        whole = {n: files for n, files in found.items() if any(f.endswith(".jsonl") for f in files)}
        return {n: sorted(files, key=lambda f: f.endswith(".jsonl")) for n, files in whole.items()}

    def _put(self, name: str) -> None:
        if self._ended.is_set():
            raise UnavailableError("the service ends")
        try:
            data = (self._folder / name).read_bytes()
        except FileNotFoundError:
            return  # it has made room for others
        try:
            self._remote.put(name, data)
        except SampleError as exc:
            if not self._metrics.counter("capture_refused"):
                log.warning("a file of kept samples was refused", extra={"file": name, "reason": str(exc)})
            self._metrics.inc("capture_refused")
        else:
            self._metrics.inc("capture_sent")

    def _connect(self) -> None:
        if not self._connected:
            self._remote.connect()
            self._connected = True

    def _disconnect(self) -> None:
        self._remote.close()
        self._connected = False

    def _tell(self, reason: str) -> None:
        """Once for each change."""
        if self._ended.is_set():
            return
        if reason and not self._reason:
            log.warning("kept samples are not sent", extra={"reason": reason})
        elif self._reason and not reason:
            log.info("kept samples are sent again")
        self._reason = reason
