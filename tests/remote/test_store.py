"""The sink that is made of a store: which rows are confirmed, which are refused, which wait."""

from __future__ import annotations

import pytest

from edge.data.message import Message
from edge.errors import ConfigError, SampleError, UnavailableError
from edge.plugins.protocols import Entry
from edge.plugins.reach import Reached
from edge.remote.address import parse
from edge.remote.store import PartlyAwayError, PartlyRefusedError, StoreSink
from edge.sinks.webhook import WebhookOptions


class Lane:
    def __init__(self):
        self.keys = []

    def confirmed(self, keys):
        self.keys += keys


class Shelf:
    """A store that refuses the numbers of `bad`; with `parts` it stores the others of the same call."""

    def __init__(self, bad=(), *, parts=False, away_at=None):
        self.bad, self.parts, self.away_at = set(bad), parts, away_at
        self.there, self.calls = [], []

    def connect(self):
        """Always there."""

    def write(self, records):
        self.calls.append(len(records))
        left = [r for r in records if r.seq in self.bad]
        if self.away_at in [r.seq for r in records]:
            waits = [r for r in records if r.seq >= self.away_at]
            self.there += [r.seq for r in records if r.seq < self.away_at]
            raise PartlyAwayError("went away", waits)
        if left and self.parts:
            self.there += [r.seq for r in records if r.seq not in self.bad]
            raise PartlyRefusedError("too large", left)
        if left:
            raise SampleError("one of them is bad")
        self.there += [r.seq for r in records]

    def reach(self):
        return Reached("there")

    def close(self):
        """Nothing to close."""


def entries(count, size=0):
    payloads = [b'{"id":"d/m/b/%d","x":"%s"}' % (n, b"x" * size) for n in range(count)]
    return [Entry(100 + n, Message("result", payload, n)) for n, payload in enumerate(payloads)]


def opened(shelf, **options):
    lane, sink = Lane(), StoreSink(shelf, **options)
    sink.open(lane)
    return sink, lane


@pytest.mark.parametrize("bad", [{0}, {63}, {17, 18}, {0, 31, 32, 63}, set(range(64))])
def test_rows_that_are_refused_are_told_apart_whichever_they_are(bad):
    shelf = Shelf(bad)
    sink, lane = opened(shelf)
    refused = sink.send_all(entries(64))
    assert [key - 100 for key, _ in refused] == sorted(bad)
    assert shelf.there == [n for n in range(64) if n not in bad]
    assert [key - 100 for key in lane.keys] == shelf.there


def test_one_bad_row_among_256_costs_few_calls():
    shelf = Shelf({200})
    sink, _ = opened(shelf)
    sink.send_all(entries(256))
    assert len(shelf.calls) <= 2 * 8 + 1


def test_a_store_that_knows_what_it_has_is_sent_only_the_rest():
    shelf = Shelf({3, 4}, parts=True)
    sink, lane = opened(shelf)
    refused = sink.send_all(entries(8))
    assert [key for key, _ in refused] == [103, 104]
    assert shelf.there == [0, 1, 2, 5, 6, 7]
    assert sorted(lane.keys) == [100, 101, 102, 105, 106, 107]


def test_what_a_store_has_is_confirmed_although_it_went_away():
    sink, lane = opened(Shelf(away_at=5))
    with pytest.raises(UnavailableError):
        sink.send_all(entries(8))
    assert lane.keys == [100, 101, 102, 103, 104]


def test_a_write_is_bounded_in_rows_and_in_bytes():
    shelf = Shelf()
    sink, _ = opened(shelf, most=10)
    sink.send_all(entries(25))
    assert shelf.calls == [10, 10, 5]
    shelf = Shelf()
    sink, _ = opened(shelf)
    sink.send_all(entries(5, size=1_500_000))
    assert shelf.calls == [2, 2, 1]


def test_a_fragment_that_hides_a_password_is_told_in_no_error():
    with pytest.raises(ConfigError) as raised:
        parse("webhook", "http://user:pa55@#batch=x", WebhookOptions, "webhook:https://host")
    assert "pa55" not in str(raised.value)
