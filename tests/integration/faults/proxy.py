"""A TCP proxy that can lose its temper: cut connections, hold every byte, refuse to connect, answer for a broker."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any

CHUNK = 65536
UNKNOWN = b"\xe5"
"""No reason code of MQTT 5."""


class Proxy:
    """One port in front of another; runs in its own thread between `start` and `stop`."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.port = 0
        self._refusing = False
        self._refuses_publications = False
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

    def refuse_publications(self) -> None:
        """MQTT 5: what the broker confirms is refused on the way back, for a reason that no standard names."""
        self._refuses_publications = True

    def accept_publications(self) -> None:
        self._refuses_publications = False

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
        for pump in (self._pump(reader, far_writer), self._pump(far_reader, writer, Answers())):
            task = self._loop.create_task(pump)
            self._pumps.add(task)
            task.add_done_callback(self._pumps.discard)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: Answers | None = None
    ) -> None:
        assert self._flowing is not None
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                await self._flowing.wait()
                if answers is not None:
                    data = answers.take(data, refuse=self._refuses_publications)
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
        asyncio.run_coroutine_threadsafe(work, self._loop).result(150)

    def _soon(self, work: Callable[[], Any]) -> None:
        async def run() -> None:
            work()

        self._call(run())


class Answers:
    """What a broker sends on one connection, packet by packet: a PUBACK is kept back until it is whole."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, data: bytes, *, refuse: bool) -> bytes:
        """The same, with every PUBACK a refusal where `refuse`."""
        data, out, at = self._rest + data, bytearray(), 0
        while (end := _end_of_packet(data, at)) is not None:
            packet = data[at:end]
            if refuse and packet[0] == 0x40:
                packet = b"\x40\x03" + packet[2:4] + UNKNOWN
            out += packet
            at = end
        self._rest = data[at:]
        return bytes(out)


def _end_of_packet(data: bytes, at: int) -> int | None:
    length = 0
    for place, byte in enumerate(data[at + 1 : at + 5]):
        length |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            end = at + 2 + place + length
            return end if end <= len(data) else None
    return None
