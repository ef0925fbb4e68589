"""Where a repository lies: a folder (a USB stick), a web server, a broker. What comes from there is trusted by nobody.

`Fetcher.read` gives metadata to `tuf`; `Fetcher.resume` fills a `.part` file, which a broken link leaves as it is: the
next try asks for the rest (`Range`). A server that does not know ranges sends all, and the file begins anew.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from tuf.api.exceptions import DownloadError, DownloadHTTPError, DownloadLengthMismatchError, SlowRetrievalError
from tuf.ngclient import FetcherInterface

from edge.errors import ConfigError
from edge.remote.tls import trusting
from edge.updates.order import Order

PIECE = 64 * 1024
TIMEOUT_S = 30.0
SLOW_BYTES = 64 * 1024
"""A server that sends less than this in a minute holds the check up, whatever it is up to."""
SLOW_S = 60.0
AGENT = "edge-run"


class Fetcher(Protocol):
    """A repository's files by URL. Belongs to one thread."""

    def pieces(self, url: str, start: int) -> tuple[int, Iterator[bytes]]:
        """The file from byte `start` on, or from 0 on where that cannot be had: where it begins, and its bytes.

        Raises DownloadError, DownloadHTTPError (404: not there); so may the iterator."""
        ...

    def close(self) -> None:
        """May be called twice."""


def make(order: Order) -> Fetcher:
    """Raises ConfigError."""
    if order.broker is not None:
        from edge.updates.broker import Broker  # brings the client's library

        return Broker(order.broker, order.prefix)
    return Folder() if urlsplit(order.uri).scheme == "file" else Web(order.ca, order.cert, order.key)


class Metadata(FetcherInterface):
    """The same as `tuf` wants it."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self._fetcher.pieces(url, 0)[1]


class Folder:
    """Below a `file:` URL."""

    def pieces(self, url: str, start: int) -> tuple[int, Iterator[bytes]]:
        path = Path(unquote(urlsplit(url).path))
        if not path.parent.is_dir():
            raise DownloadHTTPError(f"{path.parent} is not there: is the stick plugged in, and mounted?", 404)
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise DownloadHTTPError(f"{path} is not there", 404) from None
        except OSError as exc:
            raise DownloadError(f"{path}: {exc.strerror}") from exc
        return start, _read(file.fileno(), start, file.close, path)

    def close(self) -> None:
        """Nothing is held."""


def _read(fd: int, start: int, close: Callable[[], None], path: Path) -> Iterator[bytes]:
    try:
        os.lseek(fd, start, os.SEEK_SET)
        while piece := os.read(fd, PIECE):
            yield piece
    except OSError as exc:  # a stick that is pulled out
        raise DownloadError(f"{path}: {exc.strerror}") from exc
    finally:
        close()


class Web:
    """An http(s) server, through the proxy that the environment names."""

    def __init__(self, ca: Path | None = None, cert: Path | None = None, key: Path | None = None) -> None:
        """The files are read when the first https URL is."""
        self._ca, self._cert, self._key = ca, cert, key
        self._pools: dict[str, urllib3.PoolManager] = {}

    def pieces(self, url: str, start: int) -> tuple[int, Iterator[bytes]]:
        headers = {"User-Agent": AGENT, "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with _told(url):
            response = self._pool(url).request(
                "GET", url, headers=headers, preload_content=False, retries=False, timeout=TIMEOUT_S
            )
        if response.status == 416:  # nothing is left behind `start`
            response.close()
            return start, iter(())
        if response.status not in (200, 206):
            response.close()
            raise DownloadHTTPError(f"{url}: the server answers {response.status}", response.status)
        return start if response.status == 206 and start else 0, _stream(url, response)

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        proxy = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
        if parts.scheme not in self._pools:
            tls = self._tls() if parts.scheme == "https" else None
            pool = urllib3.ProxyManager(proxy, ssl_context=tls) if proxy else urllib3.PoolManager(ssl_context=tls)
            self._pools[parts.scheme] = pool
        return self._pools[parts.scheme]

    def close(self) -> None:
        """Of the connections that are kept for the next request."""
        for pool in self._pools.values():
            pool.clear()

    def _tls(self) -> ssl.SSLContext:
        """Raises ConfigError."""
        try:
            context = trusting(str(self._ca or ""))
            if self._cert is not None:
                context.load_cert_chain(self._cert, self._key)
        except OSError as exc:
            raise ConfigError(f"--updates-ca, --updates-cert, --updates-key: {exc}; check these files") from exc
        return context


def _stream(url: str, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    window_s, got = time.monotonic(), 0
    try:
        with _told(url):
            while piece := response.read1(PIECE):
                yield piece
                got += len(piece)
                now = time.monotonic()
                if now - window_s >= SLOW_S:
                    if got < SLOW_BYTES:
                        raise SlowRetrievalError(f"{url}: {got} bytes in {now - window_s:.0f} s, too slow")
                    window_s, got = now, 0
    finally:
        response.close()


@contextmanager
def _told(url: str) -> Iterator[None]:
    """What goes wrong on the way is a DownloadError that says what, inside the body, too."""
    try:
        yield
    except urllib3.exceptions.NewConnectionError as exc:  # which is a TimeoutError there, however fast it was
        raise DownloadError(f"{url}: {str(exc).partition(': ')[2] or exc}") from exc
    except urllib3.exceptions.TimeoutError as exc:
        raise SlowRetrievalError(f"{url}: no answer within {TIMEOUT_S:.0f} s") from exc
    except (urllib3.exceptions.HTTPError, OSError) as exc:
        raise DownloadError(f"{url}: {exc}") from exc


def resume(fetcher: Fetcher, url: str, part: Path, length: int) -> None:
    """Fills `part` up to `length` bytes, which are synced then.

    Raises DownloadError, DownloadLengthMismatchError where there is more, OSError of the disk.
    """
    have = part.stat().st_size if part.exists() else 0
    if have > length:
        part.unlink()
        have = 0
    if have < length:
        start, pieces = fetcher.pieces(url, have)
        with part.open("r+b" if part.exists() else "w+b") as file:
            file.truncate(start)
            file.seek(start)
            _fill(file.fileno(), pieces, length - start, url)
    with part.open("r+b") as file:
        os.fsync(file.fileno())


def _fill(fd: int, pieces: Iterator[bytes], most: int, url: str) -> None:
    for piece in pieces:
        most -= len(piece)
        if most < 0:
            raise DownloadLengthMismatchError(f"{url}: more bytes than are signed for")
        view = memoryview(piece)
        while view:
            view = view[os.write(fd, view) :]
    if most:
        raise DownloadError(
            f"{url}: the link broke, or a piece is missing, {most} bytes before the end; the rest is fetched at the "
            "next check"
        )
