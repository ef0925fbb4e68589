"""A TCP proxy that can lose its temper: cut connections, hold every byte, refuse to connect."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any

CHUNK = 65536


class Proxy:
    """One port in front of another; runs in its own thread between `start` and `stop`."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.port = 0
        self._refusing = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")
        self._flowing: asyncio.Event | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Opens a free port on loopback."""
        self._thread.start()
        self._call(self._listen())

    def stop(self) -> None:
        """Cuts everything and ends."""
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Resets every connection; bytes under way are gone."""
        self._soon(self._cut_now)

    def hold(self) -> None:
        """Half-open: connections stand, are even made, and not a byte passes."""
        self._soon(lambda: self._flowing.clear() if self._flowing else None)

    def release(self) -> None:
        """Undoes `hold`: what was held passes, late."""
        self._soon(lambda: self._flowing.set() if self._flowing else None)

    def refuse(self) -> None:
        """Cuts, and hangs up on whoever comes, until `accept`."""

        def now() -> None:
            self._refusing = True
            self._cut_now()

        self._soon(now)

    def accept(self) -> None:
        """Undoes `refuse`."""
        self._refusing = False

    # --- in the loop --------------------------------------------------------------------------------

    async def _listen(self) -> None:
        self._flowing = asyncio.Event()
        self._flowing.set()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._server = server

    async def _end(self) -> None:
        self._server.close()
        self._cut_now()
        for pump in list(self._pumps):
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        for pump in (self._pump(reader, far_writer), self._pump(far_reader, writer)):
            task = self._loop.create_task(pump)
            self._pumps.add(task)
            task.add_done_callback(self._pumps.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._flowing is not None
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        writer.close()
        self._writers.discard(writer)

    def _cut_now(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        for pump in self._pumps:
            pump.cancel()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _soon(self, work: Callable[[], Any]) -> None:
        async def run() -> None:
            work()

        self._call(run())
