from __future__ import annotations

import pytest

from edge.data.message import Message
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
