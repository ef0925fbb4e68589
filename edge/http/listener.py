"""Accepts connections, keeps their number within bounds, and looks at their clocks.

So that idle clients lock nobody out: where all places are taken, the connection that has been idle longest makes room.
One address has at most its share of the places. Past the limit there are a few spare places, for one request each:
`/health` is always answered. A connection counts from its first packet: in TLS, before anything of HTTP is known of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Sequence

from edge.http.auth import Certificate
from edge.http.connection import Connection, Phase
from edge.http.shared import Shared
from edge.telemetry.metrics import Metrics

log = logging.getLogger("edge.http")

SPARE = 32
"""Places past the limit."""
ACCEPT_AGAIN_S = 1.0
"""After an accept that failed: the process has no descriptors left."""


class Listener:
    """`run` until it is cancelled, then `stop`. The event loop's own."""

    def __init__(
        self, sock: socket.socket, shared: Shared, most: int, tls: Certificate | None, metrics: Metrics
    ) -> None:
        """`most` connections, and `SPARE` beside them."""
        self._socket = sock
        self._shared = shared
        self._most = most
        self._share = max(1, most - most // 4)
        """Of one address."""
        self._tls = tls
        self._metrics = metrics
        self._open: dict[Connection, asyncio.Task[None]] = {}
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()
        self._count()

    async def run(self) -> None:
        """Accepts, until it is cancelled."""
        loop = asyncio.get_running_loop()
        self._socket.setblocking(False)
        while True:
            try:
                accepted, address = await loop.sock_accept(self._socket)
            except OSError as exc:
                log.warning("cannot accept a connection", extra={"reason": str(exc)})
                await asyncio.sleep(ACCEPT_AGAIN_S)
                continue
            self._take(accepted, str(address[0]))

    def _take(self, accepted: socket.socket, address: str) -> None:
        spare = not self._make_room(address)
        scheme = "http" if self._tls is None else "https"
        connection = Connection(self._shared, address, self._forget, scheme=scheme, spare=spare)
        opening = self._open[connection] = asyncio.ensure_future(self._open_up(connection, accepted))
        # Cancelled before it began, no transport owns the socket yet; else it is closed by now.
        opening.add_done_callback(lambda task: accepted.close() if task.cancelled() else None)
        self._count()
        if self._sweep_timer is None:
            self._sweep_timer = asyncio.get_running_loop().call_later(self._shared.limits.sweep_s, self._sweep)

    async def _open_up(self, connection: Connection, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        tls = self._tls.context if self._tls is not None else None
        wait_s = self._shared.limits.head_s if tls is not None else None
        try:
            await loop.connect_accepted_socket(lambda: connection, accepted, ssl=tls, ssl_handshake_timeout=wait_s)
        except OSError:  # what it began is no TLS, or it left: ssl.SSLError and TimeoutError are such too
            self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        self._open.pop(connection, None)
        self._count()

    def _count(self) -> None:
        self._metrics.set("http_connections", len(self._open))
        if self._open:
            self._empty.clear()
        else:
            self._empty.set()

    # --- room -----------------------------------------------------------------------------------------

    def _make_room(self, address: str) -> bool:
        """True where there is a place; the connection that was idle longest may have made room for it."""
        places = [c for c in self._open if not c.spare]
        own = [c for c in places if c.address == address]
        if len(own) >= self._share:
            return self._evict(own)
        if len(places) >= self._most:
            return self._evict(places)
        return True

    def _evict(self, among: Sequence[Connection]) -> bool:
        evictable = asyncio.get_running_loop().time() - self._shared.limits.evict_after_s
        waiting = [c for c in among if c.phase in (Phase.IDLE, Phase.HEAD) and c.since <= evictable]
        if waiting:
            # Last of all one that was sent what it has yet to read: its link may only be slow.
            longest = min(waiting, key=lambda c: (not c.sent, c.phase != Phase.IDLE, c.since))
            self._end(longest)
            return True
        spares = [c for c in self._open if c.spare]
        if len(spares) >= SPARE:
            self._end(min(spares, key=lambda c: c.since))
        return False

    def _end(self, connection: Connection) -> None:
        """Closes it; it counts no more."""
        opening = self._open.pop(connection)
        connection.abort() if connection.phase is Phase.HEAD else connection.hang_up()
        opening.cancel()

    # --- time -----------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in tuple(self._open):
            connection.check_time(now)
        again = bool(self._open)
        self._sweep_timer = loop.call_later(self._shared.limits.sweep_s, self._sweep) if again else None

    async def stop(self, grace_s: float) -> None:
        """Connections end: idle ones now, the others after their answer, or after `grace_s` with a 503."""
        for connection, opening in tuple(self._open.items()):
            connection.stop() if opening.done() else self._end(connection)  # its TLS has yet to begin
        self._count()
        for wait_s, end in ((grace_s, Connection.cancel), (grace_s, Connection.abort)):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._empty.wait()
            for connection in tuple(self._open):
                end(connection)
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
