"""A network camera that answers as the test says: `Netcam(answer)` on a port of its own, a thread for each connection.

`answer(request)` gives the bytes of an answer, in pieces; `request` is the head as text. The connection is closed
behind an answer without a Content-Length.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from typing import BinaryIO


class Netcam:
    def __init__(self, answer: Callable[[str], Iterable[bytes]], tls: ssl.SSLContext | None = None) -> None:
        self._answer, self._tls = answer, tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.requests: list[str] = []
        self.connections = 0
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Netcam:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._sockets.append(sock)
            self._threads.append(threading.Thread(target=self._serve, args=(sock,)))
            self._threads[-1].start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            try:
                sock = self._tls.wrap_socket(sock, server_side=True) if self._tls else sock
                with sock, sock.makefile("rb") as lines:
                    while head := _head(lines):
                        self.requests.append(head)
                        first = b""
                        for piece in self._answer(head):
                            first = first or piece
                            sock.sendall(piece)
                        if b"content-length" not in first.lower() or b"connection: close" in first.lower():
                            return
            except OSError:
                return


def _head(lines: BinaryIO) -> str:
    """One request's; "" at the end of the connection."""
    head = ""
    while (line := lines.readline().decode()) not in ("", "\r\n"):
        head += line.replace("\r\n", "\n")
    return head


def ok(body: bytes, kind: str = "image/jpeg", status: str = "200 OK", *more: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *more]
    return "\r\n".join([*head, "", ""]).encode() + body


def asks_for_login(*challenges: str) -> bytes:
    return ok(b"who are you?", "text/html", "401 Unauthorized", *(f"WWW-Authenticate: {c}" for c in challenges))


def digest_is_right(request: str, password: str, algorithm: str = "md5") -> bool:
    """As RFC 7616 has it, written anew."""
    found = re.search(r"^Authorization: Digest (.*)$", request, re.MULTILINE)
    if found is None:
        return False
    said = {k: quoted or plain for k, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', found[1])}

    def h(text: str) -> str:
        return hashlib.new(algorithm, text.encode()).hexdigest()

    secret = h(f"{said['username']}:{said['realm']}:{password}")
    path = request.split()[1]
    middle = f"{said['nc']}:{said['cnonce']}:{said['qop']}:" if "qop" in said else ""
    return said["uri"] == path and said["response"] == h(f"{secret}:{said['nonce']}:{middle}{h(f'GET:{path}')}")
