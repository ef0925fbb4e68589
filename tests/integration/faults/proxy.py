"""A TCP proxy that can lose its temper: cut connections, hold every byte, refuse to connect, answer for a broker."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

CHUNK = 65536
UNKNOWN = b"\xe5"
"""No reason code of MQTT 5."""


class Proxy:
    """One port in front of another; runs in its own thread between `start` and `stop`."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.port = 0
        self.acks_out_of_order = 0
        """Of all connections: PUBACKs of the client in another order than the messages came in [MQTT-4.6.0]."""
        self._refusing = False
        self.refuses_publications = False
        """MQTT 5: what the broker confirms is refused on the way back, for a reason that no standard names."""
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
        self.refuses_publications = True

    def accept_publications(self) -> None:
        self.refuses_publications = False

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
        order = Order(self)
        for pump in (self._pump(reader, far_writer, order.sent), self._pump(far_reader, writer, order.came)):
            task = self._loop.create_task(pump)
            self._pumps.add(task)
            task.add_done_callback(self._pumps.discard)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, see: Callable[[bytes], bytes]
    ) -> None:
        """`see` is given each packet, and says what goes on in its place."""
        assert self._flowing is not None
        packets = Packets()
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                await self._flowing.wait()
                writer.write(b"".join([see(packet) for packet in packets.take(data)]))
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


class Packets:
    """What one side sends on one connection, packet by packet: each is kept back until it is whole."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, data: bytes) -> Iterator[bytes]:
        data, at = self._rest + data, 0
        while (end := _end_of_packet(data, at)) is not None:
            yield data[at:end]
            at = end
        self._rest = data[at:]


class Order:
    """The acknowledgements of one connection beside the messages that they are for."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._waiting: dict[bytes, None] = {}

    def came(self, packet: bytes) -> bytes:
        """Of the broker: with every PUBACK a refusal where the proxy refuses publications."""
        if packet[0] & 0xF6 == 0x32:  # PUBLISH at QoS 1
            self._waiting.setdefault(_identifier(packet))
        return b"\x40\x03" + packet[2:4] + UNKNOWN if packet[0] == 0x40 and self._proxy.refuses_publications else packet

    def sent(self, packet: bytes) -> bytes:
        """Of the client. A message that the broker sent twice, as it does without an acknowledgement, counts once."""
        if packet[0] == 0x40 and packet[2:4] in self._waiting:
            self._proxy.acks_out_of_order += next(iter(self._waiting)) != packet[2:4]
            del self._waiting[packet[2:4]]
        return packet


def _identifier(packet: bytes) -> bytes:
    at = 1
    while packet[at] > 0x7F:
        at += 1
    at += 3 + int.from_bytes(packet[at + 1 : at + 3], "big")
    return packet[at : at + 2]


def _end_of_packet(data: bytes, at: int) -> int | None:
    length = 0
    for place, byte in enumerate(data[at + 1 : at + 5]):
        length |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            end = at + 2 + place + length
            return end if end <= len(data) else None
    return None
