"""A small RTSP server on loopback: one MPEG-TS file over TCP, again and again, until it is killed.

RFC 2326 with interleaved RTP (10.12) and MPEG-TS in RTP (RFC 2250): seven packets of 188 bytes each.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from pathlib import Path

CHUNK = 7 * 188


class RtspServer:
    """`start` may be called again after `kill`, on the same port."""

    def __init__(self, stream: Path) -> None:
        self._data = stream.read_bytes()
        self._listener: socket.socket | None = None
        self._clients: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._killed = threading.Event()
        self.port = 0
        self.silent = False
        """True: connected, but no more pictures."""

    @property
    def url(self) -> str:
        return f"rtsp://user:secret@127.0.0.1:{self.port}/stream"

    def start(self) -> None:
        self._killed.clear()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._spawn(self._accept, self._listener)

    def kill(self) -> None:
        self._killed.set()
        for sock in (self._listener, *self._clients):
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()
        for thread in self._threads:
            thread.join(5)
        self._clients, self._threads = [], []

    def _spawn(self, run, *args) -> None:
        thread = threading.Thread(target=run, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self._clients.append(client)
            self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), client.makefile("rb") as lines:
            while request := lines.readline().decode():
                headers = {}
                while (line := lines.readline().decode().strip()) != "":
                    name, _, value = line.partition(":")
                    headers[name.lower()] = value.strip()
                method = request.split()[0]
                client.sendall(self._answer(method, headers))
                if method == "PLAY":
                    self._spawn(self._play, client)
                if method == "TEARDOWN":
                    return

    def _answer(self, method: str, headers: dict[str, str]) -> bytes:
        body, more = "", ""
        if method == "OPTIONS":
            more = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
        elif method == "DESCRIBE":
            body = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=t\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track\r\n"
            more = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
        elif method == "SETUP":
            more = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
        elif method == "PLAY":
            more = "Session: 1\r\n"
        return f"RTSP/1.0 200 OK\r\nCSeq: {headers.get('cseq', '0')}\r\n{more}\r\n{body}".encode()

    def _play(self, client: socket.socket) -> None:
        number = 0
        with contextlib.suppress(OSError):
            while not self._killed.is_set():
                for at in range(0, len(self._data), CHUNK):
                    if self._killed.wait(0.002):
                        return
                    if self.silent:
                        continue
                    packet = (
                        struct.pack(">BBHII", 0x80, 33, number & 0xFFFF, number * 90, 1) + self._data[at : at + CHUNK]
                    )
                    client.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
                    number += 1
