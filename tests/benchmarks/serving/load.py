"""Load for an HTTP server on this machine: the same request again and again, on some connections, for some seconds.

Its own process, with nothing but sockets: a client library would cost more than the servers under test.
Prints JSON: answered requests a second, median and 99th percentile in milliseconds, statuses.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


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
            spent.append(now - sent)
            if now >= until:
                if warm:
                    return spent, statuses, now - started
                warm, started, until = True, now, now + seconds
                spent.clear()
                statuses.clear()


def load(host: str, port: int, request: bytes, connections: int, seconds: float) -> dict[str, object]:
    """Runs the load and returns the figures."""
    if connections == 1:
        return figures(*load_alone(host, port, request, seconds))
    selector = selectors.DefaultSelector()
    spent: list[float] = []
    statuses: Counter[int] = Counter()

    def ask(asker: Asker) -> None:
        asker.got.clear()
        asker.sent_s = time.perf_counter()
        asker.unsent = memoryview(request)
        push(asker)

    def push(asker: Asker) -> None:
        with contextlib.suppress(BlockingIOError):
            asker.unsent = asker.unsent[asker.sock.send(asker.unsent) :]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if asker.unsent else 0)
        if selector.get_key(asker.sock).events != events:
            selector.modify(asker.sock, events, asker)

    def turn() -> None:
        for key, events in selector.select(1.0):
            asker = key.data
            if events & selectors.EVENT_WRITE:
                push(asker)
            if events & selectors.EVENT_READ:
                data = asker.sock.recv(1 << 18)
                if not data:
                    raise SystemExit("the server hung up")
                asker.got += data
                status = status_if_whole(asker.got)
                if status is not None:
                    statuses[status] += 1
                    spent.append(time.perf_counter() - asker.sent_s)
                    ask(asker)

    for _ in range(connections):
        sock = socket.create_connection((host, port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        asker = Asker(sock)
        selector.register(sock, selectors.EVENT_READ, asker)
        ask(asker)
    started = time.perf_counter()
    while time.perf_counter() - started < min(1.0, seconds / 4):
        turn()
    spent.clear()
    statuses.clear()
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        turn()
    return figures(spent, statuses, time.perf_counter() - started)


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
    port, connections, seconds, file = sys.argv[1:5]
    print(json.dumps(load("127.0.0.1", int(port), Path(file).read_bytes(), int(connections), float(seconds))))
