"""Connections of gRPC: one address has its share of them, as over HTTP.

gRPC's server lets nobody see its connections, nor whose they are, and closes those past its limit whoever comes. A few
hundred of one address that each ask for something now and then would keep all others out for ever. The system knows
them, though, by the process's own descriptors. So gRPC may take some more than there may be, and those past an
address's share are shut down, which gRPC sees as a client that left.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

Answer = TypeVar("Answer")
DESCRIPTORS = Path("/proc/self/fd")
"""Of Linux; where it is not there, gRPC's own limit is the only one."""
OFTEN = 10
"""Where half of the places are taken, it is looked so many times as often."""
_LAST_DATA_RECEIVED = 52
"""Where that stands in Linux' `struct tcp_info` (linux/tcp.h), in ms."""


class Connections:
    """The event loop's own. `start` and `stop` once each."""

    def __init__(self, most: int, sweep_s: float) -> None:
        self._most = most
        self._share = max(1, most - most // 4)
        """Of one address."""
        self._sweep_s = sweep_s
        self._port = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def taken(self) -> int:
        """Those that gRPC may take: others find a place until the next look."""
        return self._most + max(1, self._most // 2)

    def start(self, port: int) -> None:
        """`port` is the one that gRPC listens on."""
        self._port = port
        if DESCRIPTORS.exists():
            self._look()

    def stop(self) -> None:
        """Looks no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        count = self._end_those_past_the_share()
        wait_s = self._sweep_s if 2 * count < self._most else self._sweep_s / OFTEN
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._look)

    def _end_those_past_the_share(self) -> int:
        """How many there are. Of the address with most, the one that has been silent longest is ended."""
        of: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        for entry in DESCRIPTORS.iterdir():
            descriptor = int(entry.name)
            told = _ask(descriptor, self._port, lambda it: (_address(it), _silent_ms(it)))
            if told is not None:
                address, silent_ms = told
                of[address].append((silent_ms, descriptor))
        count = left = sum(map(len, of.values()))
        while of:
            address = max(of, key=lambda a: len(of[a]))
            if len(of[address]) <= self._share and left <= self._most:
                break
            longest = max(of[address])
            of[address].remove(longest)
            left -= 1
            _ask(longest[1], self._port, partial(_end, whose=address))
        return count


def _ask(descriptor: int, port: int, what: Callable[[socket.socket], Answer]) -> Answer | None:
    """What a connection that was made to `port` says; None where this is none, or has ended. It stays gRPC's."""
    try:
        borrowed = socket.socket(fileno=descriptor)
    except OSError:
        return None
    try:
        ours = borrowed.family in (socket.AF_INET, socket.AF_INET6) and borrowed.getsockname()[1] == port
        return what(borrowed) if ours else None
    except OSError:
        return None
    finally:
        borrowed.detach()


def _address(connection: socket.socket) -> str:
    return str(connection.getpeername()[0])


def _silent_ms(connection: socket.socket) -> int:
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_RECEIVED + 4)
    return int(struct.unpack_from("=I", info, _LAST_DATA_RECEIVED)[0])


def _end(connection: socket.socket, whose: str) -> None:
    if _address(connection) == whose:  # gRPC's own threads close them meanwhile, and the number may be another's
        connection.shutdown(socket.SHUT_RDWR)
