"""Requests that come again, cut anywhere, behind each other: the answers are those of a fresh connection each."""

from __future__ import annotations

import asyncio
import itertools
import os
import random

import pytest
from support.wire import HOT, SLOW, TOKEN, answers, head, responses, shared, talk, whole

from edge.http.auth import Token
from edge.http.fastpath import learn

UPGRADE = TOKEN + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"


@pytest.fixture(params=[True, False], ids=["quick", "in a task"])
def server(request):
    return shared(quick=request.param)


# --- what is known is answered ------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 20, 100, 10_000])
def test_a_request_in_pieces_is_answered_as_one_that_comes_whole(server, cut):
    data = whole(b"4,5,6") + whole(b"7")
    pieces = [data[at : at + cut] for at in range(0, len(data), cut)]

    found = answers(server, [whole(b"1,2,3"), *pieces, whole(b"8")])

    assert found == [(200, b"1,2,3"), (200, b"4,5,6"), (200, b"7"), (200, b"8")]


def test_a_head_that_comes_apart_from_its_body_is_answered_each_time(server):
    pieces = [piece for body in (b"1", b"22", b"333") for piece in (head(len(body)), body)]

    assert answers(server, pieces) == [(200, b"1"), (200, b"22"), (200, b"333")]


def test_requests_behind_a_slower_one_keep_their_order(server):
    slower = whole(b"x", path=SLOW)

    found = answers(server, [whole(b"1"), slower, whole(b"2") + slower + whole(b"3"), whole(b"4")])

    assert [body for _, body in found] == [b"1", b"slow:x", b"2", b"slow:x", b"3", b"4"]


@pytest.mark.parametrize(("path", "status"), [(SLOW, 200), (b"/nothing", 404)])
def test_what_looks_like_a_known_request_inside_a_body_is_a_body(server, path, status):
    inner = whole(b"4,5,6")
    outer = head(len(inner) + 9, path=path) + b"["

    found = answers(server, [whole(b"1"), outer, inner, b"12345678", whole(b"2")])

    assert [s for s, _ in found] == [200, status, 200]


# --- what is not known is read anew ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "status"),
    [
        (head(1, b"Authorization: Bearer secreT\r\n"), 401),
        (head(1, b""), 401),
        (head(1, TOKEN + b"Origin: http://evil.example\r\n"), 403),
        (head(1).replace(b"localhost", b"localhorst"), 403),
        (head(1, path=b"/v2/models/another/infer"), 404),
        (head(1, TOKEN + b"Authorization: Bearer secret\r\n"), 400),
    ],
)
def test_another_head_is_checked_as_the_first_was(server, other, status):
    found = answers(server, [whole(b"1"), whole(b"2"), other + b"x", whole(b"3")])

    assert [s for s, _ in found] == [200, 200, status, 200]


@pytest.mark.parametrize("length", [b"-1", b"+3", b"3 ", b" 3", b"0x3", b"", b"99999999", b"3\r\nContent-Length: 3"])
def test_a_length_that_is_no_number_is_read_as_on_a_fresh_connection(server, length):
    odd = head(3).replace(b"Content-Length: 3", b"Content-Length: " + length) + b"{:}"

    assert answers(server, [whole(b"1"), odd])[1:] == answers(server, [odd])


@pytest.mark.parametrize(
    "more",
    [b"Transfer-Encoding: identity\r\n", b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\n", b"content-length: 9\r\n"],
)
def test_a_head_that_says_more_of_its_body_is_not_learned(more):
    assert learn(head(9) + b"x" * 9, 9, lambda body: None) is not None
    assert learn(head(9, more) + b"x" * 9, 9, lambda body: None) is None


def test_a_head_that_is_known_is_no_longer_let_in_when_the_token_has_changed(tmp_path):
    file = tmp_path / "token"
    file.write_text("secret")
    token = Token(None, file)

    def change():
        file.write_text("another")
        os.utime(file, ns=(1, 1))
        token.refresh()

    found = answers(shared(token=token), [whole(b"1"), whole(b"2"), change, whole(b"3")])

    assert [status for status, _ in found] == [200, 200, 401]


# --- an offer to change the protocol ------------------------------------------------------------------------


@pytest.mark.parametrize("path", [HOT, SLOW])
@pytest.mark.parametrize("apart", [True, False])
def test_an_offer_to_change_the_protocol_changes_nothing_and_the_body_belongs_to_the_request(server, path, apart):
    ask = whole(b"hello", UPGRADE, path)
    pieces = [ask[:-5], ask[-5:-2], ask[-2:]] if apart else [ask]

    found = answers(server, [*pieces, *pieces, whole(b"1")])

    answer = b"hello" if path == HOT else b"slow:hello"
    assert found == [(200, answer), (200, answer), (200, b"1")]


def test_an_offer_with_a_body_in_chunks_is_read_too(server):
    chunked = head(0, UPGRADE).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")

    found = answers(server, [chunked, b"5\r\nhello\r\n", b"0\r\n\r\n" + whole(b"1")])

    assert found == [(200, b"hello"), (200, b"1")]


def test_an_offer_without_a_body_is_answered(server):
    get = b"GET /slow HTTP/1.1\r\nHost: localhost\r\n" + UPGRADE + b"\r\n"

    assert answers(server, [get, get + whole(b"1")]) == [(200, b"slow:"), (200, b"slow:"), (200, b"1")]


# --- whatever comes ------------------------------------------------------------------------------------------


def test_streams_of_requests_are_answered_the_same_with_and_without_the_heads_that_are_known():
    chance = random.Random(5)
    streams = [_stream(chance) for _ in range(1500)]
    with_heads, without = shared(), shared(learn=lambda *_: None)

    known = [answers(with_heads, stream) for stream in streams]
    plain = [answers(without, stream) for stream in streams]

    assert known == plain
    assert sum(map(len, plain)) > 3000


def _stream(chance: random.Random) -> list[bytes]:
    """A few requests, some of them odd, cut anywhere."""
    asks = [whole(b"1")]
    for _ in range(chance.randrange(1, 6)):
        ask = _request(chance)[0]
        if chance.random() < 0.2:
            at = chance.randrange(len(ask))
            ask = ask[:at] + chance.choice([b"", b"\r\n", b"0", b"x", b": "]) + ask[at + chance.randrange(2) :]
        asks.append(ask)
    return _cut(chance, b"".join(asks), chance.choice([0, 1, 3]))


def _request(chance: random.Random) -> tuple[bytes, tuple[int, bytes]]:
    """A good request and its answer."""
    body = chance.randbytes(chance.choice([0, 1, 3, 3, 3, 40, 5000]))
    kind = chance.random()
    if kind < 0.5:
        return whole(body), (200, body)
    if kind < 0.65:
        return whole(body, UPGRADE), (200, body)
    if kind < 0.8:
        return whole(body, path=SLOW), (200, b"slow:" + body)
    if kind < 0.9:
        half = len(body) // 2
        parts = [b"%x\r\n%b\r\n" % (len(p), p) for p in (body[:half], body[half:]) if p]
        chunked = head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        return chunked + b"".join(parts) + b"0\r\n\r\n", (200, body)
    return whole(body, b""), (401, answers(shared(), [whole(b"", b"")])[0][1])


def _cut(chance: random.Random, data: bytes, cuts: int) -> list[bytes]:
    bounds = [0, *sorted(chance.sample(range(1, len(data)), min(cuts, len(data) - 1))), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(bounds)]


AT_ONCE = 250
"""On one connection; of more that wait unread a server keeps none, which is another test's."""


@pytest.mark.parametrize(
    "connections", [12, pytest.param(400, marks=[pytest.mark.long, pytest.mark.timeout(1200)])], ids=["few", "many"]
)
@pytest.mark.parametrize("together", [1, 7], ids=["one by one", "seven together"])
def test_many_requests_on_one_connection_are_answered_as_on_fresh_ones(server, connections, together):
    chance = random.Random(7)
    kinds = [_request(chance) for _ in range(200)]
    fresh = {ask: answers(server, [ask])[0] for ask, _ in kinds}
    for _ in range(connections):
        asked = [kinds[chance.randrange(200)] for _ in range(AT_ONCE)]
        pieces = []
        for group in (asked[at : at + together] for at in range(0, AT_ONCE, together)):
            pieces += _cut(chance, b"".join(ask for ask, _ in group), chance.choice([0, 0, 1, 2]))

        one = responses(asyncio.run(talk(server, pieces)))

        assert one == [fresh[ask] for ask, _ in asked]
        assert one == [answer for _, answer in asked]
