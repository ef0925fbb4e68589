from __future__ import annotations

import pytest

from edge.data.message import Message
from edge.errors import SampleError
from edge.protocols import Entry
from edge.sinks.mqtt import MqttSink


class Transport:
    """A connection that stands; what is published waits for the test's word."""

    up = True

    def __init__(self):
        self.sent = []

    def listen(self, listener):
        pass

    def publish(self, message, told=None):
        self.sent.append((message, told))

    def publish_all(self, letters):
        self.sent += [(letter, letter.told) for letter in letters]
        return [(letter.told.ticket, "too large") for letter in letters if letter.payload == b"large"]


class Lane:
    """Hears what a sink tells."""

    def __init__(self):
        self.keys, self.reasons = [], []

    def confirmed(self, keys):
        self.keys += keys

    def lost(self, reason):
        self.reasons.append(reason)


@pytest.fixture
def lane():
    return Lane()


@pytest.fixture
def counted():
    return []


@pytest.fixture
def sink(lane, counted):
    made = MqttSink(Transport(), "edge/pi/m", "m", count=counted.append)
    made.open(lane)
    return made


def test_a_result_that_the_broker_refuses_is_not_confirmed_and_the_broker_counts_as_away(sink, lane, counted):
    sink.send(Entry(7, Message("result", b"{}", 1)))
    ((_, told),) = sink._transport.sent
    told.refused(told.ticket, "not authorized")
    assert lane.keys == []
    assert "refuses results: not authorized" in lane.reasons[0]
    assert counted == []


def test_an_error_that_the_broker_refuses_is_counted_and_holds_nobody_up(sink, lane, counted):
    sink.send(Entry(7, Message("error", b"{}", 1)))
    ((_, told),) = sink._transport.sent
    told.refused(told.ticket, "not authorized")
    assert lane.keys == [7]
    assert lane.reasons == []
    assert counted == ["dropped:mqtt:error"]


def test_an_error_keeps_its_place_among_results(sink):
    kinds = ["result", "result", "error", "result"]
    assert sink.send_all([Entry(n, Message(k, b"%d" % n, n)) for n, k in enumerate(kinds)]) == []
    assert [message.payload for message, _ in sink._transport.sent] == [b"0", b"1", b"2", b"3"]


def test_a_result_that_can_never_be_sent_is_named_and_the_others_go(sink):
    entries = [Entry(n, Message("result", payload, n)) for n, payload in enumerate([b"{}", b"large", b"{}"])]
    assert sink.send_all(entries) == [(1, "too large")]
    with pytest.raises(SampleError, match="too large"):
        sink.send(entries[1])


def test_a_result_of_an_outage_says_so(sink):
    sink.send(Entry(1, Message("result", b'{"n":1}', 1), replayed=True))
    ((letter, _),) = sink._transport.sent
    assert letter.payload == b'{"n":1,"replayed":true}'
