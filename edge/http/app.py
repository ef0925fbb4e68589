"""The HTTP server: uvicorn in a thread of the process, from its socket to a clean end."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Sequence

from edge.data.result import Result, Skipped
from edge.data.sample import Sample
from edge.errors import ConfigError, needs
from edge.http.auth import Guard, check_tls, is_loopback
from edge.http.options import Served, ServerOptions

try:
    import httptools
    import prometheus_client
    import python_multipart
    import simdjson
    import uvicorn
except ImportError as exc:
    raise needs("--http", exc.name or "uvicorn", "http") from None

from edge.http.asgi import Front
from edge.http.handlers import Site
from edge.http.limits import SPARE, Connection
from edge.http.routes import Ways, quick_ways, ways
from edge.http.scheduling import give_way
from edge.http.sockets import Listener

log = logging.getLogger("edge.http")

__all__ = ["HttpServer"]
_NEEDED = (httptools, prometheus_client, python_multipart, simdjson)

START_WAIT_S = 10.0
KEEP_ALIVE_S = 75
GRACE_S = 3


class HttpServer:
    """`start` and `stop` once each, `observe` from the flow's thread."""

    def __init__(self, served: Served, options: ServerOptions, failed: Callable[[BaseException], None]) -> None:
        """`failed` is told what ends the server's thread against its will. Raises ConfigError."""
        self._options = options
        self._failed = failed
        check_tls(options.cert, options.key)
        if options.token is None and not is_loopback(options.host):
            raise ConfigError(
                f"--http {options.host}:{options.port}: others can reach that address, so a token is needed: "
                "--http-token-file FILE (openssl rand -hex 32 > FILE makes one), or listen on 127.0.0.1"
            )
        self._site = Site(served, options)
        self._gives_way = bool(served.source)
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()

    def observe(self, sample: Sample, outcomes: Sequence[Result | Skipped]) -> None:
        """A sample of the flow, for the live page."""
        self._site.live.show_flow(sample, outcomes)

    @property
    def url(self) -> str:
        """Where it answers; after `start`."""
        host = f"[{self._options.host}]" if ":" in self._options.host else self._options.host
        port = self._socket.getsockname()[1] if self._socket is not None else self._options.port
        return f"{'https' if self._options.cert else 'http'}://{host}:{port}"

    def start(self) -> None:
        """Listens, and returns when requests are answered. Raises ConfigError where it cannot listen there."""
        self._socket = self._listen()
        url = self.url
        self._thread = threading.Thread(target=self._run, name="http", daemon=False)
        self._thread.start()
        if not self._ready.wait(START_WAIT_S):
            raise ConfigError(f"--http {url}: the server did not start within {START_WAIT_S:.0f} s")
        log.info("listening", extra={"url": url, "token": "demanded" if self._options.token else "none"})

    def stop(self) -> None:
        """Answers what it has begun, and ends."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._server is not None and self._loop is not None and thread.is_alive():
            self._server.should_exit = True
            self._loop.call_soon_threadsafe(self._site.live.close)
        thread.join()
        self._site.close()

    # --- inside -------------------------------------------------------------------------------------

    def _listen(self) -> socket.socket:
        options = self._options
        try:
            found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)
            family, kind, proto, _, address = found[0]
            # asyncio sets TCP_NODELAY only where the protocol is said
            made = Listener(family, kind, proto, options.connections + SPARE)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                made.bind(address)
                made.listen(128)
            except OSError:
                made.close()
                raise
        except OSError as exc:
            raise ConfigError(
                f"--http {options.host}:{options.port}: {exc.strerror or exc}; say another port or address"
            ) from exc
        return made

    def _run(self) -> None:
        try:
            if self._gives_way:
                give_way()
            asyncio.run(self._serve())
        except BaseException as exc:  # the end of a thread: whoever waits for it has to know
            self._failed(exc)
            raise
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        options = self._options
        site = self._site
        hosts = (options.host, *options.names)
        guard = Guard(options.token, hosts, tls=options.cert is not None)
        front = Front(guard, site.bodies, Ways(tuple(ways(site))), site.pages, quick_ways(site))
        limited = type("Limited", (Connection,), {"most": options.connections})
        server = uvicorn.Server(
            uvicorn.Config(
                front,
                http=limited,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",  # else everybody who can connect can fill the log
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=GRACE_S,
                ssl_certfile=options.cert,
                ssl_keyfile=options.key,
            )
        )
        self._server, self._loop = server, asyncio.get_running_loop()
        site.live.open()
        started = asyncio.ensure_future(self._tell(server))
        await server.serve(sockets=[self._socket] if self._socket is not None else None)
        started.cancel()

    async def _tell(self, server: uvicorn.Server) -> None:
        while not server.started:
            await asyncio.sleep(0.005)
        self._ready.set()
