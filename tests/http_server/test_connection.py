"""What comes over a socket that no HTTP library would send, and what it may cost."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import re
import socket
import ssl
import threading
from asyncio import sslproto
from pathlib import Path

import pytest
from support import onnxmodels
from support.http import CLIENT_WAIT_S, Forwarding, Site, resident
from support.processes import until
from support.tls import make_certificate

from edge.app import assembly
from edge.http.auth import TLS_BUFFER, bound_buffers
from edge.http.connection import Connection
from edge.http.listener import SPARE
from edge.http.options import Limits
from edge.http.reader import BodyBudget
from edge.http.shared import Shared

HOST = b"Host: localhost\r\n"
GET = b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n"
CHUNKED = b"POST /predict HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"


def raw(site: Site, data: bytes) -> socket.socket:
    made = socket.create_connection(site.address, timeout=CLIENT_WAIT_S)
    made.sendall(data)
    return made


def read_to_end(client: socket.socket) -> bytes:
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while data := client.recv(65536):
            found += data
    return found


def read_answer(client: socket.socket) -> tuple[int, bytes]:
    """One response with a length: its status and body."""
    found = b""
    while b"\r\n\r\n" not in found:
        found += client.recv(65536)
    head, _, body = found.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
    while len(body) < length:
        body += client.recv(65536)
    return int(head[9:12]), body


# --- clients that are right -----------------------------------------------------------------------------


def test_a_client_that_waits_for_100_continue_is_told_to_go_on(numbers):
    ask = b"POST /predict HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 7\r\n\r\n"
    with raw(numbers, ask) as client:
        assert client.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"[1,2,3]")
        assert read_answer(client)[0] == 200


def test_a_client_of_http_1_0_needs_no_host(numbers):
    with raw(numbers, b"POST /predict HTTP/1.0\r\nContent-Length: 7\r\n\r\n[1,2,3]") as client:
        assert read_to_end(client).startswith(b"HTTP/1.1 200")


def test_a_client_of_http_1_1_without_a_host_is_told_so(numbers):
    with raw(numbers, b"GET /v2 HTTP/1.1\r\n\r\n") as client:
        status, body = read_answer(client)

    assert status == 400
    assert "Host" in json.loads(body)["error"]


@pytest.mark.parametrize("line", [b"a: b\r\n", b"x-%d: 1\r\n", b"a:\r\n"])
def test_a_head_of_20_000_lines_is_too_long_however_it_comes(numbers, line):
    lines = b"".join(line % n if b"%d" in line else line for n in range(20_000))
    with raw(numbers, b"GET /health HTTP/1.1\r\n" + HOST + lines + b"\r\n") as client:
        assert read_answer(client)[0] == 431


def test_a_large_body_that_comes_with_its_head_is_no_long_head(numbers):
    body = b"[1,2,3" + b" " * 100_000 + b"]"
    with raw(
        numbers, b"POST /predict HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    ) as client:
        assert read_answer(client)[0] == 200


def test_requests_before_what_is_none_are_answered_though_all_came_together(numbers):
    ask = b"POST /predict HTTP/1.1\r\n" + HOST + b"Content-Length: 7\r\n\r\n[1,2,3]"
    with raw(numbers, ask * 3 + b"\x00\x01\r\n\r\n") as client:
        found = read_to_end(client)

    assert re.findall(rb"HTTP/1.1 (\d+)", found) == [b"200"] * 3 + [b"400"]


@pytest.mark.parametrize("version", [b"", b" HTTP/2.0", b" HTTP/0.9"])
def test_a_version_that_is_not_spoken_is_told_so(numbers, version):
    with raw(numbers, b"POST /predict%b\r\n" % version + HOST + b"Content-Length: 7\r\n\r\n[1,2,3]") as client:
        assert read_answer(client)[0] == 505


@pytest.mark.parametrize(
    "line", [b"FOO /health", b"get /health", b"CONNECT x:1", b"TRACE /nothing", b"DELETE /nothing"]
)
def test_a_method_that_is_done_nowhere_is_told_so(numbers, line):
    with raw(numbers, line + b" HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n") as client:
        assert re.findall(rb"HTTP/1.1 (\d+)", read_to_end(client)) == [b"501"]


class ResetTransport(asyncio.Transport):
    """Its client has reset the connection, which nothing tells before its end is to be sent."""

    def __init__(self):
        super().__init__()
        self.ended = False

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def resume_reading(self):
        pass

    def is_closing(self):
        return self.ended

    def write(self, data):
        pass

    def can_write_eof(self):
        return True

    def write_eof(self):
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    def abort(self):
        self.ended = True


def test_a_client_that_resets_while_it_is_refused_is_no_error():
    async def refuse():
        limits, transport = Limits(), ResetTransport()
        shared = Shared(None, limits, BodyBudget(1000), lambda: b"")
        connection = Connection(shared, "127.0.0.1", lambda _: None, scheme="http", spare=False)
        connection.connection_made(transport)
        shared.buffer[:3] = b"\0\0\0"
        connection.buffer_updated(3)
        return transport

    assert asyncio.run(refuse()).ended


@pytest.mark.parametrize(
    ("path", "allowed"), [(b"/health", b"GET"), (b"/predict", b"POST"), (b"/v1/models/numbers:predict", b"POST")]
)
def test_a_method_that_is_not_for_a_path_is_told_which_are(numbers, path, allowed):
    method = b"PUT" if allowed == b"GET" else b"GET"
    with raw(numbers, b"%b %b HTTP/1.1\r\n" % (method, path) + HOST + b"Connection: close\r\n\r\n") as client:
        answer = read_to_end(client)
    assert answer.startswith(b"HTTP/1.1 405")
    assert b"\r\nallow: %b\r\n" % allowed in answer


@pytest.mark.parametrize(("target", "status"), [(b"http://localhost/health", 200), (b"http://evil/health", 403)])
def test_the_host_of_a_whole_url_counts_before_the_header(numbers, target, status):
    with raw(numbers, b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % target) as client:
        assert read_answer(client)[0] == status


def test_a_body_in_another_transfer_coding_is_refused_by_name(numbers):
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    with raw(numbers, head + b"0\r\n\r\n") as client:
        status, said = read_answer(client)

    assert (status, b"'gzip, chunked'" in said) == (501, True)


def test_requests_that_come_together_are_answered_in_order(numbers):
    asks = [b"POST /predict HTTP/1.1\r\n" + HOST + b"Content-Length: 7\r\n\r\n[%d,2,3]" % i for i in range(5)]
    last = b"GET /health HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
    with raw(numbers, b"".join(asks) + last) as client:
        answers = read_to_end(client)

    assert [float(v) for v in re.findall(rb'"y\[0\]","value":([0-9.]+)', answers)] == [0, 1, 2, 3, 4]
    assert answers.endswith(b'{"status":"ok"}')


def test_a_body_in_chunks_of_a_byte_is_whole(numbers):
    body = json.dumps([1, 2, 3] * 3000).encode()[:-1] + b"]"
    chunks = b"".join(b"00000001\r\n%c\r\n" % byte for byte in body)
    with raw(numbers, CHUNKED + chunks + b"0\r\n\r\n") as client:
        status, answer = read_answer(client)

    assert status == 400
    assert "9000 values" in json.loads(answer)["error"]


def test_a_body_past_the_limit_is_read_on_so_that_the_answer_arrives(serve, models):
    site = serve(onnxmodels.identity(models / "past.onnx"), max_body=1000)
    for _ in range(5):  # without it, some of them end in a reset
        client = site.connect()
        client.request("POST", "/predict", b" " * 20_000_000)
        answer = client.getresponse()
        assert answer.status == 413
        assert b"--http-max-body" in answer.read()
        client.close()


# --- clients that are wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [b"\x16\x03\x01\x02\x00\x01\x00" + b"x" * 50, b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n",
     b"POST / HTTP/1.1\r\nContent-Length: -7\r\n\r\n",
     b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 7\r\n\r\n"],
)  # fmt: skip
def test_what_is_no_http_is_a_400_in_our_words_and_no_line_in_the_log(numbers, data, caplog):
    with raw(numbers, data) as client:
        status, body = read_answer(client)

    assert status == 400
    assert json.loads(body)["error"]
    assert not caplog.records


def test_readers_of_events_that_left_are_forgotten_whatever_they_asked_behind_them(numbers, caplog):
    for _ in range(40):  # more than may read at once
        with raw(numbers, b"GET /events HTTP/1.1\r\n" + HOST + b"\r\n" + GET) as client:
            assert client.recv(12) in (b"HTTP/1.1 200", b"HTTP/1.1 503")

    def reads() -> bool:
        with raw(numbers, b"GET /events HTTP/1.1\r\n" + HOST + b"\r\n") as client:
            return client.recv(12) == b"HTTP/1.1 200"

    until(reads, "there is room for another")
    assert not caplog.records


FLOODS = {
    "a header without end": (b"GET /v2 HTTP/1.1\r\n" + HOST + b"X: ", b"a" * 65536),
    "headers without end": (b"GET /v2 HTTP/1.1\r\n" + HOST, b"X-a: b\r\n" * 8192),
    "an address without end": (b"GET /", b"a" * 65536),
    "trailers without end": (CHUNKED + b"1\r\n[\r\n0\r\n", b"X-a: b\r\n" * 8192),
    "an extension of a chunk without end": (CHUNKED + b"1;", b"a" * 65536),
    "requests without end": (b"", GET * 2000),
    "requests behind one that waits for its body": (b"", CHUNKED + b"0\r\n\r\n" + GET * 2000),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_costs_no_memory_and_ends(serve, models, name):
    numbers = serve(onnxmodels.identity(models / "flooded.onnx"), limits=Limits(linger_s=0.5, sweep_s=0.1))
    numbers.get("/health")
    begin, more = FLOODS[name]
    before = resident()
    with raw(numbers, begin) as client, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        client.settimeout(0.2)
        for _ in range(600):  # some 40 MB, or until nobody takes any more
            with contextlib.suppress(TimeoutError):
                client.sendall(more)

    assert resident() - before < 30e6
    assert numbers.get("/health").status == 200


STRANGER = b"POST /predict HTTP/1.1\r\nHost: evil.example\r\n"


def test_a_refused_client_may_not_keep_the_connection_with_the_rest_of_a_body(serve, models):
    site = serve(onnxmodels.identity(models / "rest.onnx"), limits=Limits(rest_s=0.2, sweep_s=0.05))
    with raw(site, STRANGER + b"Content-Length: 100\r\n\r\n") as client:
        assert read_answer(client)[0] == 403
        client.sendall(b"x")

        assert read_to_end(client) == b""


def test_the_rest_of_a_refused_body_leaves_the_connection_as_it_was(numbers):
    with raw(numbers, STRANGER + b"Content-Length: 10\r\n\r\n") as client:
        assert read_answer(client)[0] == 403
        client.sendall(b"x" * 10 + GET)

        assert read_answer(client) == (200, b'{"status":"ok"}')


def test_connections_that_never_begin_their_tls_are_bounded(serve, models, tmp_path):
    cert, key = make_certificate(tmp_path)
    impatient = Limits(head_s=1)
    site = serve(onnxmodels.identity(models / "silent.onnx"), cert=cert, key=key, connections=2, limits=impatient)
    silent = [raw(site, b"") for _ in range(2 + SPARE + 5)]

    for late in silent[-5:]:
        assert read_to_end(late) == b""
    for one in silent:
        one.close()

    trusting = ssl.create_default_context(cafile=str(cert))

    def asks() -> bool:
        with contextlib.suppress(OSError), contextlib.closing(site.connect(trusting)) as client:
            client.request("GET", "/health")
            return client.getresponse().status == 200
        return False

    until(asks, "there is room again")


# --- bugs -----------------------------------------------------------------------------------------------


def test_a_bug_costs_its_own_request_alone_and_is_answered_in_json(serve, models, caplog):
    loaded = assembly.load_file(onnxmodels.identity(models / "bug.onnx"))
    engine = Faulty(loaded.engine)
    site = serve(loaded, engine=engine)
    request = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}

    answer = site.infer(request)
    engine.faulty = False

    assert answer.status == 500
    assert "a bug of edge-run's: ZeroDivisionError" in answer.error
    assert "request failed" in caplog.text
    assert site.infer(request).status == 200


class Faulty(Forwarding):
    """An engine with a bug."""

    faulty = True

    def infer(self, tensors):
        if self.faulty:
            raise ZeroDivisionError
        return super().infer(tensors)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("connection", [b"Upgrade, close", b"close\r\nConnection: Upgrade"])
def test_an_offer_of_another_protocol_by_a_client_that_wants_no_further_answer_is_as_good_as_not_made(
    numbers, connection, chunked
):
    body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,3],"data":[1,2,3]}]}'
    framing = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" if chunked else b"Content-Length: %d\r\n\r\n"
    head = b"POST /v2/models/numbers/infer HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nConnection: " + connection
    with socket.create_connection(numbers.address, timeout=150) as client, client.makefile("rb") as stream:
        client.sendall(head + b"\r\n" + framing % len(body) + body + (b"\r\n0\r\n\r\n" if chunked else b""))
        answer = stream.read()

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b'"data":[1.0,2.0,3.0]}]}')


def test_an_evicted_connection_is_gone_whether_or_not_its_client_answers_the_end_of_tls(serve, models, tmp_path):
    cert, key = make_certificate(tmp_path)
    model = onnxmodels.identity(models / "evicted.onnx")
    site = serve(model, cert=cert, key=key, connections=2, limits=Limits(evict_after_s=0.0))
    context = ssl.create_default_context(cafile=str(cert))

    def ask() -> ssl.SSLSocket:
        client = context.wrap_socket(socket.create_connection(site.address, CLIENT_WAIT_S), server_hostname="localhost")
        client.sendall(GET)
        assert read_answer(client)[0] == 200
        return client

    before, clients = len(list(Path("/proc/self/fd").iterdir())), []
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            clients.append(stack.enter_context(ask()))
        assert len(list(Path("/proc/self/fd").iterdir())) - before - len(clients) < 10


def test_the_server_ends_though_connections_never_began_their_tls(models, tmp_path):
    cert, key = make_certificate(tmp_path)
    model = onnxmodels.identity(models / "unbegun.onnx")
    forever = 10.0 * CLIENT_WAIT_S
    site = Site(model, cert=cert, key=key, grace_s=forever, limits=Limits(head_s=forever)).start()
    with socket.create_connection(site.address, CLIENT_WAIT_S), socket.create_connection(site.address, CLIENT_WAIT_S):
        until(lambda: site.metrics.snapshot()["http_connections"] == 2, "both are accepted")
        ending = threading.Thread(target=site.stop, daemon=True)
        ending.start()
        ending.join(CLIENT_WAIT_S)
        assert not ending.is_alive()


def test_the_buffers_of_tls_are_small_where_asyncio_says_how_large_they_are(monkeypatch):
    bound_buffers()
    assert sslproto.SSLProtocol.max_size == TLS_BUFFER
    monkeypatch.delattr(sslproto.SSLProtocol, "max_size")
    bound_buffers()
    assert not hasattr(sslproto.SSLProtocol, "max_size")
