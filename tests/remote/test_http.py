"""Requests to a server that is none, or that cannot be sent: one line, without what may be secret or a stranger's."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from edge.errors import UnavailableError
from edge.remote.address import Address
from edge.remote.http import HttpClient


def asked(target: str, headers: dict[str, str], answer: bytes = b"") -> str:
    """What is said of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = HttpClient(Address("http", f"127.0.0.1:{server.getsockname()[1]}"))
        client.connect()
        there, _ = server.accept()

        def reply() -> None:
            with there:
                if there.recv(65_536):
                    there.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        try:
            with pytest.raises(UnavailableError) as told:
                client.ask("PUT", target, headers, b"x")
        finally:
            client.close()
            thread.join()
    return str(told.value)


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/k?sig=s3cret x", {}),
        ("/k?sig=s3cret\n", {}),
        ("/k?sig=s3cret\u00e9", {}),
        ("/k", {"Authorization": "Bearer s3cret\nx"}),
        ("/k", {"Authorization": "Bearer s3cret\u20ac"}),
    ],
)
def test_what_cannot_be_sent_is_told_without_being_shown(target, headers):
    said = asked(target, headers)

    assert "holds what HTTP cannot carry" in said
    assert "s3cret" not in said


def test_a_server_that_sends_a_byte_now_and_then_holds_no_thread():
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def trickle() -> None:
            there, _ = server.accept()
            with there, contextlib.suppress(OSError):
                there.recv(65_536)
                there.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
                while not done.wait(0.02):
                    there.sendall(b"x")

        thread = threading.Thread(target=trickle)
        thread.start()
        client = HttpClient(Address("http", f"127.0.0.1:{server.getsockname()[1]}"), timeout_s=0.1)
        client.connect()
        try:
            with pytest.raises(UnavailableError, match="takes too long"):
                client.ask("POST", "/k", {}, b"x")
        finally:
            client.close()
            done.set()
            thread.join()


def test_what_is_no_http_is_told_without_being_quoted():
    said = asked("/k", {}, b"\x1b[2J\x1b[31mgot you\r\n\r\n")

    assert said.endswith("what answers there does not speak HTTP")
