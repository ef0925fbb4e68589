"""Requests that come again on a connection: read with less, and answered no other way."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import json
import random
import re
import socket
from collections.abc import Iterator

import pytest
from support import onnxmodels
from support.http import CLIENT_WAIT_S, Site, tensor
from support.processes import until

from edge.http import limits
from edge.http.fastpath import learn
from edge.http.scheduling import Runs

PATH = b"/v2/models/numbers/infer"


@pytest.fixture(scope="module")
def quick(models) -> Iterator[Site]:
    """A server that knows of itself that it is quick, whatever else this machine does."""
    patch = pytest.MonkeyPatch()
    patch.setattr(Runs, "_is_quick", lambda self, size: size <= 16_384)
    site = Site(onnxmodels.identity(models / "numbers.onnx"), token="secret").start()
    yield site
    site.stop()
    patch.undo()


def body(*values: float) -> bytes:
    return json.dumps({"inputs": [tensor("x", [values], "FP32")]}).encode()


def head(length: int, more: bytes = b"Authorization: Bearer secret\r\n", path: bytes = PATH) -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%b\r\n" % (path, length, more)


def whole(*values: float) -> bytes:
    return head(len(body(*values))) + body(*values)


class Wire(asyncio.Transport):
    """What a connection writes to, in the place of a socket."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 1), "peername": ("127.0.0.1", 2)})
        self.sent = bytearray()
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0


def on_a_wire(site: Site, pieces: list[bytes]) -> tuple[limits.Connection, list[tuple[int, bytes]]]:
    """The connection that has read `pieces`, and what it answered to all of them that were whole."""
    server, loop = site.server._server, site.server._loop
    made: limits.Connection
    wire = Wire()

    async def read() -> limits.Connection:
        made = server.config.http_protocol_class(config=server.config, server_state=server.server_state, app_state={})
        made.connection_made(wire)
        for piece in pieces:
            made.data_received(piece)
            await asyncio.sleep(0)
        async with asyncio.timeout(CLIENT_WAIT_S):
            while not made.transport.is_closing() and not settled(made):
                await asyncio.sleep(0)
        wire.closed = True
        made.connection_lost(None)
        return made

    made = asyncio.run_coroutine_threadsafe(read(), loop).result(CLIENT_WAIT_S)
    return made, responses(wire.sent)


def settled(made: limits.Connection) -> bool:
    """True where nothing is left to answer but what did not come whole."""
    cycle = made.cycle
    return not made.pipeline and (cycle is None or cycle.response_complete or cycle.more_body)


def responses(data: bytes | bytearray) -> list[tuple[int, bytes]]:
    """Status and body of each."""
    found, rest = [], bytes(data)
    while match := re.match(rb"HTTP/1\.1 (\d+) .*?content-length: (\d+)\r\n.*?\r\n\r\n", rest, re.DOTALL):
        end = match.end() + int(match[2])
        found.append((int(match[1]), rest[match.end() : end]))
        rest = rest[end:]
    return found


def values(answers: list[tuple[int, bytes]]) -> list[list[float]]:
    assert {status for status, _ in answers} == {200}
    return [json.loads(text)["outputs"][0]["data"] for _, text in answers]


# --- what is known is answered ----------------------------------------------------------------------------


def test_the_same_head_is_read_once_whatever_the_bodies_and_their_lengths(quick):
    asked = [[1, 2, 3], [4.5, 5.25, 6], [1000, 2000.125, 3e6], [0, 0, 0]]

    made, answers = on_a_wire(quick, [whole(*row) for row in asked])

    assert made.server_state.total_requests >= len(asked)
    assert (b"content-length", str(len(body(1, 2, 3))).encode()) in made.scope["headers"]  # the first one's
    assert values(answers) == asked


def test_inputs_of_the_contract_come_again_too_each_with_a_number_of_its_own(quick):
    rows = [b"[1, 2, 3]", b"[4.25, 5, 6]", b"[1, 2]", b"[7, 8, 9]"]

    made, answers = on_a_wire(quick, [head(len(row), path=b"/predict") + row for row in rows])
    told = [json.loads(text) for _, text in answers]

    assert (b"content-length", b"9") in made.scope["headers"]  # the first one's
    assert [status for status, _ in answers] == [200, 200, 400, 200]
    assert [p["value"] for p in told[1]["predictions"]] == [4.25, 5, 6]
    assert told[3]["seq"] > told[1]["seq"] > told[0]["seq"]


def test_what_is_asked_in_the_query_is_not_lost(quick):
    row = b"[1, 2, 3]"
    drawn = head(len(row), path=b"/predict?annotate=1") + row

    _, answers = on_a_wire(quick, [head(len(row), path=b"/predict") + row, drawn, drawn])

    assert [status for status, _ in answers] == [200, 400, 400]
    assert b"annotate=1 is for one picture" in answers[1][1]


def test_a_body_that_comes_behind_its_head_is_waited_for(quick):
    later = body(4, 5, 6)

    made, answers = on_a_wire(quick, [whole(1, 2, 3), head(len(later)), later])

    assert values(answers) == [[1, 2, 3], [4, 5, 6]]
    assert made._head_timer is None


def test_a_client_that_always_sends_its_bodies_apart_is_known_too(quick):
    rows = [[1, 2, 3], [4.5, 5, 6], [7.25, 8, 9]]
    pieces = [piece for row in rows for piece in (head(len(body(*row))), body(*row))]

    made, answers = on_a_wire(quick, pieces)

    assert values(answers) == rows
    assert (b"content-length", str(len(body(1, 2, 3))).encode()) in made.scope["headers"]  # the first one's
    assert made._head_timer is None


@pytest.mark.parametrize(
    ("path", "more", "status"),
    [(b"/nothing", b"Authorization: Bearer secret\r\n", 404), (PATH, b"", 401)],
)
def test_who_is_refused_is_told_so_before_the_body_comes(quick, path, more, status):
    _, answers = on_a_wire(quick, [head(60, more, path)])

    assert [s for s, _ in answers] == [status]


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_request_in_pieces_is_whole_in_the_end(quick, cut):
    data = whole(4, 5, 6)
    pieces = [data[at : at + cut] for at in range(0, len(data), cut)]

    _, answers = on_a_wire(quick, [whole(1, 2, 3), *pieces, whole(7, 8, 9)])

    assert values(answers) == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


def test_requests_behind_one_that_is_known_keep_their_order(quick):
    _, answers = on_a_wire(quick, [whole(1, 2, 3), whole(4, 5, 6) + whole(7, 8, 9) + whole(1, 1, 1)[:90],
                                   whole(1, 1, 1)[90:], whole(2, 2, 2)])  # fmt: skip

    assert values(answers) == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [1, 1, 1], [2, 2, 2]]


def test_a_known_request_waits_for_a_slower_one_before_it(quick):
    slower = head(0).replace(PATH, b"/metrics").replace(b"POST", b"GET")

    _, answers = on_a_wire(quick, [whole(1, 2, 3), slower, whole(4, 5, 6), whole(7, 8, 9)])

    assert b"edge_run_build_info" in answers[1][1]
    assert values([*answers[:1], *answers[2:]]) == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


@pytest.mark.parametrize(("path", "status"), [(PATH, 400), (b"/nothing", 404)])
def test_what_looks_like_a_known_request_inside_a_body_is_a_body(quick, path, status):
    inner = whole(4, 5, 6)
    outer = head(len(inner) + 9, path=path) + b"["

    _, answers = on_a_wire(quick, [whole(1, 2, 3), outer, inner, b"12345678", whole(7, 8, 9)])

    assert [s for s, _ in answers] == [200, status, 200]


def test_a_bad_body_is_refused_and_counted_as_ever(quick):
    failed = quick.metrics.counter("http_failed")

    _, answers = on_a_wire(quick, [whole(1, 2, 3), whole(1, 2), head(0), head(3) + b"{:}", whole(4, 5, 6)])

    assert [status for status, _ in answers] == [200, 400, 400, 400, 200]
    assert quick.metrics.counter("http_failed") == failed + 3


# --- what is not known is read anew ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "status"),
    [
        (head(len(body(1, 2, 3)), b"Authorization: Bearer secreT\r\n"), 401),
        (head(len(body(1, 2, 3)), b""), 401),
        (head(len(body(1, 2, 3)), b"Authorization: Bearer secret\r\nOrigin: http://evil.example\r\n"), 403),
        (head(len(body(1, 2, 3))).replace(b"localhost", b"localhorst"), 403),
        (head(len(body(1, 2, 3)), path=b"/v2/models/another/infer"), 404),
    ],
)
def test_another_head_is_checked_as_the_first_was(quick, other, status):
    _, answers = on_a_wire(quick, [whole(1, 2, 3), whole(1, 2, 3), other + body(1, 2, 3), whole(1, 2, 3)])

    assert [s for s, _ in answers] == [200, 200, status, 200]


@pytest.mark.parametrize("length", [b"-1", b"+3", b"3 ", b" 3", b"0x3", b"", b"99999999", b"3\r\nContent-Length: 3"])
def test_a_length_that_is_no_number_is_read_as_it_ever_was(quick, length):
    odd = head(3).replace(b"Content-Length: 3", b"Content-Length: " + length) + b"{:}"

    _, (first, *known) = on_a_wire(quick, [whole(1, 2, 3), odd])
    _, fresh = on_a_wire(quick, [odd])

    assert first[0] == 200
    assert known == fresh


@pytest.mark.parametrize(
    "more",
    [b"Transfer-Encoding: identity\r\n", b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\n", b"content-length: 9\r\n"],
)
def test_a_head_that_says_more_of_its_body_is_not_learned(more):
    data = head(9, more) + b"x" * 9

    assert learn(head(9) + b"x" * 9, 9, lambda body: None) is not None
    assert learn(data, 9, lambda body: None) is None


def test_streams_of_requests_are_answered_the_same_with_and_without_it(quick, monkeypatch):
    chance = random.Random(5)
    streams = [_stream(chance) for _ in range(500)]

    known = [on_a_wire(quick, stream)[1] for stream in streams]
    monkeypatch.setattr(limits, "learn", lambda *_: None)
    plain = [on_a_wire(quick, stream)[1] for stream in streams]

    assert known == plain
    assert sum(map(len, plain)) > 1000


def _stream(chance: random.Random) -> list[bytes]:
    """A few requests, some of them odd, cut anywhere."""
    asks = [whole(1, 2, 3)]
    for _ in range(chance.randrange(1, 6)):
        ask = whole(*(chance.choice([0, 1.5, -3, 1e10]) for _ in range(chance.choice([3, 3, 3, 2]))))
        if chance.random() < 0.2:
            at = chance.randrange(len(ask))
            ask = ask[:at] + chance.choice([b"", b"\r\n", b"0", b"x", b": "]) + ask[at + chance.randrange(2) :]
        asks.append(chance.choice([ask, ask, ask, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"]))
    data = b"".join(asks)
    end = head(0).replace(b"POST", b"GET").replace(b"Content-Length: 0", b"Connection: close")
    cuts = sorted(chance.sample(range(len(asks[0]), len(data)), chance.choice([0, 1, 3])))
    bounds = [0, len(asks[0]), *cuts, len(data)]
    return [*(data[a:b] for a, b in itertools.pairwise(bounds) if b > a), end]


# --- its end -----------------------------------------------------------------------------------------------


def connected(site: Site) -> socket.socket:
    """A client whose head is known."""
    client = socket.create_connection(site.address, timeout=CLIENT_WAIT_S)
    for _ in range(2):
        client.sendall(whole(1, 2, 3))
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
    return client


@pytest.mark.parametrize("known", [True, False])
def test_a_head_without_its_body_is_cut_off(quick, monkeypatch, known):
    monkeypatch.setattr(limits, "HEAD_WAIT_S", 0.2)
    with connected(quick) if known else socket.create_connection(quick.address, timeout=CLIENT_WAIT_S) as client:
        client.sendall(head(60))

        assert client.recv(10) == b""


def test_a_connection_in_use_outlasts_its_timer_and_an_idle_one_does_not(quick):
    def time_is_up(later_s: float) -> None:
        done: concurrent.futures.Future[None] = concurrent.futures.Future()

        def fire() -> None:
            made._answered_s -= later_s
            made.timeout_keep_alive_handler()
            done.set_result(None)

        site.server._loop.call_soon_threadsafe(fire)
        done.result(CLIENT_WAIT_S)

    site = quick
    until(lambda: not site.server._server.server_state.connections, "nobody else is there")
    with connected(site) as client:
        (made,) = site.server._server.server_state.connections
        time_is_up(0)
        client.sendall(whole(4, 5, 6))
        assert client.recv(4096).startswith(b"HTTP/1.1 200")

        time_is_up(1000)
        assert client.recv(10) == b""
