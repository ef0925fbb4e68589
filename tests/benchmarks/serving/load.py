"""Load for an HTTP server on this machine: the same request again and again, on some connections, for some seconds.

`load.py PORT CONNECTIONS SECONDS FILE [heed]`, FILE with the bytes of the request; `heed`: Retry-After is.
Its own process, with nothing but sockets: a client library would cost more than the servers under test.
Prints JSON: requests answered with 200 a second, their median and 99th percentile in milliseconds, and how often each
status came.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import selectors
import socket
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

OK, BUSY = 200, 503


@dataclass
class Asker:
    """One connection with one request under way."""

    sock: socket.socket
    sent_s: float = 0.0
    got: bytearray = field(default_factory=bytearray)
    unsent: memoryview = field(default_factory=lambda: memoryview(b""))


def status_if_whole(data: bytearray) -> int | None:
    """The response's status once all of it is there."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(data[:end]).lower()
    at = head.find(b"content-length:")
    length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    return int(head[9:12]) if len(data) >= end + 4 + length else None


def retry_after_s(data: bytearray) -> int:
    """What a response asks to wait, in seconds."""
    head = bytes(data[: data.find(b"\r\n\r\n")]).lower()
    at = head.find(b"retry-after:")
    return int(head[at + 12 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


def load_alone(host: str, port: int, request: bytes, seconds: float) -> tuple[list[float], Counter[int], float]:
    """One connection needs no selector: blocking calls cost the client least, and the server is what is measured."""
    spent: list[float] = []
    statuses: Counter[int] = Counter()
    clock = time.perf_counter
    with socket.create_connection((host, port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        until = clock() + min(1.0, seconds / 4)
        warm = False
        started = clock()
        while True:
            sent = clock()
            sock.sendall(request)
            got = bytearray(sock.recv(1 << 18))
            while (status := status_if_whole(got)) is None:
                got += sock.recv(1 << 18)
            now = clock()
            statuses[status] += 1
            if status == OK:
                spent.append(now - sent)
            if now >= until:
                if warm:
                    return spent, statuses, now - started
                warm, started, until = True, now, now + seconds
                spent.clear()
                statuses.clear()


class Crowd:
    """Several connections, each with one request under way. `heeds`: waits as long as a 503's Retry-After says."""

    def __init__(self, host: str, port: int, request: bytes, connections: int, heeds: bool) -> None:
        self._request, self._heeds = request, heeds
        self._selector = selectors.DefaultSelector()
        self._resting: list[tuple[float, int, Asker]] = []
        self.spent: list[float] = []
        self.statuses: Counter[int] = Counter()
        for _ in range(connections):
            sock = socket.create_connection((host, port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
            asker = Asker(sock)
            self._selector.register(sock, selectors.EVENT_READ, asker)
            self._ask(asker)

    def run(self, seconds: float) -> float:
        """The seconds that have passed indeed; figures begin anew."""
        self.spent.clear()
        self.statuses.clear()
        started = time.perf_counter()
        while (passed := time.perf_counter() - started) < seconds:
            self._turn()
        return passed

    def _ask(self, asker: Asker) -> None:
        asker.got.clear()
        asker.sent_s = time.perf_counter()
        asker.unsent = memoryview(self._request)
        self._push(asker)

    def _push(self, asker: Asker) -> None:
        with contextlib.suppress(BlockingIOError):
            asker.unsent = asker.unsent[asker.sock.send(asker.unsent) :]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if asker.unsent else 0)
        if self._selector.get_key(asker.sock).events != events:
            self._selector.modify(asker.sock, events, asker)

    def _turn(self) -> None:
        for key, events in self._selector.select(0.01 if self._resting else 1.0):
            if events & selectors.EVENT_WRITE:
                self._push(key.data)
            if events & selectors.EVENT_READ:
                self._read(key.data)
        now = time.perf_counter()
        while self._resting and self._resting[0][0] <= now:
            self._ask(heapq.heappop(self._resting)[2])

    def _read(self, asker: Asker) -> None:
        data = asker.sock.recv(1 << 18)
        if not data:
            raise SystemExit("the server hung up")
        asker.got += data
        status = status_if_whole(asker.got)
        if status is None:
            return
        self.statuses[status] += 1
        if status == OK:
            self.spent.append(time.perf_counter() - asker.sent_s)
        wait_s = retry_after_s(asker.got) if self._heeds and status == BUSY else 0
        if wait_s:
            heapq.heappush(self._resting, (time.perf_counter() + wait_s, id(asker), asker))
        else:
            self._ask(asker)


def load(host: str, port: int, request: bytes, connections: int, seconds: float, heeds: bool) -> dict[str, object]:
    """Runs the load and returns the figures."""
    if connections == 1:
        return figures(*load_alone(host, port, request, seconds))
    crowd = Crowd(host, port, request, connections, heeds)
    crowd.run(min(1.0, seconds / 4))
    passed = crowd.run(seconds)
    return figures(crowd.spent, crowd.statuses, passed)


def figures(spent: list[float], statuses: Counter[int], passed: float) -> dict[str, object]:
    """What is printed."""
    spent.sort()
    return {
        "per_s": len(spent) / passed,
        "median_ms": statistics.median(spent) * 1e3 if spent else None,
        "p99_ms": spent[int(len(spent) * 0.99)] * 1e3 if spent else None,
        "statuses": dict(statuses),
    }


if __name__ == "__main__":
    port, connections, seconds, file, *more = sys.argv[1:]
    request, heeds = Path(file).read_bytes(), more == ["heed"]
    print(json.dumps(load("127.0.0.1", int(port), request, int(connections), float(seconds), heeds)))
