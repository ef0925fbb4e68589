"""Load for a gRPC server on this machine, as `load.py` is for HTTP: `grpc_load.py PORT CONNECTIONS SECONDS FILE`.

FILE holds the bytes of a `ModelInferRequest`. Plain sockets and the few frames of HTTP/2 that a unary call needs
(RFC 9113): gRPC's own client would cost more than the servers under test. Prints JSON as `load.py` does.
"""

from __future__ import annotations

import json
import selectors
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PATH = b"/inference.GRPCInferenceService/ModelInfer"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
WINDOW = (1 << 31) - 1


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A header that no table remembers, so that each request's block is the same."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


BLOCK = b"".join(
    literal(name, value)
    for name, value in (
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", PATH), (b":authority", b"127.0.0.1"),
        (b"content-type", b"application/grpc"), (b"te", b"trailers"),
    )
)  # fmt: skip


class Asker:
    """One connection with one call under way. `ask` sends the next, `hear` reads what came."""

    def __init__(self, port: int, message: bytes) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._body = b"\0" + struct.pack(">I", len(message)) + message
        self._stream = -1
        self._got = b""
        self._window = 0
        """Bytes that the server lets be sent beside the first 65,535."""
        self._sent = 0
        windows = struct.pack(">HI", 4, WINDOW)
        self.sock.sendall(
            PREFACE + frame(SETTINGS, 0, 0, windows) + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", WINDOW - 65_535))
        )

    def ask(self) -> None:
        self._stream += 2
        self._sent += len(self._body)
        if self._sent > 65_535 + self._window:
            raise SystemExit("the server does not open its window again")
        self.sock.sendall(
            frame(HEADERS, END_HEADERS, self._stream, BLOCK) + frame(DATA, END_STREAM, self._stream, self._body)
        )

    def hear(self) -> bool:
        """True where the call is answered."""
        data = self.sock.recv(1 << 18)
        if not data:
            raise SystemExit("the server hung up")
        self._got += data
        done = False
        for kind, flags, stream, payload in self._frames():
            if kind == WINDOW_UPDATE and stream == 0:
                self._window += int.from_bytes(payload, "big")
            elif kind in (SETTINGS, PING) and not flags & ACK:
                self.sock.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
            elif kind in (RST_STREAM, GOAWAY):
                raise SystemExit(f"the server ends the call: {payload!r}")
            elif kind == HEADERS and flags & END_STREAM and stream == self._stream:
                done = True
        return done

    def _frames(self) -> Iterator[tuple[int, int, int, bytes]]:
        at, got = 0, self._got
        while len(got) - at >= 9:
            length = int.from_bytes(got[at : at + 3], "big")
            if len(got) - at < 9 + length:
                break
            kind, flags, stream = struct.unpack_from(">BBI", got, at + 3)
            yield kind, flags, stream, got[at + 9 : at + 9 + length]
            at += 9 + length
        self._got = got[at:]


def load(port: int, connections: int, seconds: float, message: bytes) -> float:
    """Calls a second."""
    askers = [Asker(port, message) for _ in range(connections)]
    selector = selectors.DefaultSelector()
    for asker in askers:
        selector.register(asker.sock, selectors.EVENT_READ, asker)
        asker.ask()
    _run(selector, min(1.0, seconds / 4))
    started = time.perf_counter()
    answered = _run(selector, seconds)
    passed = time.perf_counter() - started
    for asker in askers:
        asker.sock.close()
    return answered / passed


def _run(selector: selectors.BaseSelector, seconds: float) -> int:
    answered, until = 0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        for key, _ in selector.select(1.0):
            if key.data.hear():
                answered += 1
                key.data.ask()
    return answered


if __name__ == "__main__":
    port, connections, seconds, file = sys.argv[1:]
    print(json.dumps({"per_s": load(int(port), int(connections), float(seconds), Path(file).read_bytes())}))
