"""The HTTP server: an event loop in a thread of the process, from its socket to a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from functools import partial
from typing import TYPE_CHECKING

from edge.errors import ConfigError, needs
from edge.http import in_use
from edge.http.auth import Auth, Certificate, Token, check_tls
from edge.http.options import Served, ServerOptions
from edge.plugins.protocols import Clock
from edge.remote.address import is_loopback
from edge.telemetry import memory
from edge.telemetry.metrics import Metrics

try:
    import httptools
    import prometheus_client
    import python_multipart
    import simdjson
    import starlette
except ImportError as exc:
    raise needs("--http", exc.name or "starlette", "http") from None

import ipaddress
from collections.abc import Sequence

from edge.http.asgi import App
from edge.http.catalog import Catalog
from edge.http.handlers import Handlers, endpoints
from edge.http.http_types import HEADERS
from edge.http.in_use import InUse
from edge.http.listener import Listener
from edge.http.reader import BodyBudget
from edge.http.scheduling import lower_priority
from edge.http.shared import Shared
from edge.runtime.options import Observer

if TYPE_CHECKING:
    from edge.http.grpc.server import GrpcServer

log = logging.getLogger("edge.http")

__all__ = ["HttpServer"]
_NEEDED = (httptools, prometheus_client, python_multipart, simdjson, starlette)

START_WAIT_S = 10.0
REFRESH_S = 2.0
"""How often the files of the token and the certificate are looked at."""


class HttpServer:
    """`serve` before `start`; `start` and `stop` once each, `use` and `fail` from any thread."""

    def __init__(
        self, options: ServerOptions, failed: Callable[[BaseException], None], clock: Clock, metrics: Metrics
    ) -> None:
        """`failed` is told what ends the server's thread against its will; `metrics` count what is no model's own.
        Raises ConfigError."""
        self._options = options
        self._failed = failed
        hosts = (options.host, *((options.grpc[0],) if options.grpc else ()))
        reachable = not all(map(is_loopback, hosts))
        if options.token is None and options.token_file is None and reachable:
            raise ConfigError(
                f"--http {options.host}:{options.port}: others can reach that address, so a token is needed: "
                "--http-token-file FILE (openssl rand -hex 32 > FILE makes one), or listen on 127.0.0.1"
            )
        self._token = Token(options.token, options.token_file, strict=reachable)
        check_tls(options.cert, options.key)
        self._certificate = Certificate(options.cert, options.key) if options.cert is not None else None
        self._follows = options.token_file is not None or options.cert is not None
        self._catalog = Catalog(clock, metrics, options.share)
        self._handlers: dict[str, Handlers] = {}
        self._app: App | None = None
        self._metrics = metrics
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready = threading.Event()
        self._grpc: GrpcServer | None = None
        self._giving_back: asyncio.TimerHandle | None = None
        self.grpc_port = 0
        """Where gRPC is answered; after `start`."""
        self._refused: ConfigError | None = None
        """Why the server did not begin."""

    def serve(self, served: Served) -> Observer:
        """A model: one, or several of different names. What is returned is to be shown each sample of its flow, for
        the live page."""
        handlers = Handlers(served, self._options, self._catalog)
        self._put(handlers)
        return partial(self._catalog.live.show_flow, handlers.key)

    def _put(self, handlers: Handlers) -> None:
        self._handlers[handlers.key] = handlers
        self._catalog.put(handlers.key, handlers)

    def fail(self, name: str, reason: str) -> None:
        """A run has ended with an error; where it was not served before, clients of its model are told that."""
        self._catalog.failed[name] = reason

    def use(self, served: Served, let_go: Callable[[], None]) -> threading.Event:
        """Another model answers the next requests, in place of the only one; those that were begun end with theirs,
        then `let_go` is called. Set once it does. Both models keep nothing from request to request."""
        (before,) = self._handlers.values()
        handlers, taken = Handlers(served, self._options, self._catalog, before), threading.Event()
        self._put(handlers)
        newer = endpoints([handlers], self._catalog)

        def take() -> None:
            parts: list[InUse] = []
            if self._app is not None:
                parts.append(self._app.use(newer))
            if self._grpc is not None:
                parts.append(self._grpc.use([handlers]))
            in_use.retire(parts, let_go)
            handlers.admission.learn_anew()
            taken.set()

        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the server may end, and close its loop, by itself
                self._loop.call_soon_threadsafe(take)
        return taken

    @property
    def url(self) -> str:
        """Where it answers; after `start`."""
        return url_of(self._options.host, self._port, tls=self._options.cert is not None)

    @property
    def url_for_others(self) -> str | None:
        """What a phone opens; None where only this machine reaches it. After `start`."""
        host = host_for_others(self._options.host, self._options.names)
        return url_of(host, self._port, tls=self._options.cert is not None) if host is not None else None

    @property
    def _port(self) -> int:
        return int(self._socket.getsockname()[1]) if self._socket is not None else self._options.port

    def start(self) -> None:
        """Listens, and returns when requests are answered. Raises ConfigError where it cannot listen there."""
        self._socket = self._listen()
        url = self.url
        self._thread = threading.Thread(target=self._run, name="http", daemon=False)
        self._thread.start()
        if not self._ready.wait(START_WAIT_S):
            raise ConfigError(f"--http {url}: the server did not start within {START_WAIT_S:.0f} s")
        if self._refused is not None:
            self.stop()
            self._socket.close()
            raise self._refused
        log.info("listening", extra={"url": url, "token": "demanded" if self._token.text else "none"})

    def stop(self) -> None:
        """Answers what it has begun, and ends."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._stop is not None and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the thread may end, and close its loop, by itself
                self._loop.call_soon_threadsafe(self._stop.set)
        thread.join()
        for handlers in self._handlers.values():
            handlers.close()

    # --- inside -------------------------------------------------------------------------------------

    def _listen(self) -> socket.socket:
        options = self._options
        try:
            addresses = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)
            family, kind, proto, _, address = addresses[0]
            # asyncio sets TCP_NODELAY only where the protocol is said
            listener = socket.socket(family, kind, proto)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(address)
                listener.listen(128)
            except OSError:
                listener.close()
                raise
        except OSError as exc:
            raise ConfigError(
                f"--http {options.host}:{options.port}: {exc.strerror or exc}; say another port or address"
            ) from exc
        return listener

    def _run(self) -> None:
        try:
            if any(handlers.served.source for handlers in self._handlers.values()):
                lower_priority()
            asyncio.run(self._serve())
        except ConfigError as exc:
            if self._ready.is_set():
                raise
            self._refused = exc
        except BaseException as exc:  # the end of a thread: what waits for it has to know
            self._failed(exc)
            raise
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        options, catalog, sock = self._options, self._catalog, self._socket
        assert sock is not None
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        auth = Auth(self._token, (options.host, *options.names), tls=options.cert is not None)
        budget = BodyBudget(options.max_body, self._give_back_later)
        every = list(self._handlers.values())
        app = self._app = App(auth, options.limits, budget, every[0].admission, endpoints(every, catalog))
        shared = Shared(app, options.limits, budget, Date())
        listener = Listener(sock, shared, options.connections, self._certificate, self._metrics)
        catalog.live.open()
        accepting = asyncio.ensure_future(listener.run())
        refreshing = asyncio.ensure_future(self._refresh()) if self._follows else None
        self._grpc = await self._start_grpc(auth, budget)
        self._loop.call_soon(self._ready.set)
        await asyncio.wait([accepting, asyncio.ensure_future(self._stop.wait())], return_when=asyncio.FIRST_COMPLETED)
        if refreshing is not None:
            refreshing.cancel()
        accepting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await accepting  # what ended it against its will ends the thread
        sock.close()
        catalog.live.close()
        if self._grpc is not None:
            await asyncio.gather(self._grpc.stop(options.grace_s), listener.stop(options.grace_s))
        else:
            await listener.stop(options.grace_s)

    def _give_back_later(self) -> None:
        """When no large body came for a while: to one that comes soon what is kept is of use."""
        assert self._loop is not None
        if self._giving_back is not None:
            self._giving_back.cancel()
        self._giving_back = self._loop.call_later(self._options.limits.give_back_s, self._give_back)

    def _give_back(self) -> None:
        assert self._loop is not None
        self._giving_back = None
        self._loop.run_in_executor(None, memory.give_back)

    async def _start_grpc(self, auth: Auth, budget: BodyBudget) -> GrpcServer | None:
        options = self._options
        if options.grpc is None:
            return None
        from edge.http.grpc.server import GrpcOptions, GrpcServer

        server = GrpcServer(list(self._handlers.values()), self._catalog, auth)
        host, port = options.grpc
        self.grpc_port = await server.start(
            GrpcOptions(host, port, options.connections, options.limits, budget, self._certificate)
        )
        log.info("listening for gRPC", extra={"host": host, "port": self.grpc_port})
        return server

    async def _refresh(self) -> None:
        """Follows the files that may change."""
        while True:
            await asyncio.sleep(REFRESH_S)
            self._token.refresh()
            if self._certificate is not None:
                self._certificate.refresh()


class Date:
    """The headers that are the same on every response, with its date. The event loop's own."""

    def __init__(self) -> None:
        self._second = 0
        self._lines = b""

    def __call__(self) -> bytes:
        now = int(time.time())
        if now != self._second:
            date = (b"date", formatdate(now, usegmt=True).encode())
            self._second, self._lines = now, b"".join([b"%b: %b\r\n" % header for header in (date, *HEADERS)])
        return self._lines


ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""Addresses that are kept for documentation: what would be sent there leaves by the network that others are on."""


def host_for_others(host: str, names: Sequence[str] = ()) -> str | None:
    """What stands in the URL that others open: the first of `names`, the address that is listened on, or this
    machine's where it listens on all; None where only this machine reaches it."""
    if is_loopback(host):
        return None
    if names:
        return names[0]
    try:
        everywhere = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host
    return _own_address() if everywhere else host


def _own_address() -> str:
    """Of the network that leads elsewhere; no packet is sent. Without one, the name that mDNS tells others."""
    for family, address in ELSEWHERE:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((address, 9))
            except OSError:
                continue
            return str(probe.getsockname()[0])
    return f"{socket.gethostname().partition('.')[0]}.local"


def url_of(host: str, port: int, *, tls: bool) -> str:
    """Of a host name or an address, without a slash at its end."""
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{shown}:{port}"
