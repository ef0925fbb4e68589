"""A subscriber that costs next to nothing: a socket, MQTT 3.1.1 at QoS 0, when each message came.

A client library would take as long for a message as the contenders do, on the core they share with it.
"""

from __future__ import annotations

import socket
import struct
import time


class Ear:
    """Hears one topic from `__init__` on; `close` ends it."""

    def __init__(self, port: int, topic: str) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port))
        self._sock.sendall(_packet(0x10, b"\0\4MQTT\4\2\0\0\0\0"))
        self._buffer = bytearray()
        self._next()
        encoded = topic.encode()
        self._sock.sendall(_packet(0x82, b"\0\1" + struct.pack(">H", len(encoded)) + encoded + b"\0"))
        while self._next()[0] >> 4 != 9:
            continue

    def hear_results(self, count: int, timeout_s: float) -> list[tuple[float, bytes]]:
        """Messages until they hold so many results. Raises TimeoutError."""
        heard: list[tuple[float, bytes]] = []
        while count > 0:
            heard.append(self.hear(timeout_s))
            count -= results_in(heard[-1][1])
        return heard

    def hear(self, timeout_s: float) -> tuple[float, bytes]:
        """When the next message came, on `time.time`'s clock, and its payload. Raises TimeoutError."""
        self._sock.settimeout(timeout_s)
        while True:
            kind, body = self._next()
            if kind >> 4 == 3:
                return time.time(), body[2 + struct.unpack_from(">H", body)[0] :]

    def close(self) -> None:
        self._sock.close()

    def _next(self) -> tuple[int, bytes]:
        while True:
            found = _take(self._buffer)
            if found is not None:
                return found
            data = self._sock.recv(1 << 16)
            if not data:
                raise ConnectionError("the broker hung up")
            self._buffer += data


def results_in(payload: bytes) -> int:
    """How many results a message holds: `--batch` makes arrays. Not parsed, which would take as long as they do."""
    return payload.count(b'{"schema":') if payload.startswith(b"[") else 1


def _packet(kind: int, body: bytes) -> bytes:
    return bytes([kind, len(body)]) + body


def _take(buffer: bytearray) -> tuple[int, bytes] | None:
    length, at = 0, 1
    while True:
        if at >= len(buffer):
            return None
        length |= (buffer[at] & 0x7F) << 7 * (at - 1)
        at += 1
        if buffer[at - 1] < 0x80:
            break
    if len(buffer) < at + length:
        return None
    kind, body = buffer[0], bytes(buffer[at : at + length])
    del buffer[: at + length]
    return kind, body
