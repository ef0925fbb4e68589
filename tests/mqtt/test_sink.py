from __future__ import annotations

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.data.message import Message
from edge.data.sample import Reply
from edge.errors import SampleError, UnavailableError
from edge.mqtt.sink import MqttSink
from edge.plugins.protocols import Entry


class Transport:
    """A connection that stands; what is published waits for the test's word."""

    up = True
    largest = 10_000

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
def joining(lane, counted):
    made = MqttSink(Transport(), "edge/pi/m", "m", batch=8, count=counted.append)
    made.open(lane)
    return made


def properties_of(letter):
    """User properties of a letter, as an MQTT 5 subscriber reads them."""
    found = Properties(PacketTypes.PUBLISH)
    found.unpack(letter.form.properties(letter.value))
    return dict(found.UserProperty)


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


def result(key, seq, **more):
    return Entry(key, Message("result", b'{"n":%d}' % seq, seq, **more))


def test_results_of_one_key_are_an_array_and_confirmed_together(joining, lane):
    joining.send_all([result(7, 41), result(7, 42), result(8, 43)])
    (first, told), (second, _) = joining._transport.sent
    assert (first.payload, second.payload) == (b'[{"n":41},{"n":42}]', b'[{"n":43}]')
    assert properties_of(first) == {"schema": "1", "model": "m", "count": "2", "seq": "41"}
    assert properties_of(second) == {"schema": "1", "model": "m", "count": "1", "seq": "43"}
    told.confirmed([told.ticket])
    assert lane.keys == [7]


def test_without_batch_a_result_is_an_object_and_has_no_count(sink):
    sink.send_all([result(1, 41), result(2, 42)])
    assert [letter.payload for letter, _ in sink._transport.sent] == [b'{"n":41}', b'{"n":42}']
    assert properties_of(sink._transport.sent[0][0]) == {"schema": "1", "model": "m", "seq": "41"}


def test_of_joined_results_each_says_whether_it_is_sent_again(joining):
    joining.send_all([Entry(1, Message("result", b'{"n":1}', 1), replayed=True), result(1, 2)])
    ((letter, _),) = joining._transport.sent
    assert letter.payload == b'[{"n":1,"replayed":true},{"n":2}]'


def test_an_asker_gets_an_object_and_everybody_else_an_array(joining):
    joining.send(result(1, 5, reply=Reply("ask/me", b"c")))
    joining.send(Entry(2, Message("error", b'{"n":6}', 6)))
    (answer, _), (everybody, _), (error, _) = joining._transport.sent
    assert (answer.topic, answer.payload) == ("ask/me", b'{"n":5}')
    assert (everybody.topic, everybody.payload, everybody.properties["count"]) == (
        "edge/pi/m/result",
        b'[{"n":5}]',
        "1",
    )
    assert (error.topic, error.payload) == ("edge/pi/m/error", b'{"n":6}')


def test_joined_results_that_another_connection_would_not_take_are_joined_anew_and_not_dropped(joining):
    joining._transport.publish_all = lambda letters: [(letters[0].told.ticket, "too large")]
    with pytest.raises(UnavailableError, match="too large"):
        joining.send_all([result(1, 1), result(1, 2)])
    assert joining.send_all([result(2, 1)]) == [(2, "too large")]


def test_what_is_joined_stays_below_what_the_broker_takes(joining):
    assert 9_000 < joining.batch_bytes < 10_000
    joining._transport.largest = 10**9
    assert joining.batch_bytes == 1_000_000
