from __future__ import annotations

import json

import msgspec
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.data.message import Message, Words
from edge.data.sample import Reply
from edge.errors import SampleError, UnavailableError
from edge.mqtt.codec.packets import refusal
from edge.mqtt.reply_fence import ReplyFence
from edge.mqtt.sink import WINDOW, MqttSink
from edge.plugins.contexts import SinkContext
from edge.plugins.protocols import Entry
from edge.testing.fakes import FakeWaker


class Session:
    """A connection that stands; what is published waits for the test's word."""

    up = True
    largest = 10_000
    receive_maximum = 20
    confirms = True

    def __init__(self):
        self.sent, self.calls = [], []
        self.waker = FakeWaker()

    def listen(self, listener):
        pass

    def call_soon(self, call):
        self.calls.append(call)

    def turn(self):
        calls, self.calls = self.calls, []
        for call in calls:
            call()

    def publish_all(self, publications):
        self.sent += publications
        return [(p, "too large") for p in publications if p.payload.strip(b"[]") == b"large"]

    def confirm(self, publication):
        publication.on_delivery.confirmed([publication.key])

    def refuse(self, publication, code=0x87):
        publication.on_delivery.refused(publication.key, refusal(code))


class Outbox:
    """Hears what a sink tells."""

    def __init__(self):
        self.keys, self.reasons, self.refusals = [], [], []

    def confirmed(self, keys):
        self.keys += keys

    def refused(self, key, reason):
        self.refusals.append((key, reason))

    def lost(self, reason):
        self.reasons.append(reason)


@pytest.fixture
def outbox():
    return Outbox()


def sink_of(session, **said):
    return MqttSink(session, SinkContext(model="m", topic="edge/pi/m", **said))


@pytest.fixture
def session():
    return Session()


@pytest.fixture
def counted():
    return []


@pytest.fixture
def allowing(outbox, session):
    made = sink_of(session, reply_topics=("clients/+/answers", "replies/#"))
    made.open(outbox)
    return made


@pytest.fixture
def joining(outbox, session, counted):
    made = sink_of(session, batch=8, count=counted.append)
    made.open(outbox)
    return made


def properties_of(publication):
    """User properties, as an MQTT 5 subscriber reads them."""
    found = Properties(PacketTypes.PUBLISH)
    found.unpack(publication.properties)
    return dict(found.UserProperty)


@pytest.fixture
def sink(outbox, session, counted):
    made = sink_of(session, count=counted.append)
    made.open(outbox)
    return made


def test_no_more_is_in_flight_than_the_broker_of_this_connection_takes(outbox, session):
    sink = sink_of(session)
    sink.open(outbox)
    assert sink.window == session.receive_maximum
    session.receive_maximum = 65_535
    sink.open(outbox)
    assert sink.window == WINDOW


def test_a_result_that_the_broker_refuses_is_not_confirmed_and_the_broker_counts_as_away(
    sink, outbox, session, counted
):
    sink.send(Entry(7, Message("result", b"{}", 1)))
    session.refuse(session.sent[0])
    assert outbox.keys == []
    assert "refuses results: not authorized" in outbox.reasons[0]
    assert counted == []


@pytest.mark.parametrize("code", [0x90, 0x95, 0x99])
def test_a_result_that_the_broker_can_never_take_is_refused_and_holds_up_none(sink, outbox, session, code):
    sink.send(Entry(7, Message("result", b"{}", 1)))
    session.refuse(session.sent[0], code)
    ((key, reason),) = outbox.refusals
    assert (key, outbox.keys, outbox.reasons) == (7, [], [])
    assert reason.startswith("the broker refuses it for good: ")


def test_a_result_and_its_reply_may_be_confirmed_at_once(sink, outbox, session):
    sink.send(Entry(7, Message("result", b"{}", 1, Reply("asker"))))
    one, other = session.sent
    assert one.on_delivery.confirmed == other.on_delivery.confirmed
    one.on_delivery.confirmed([one.key, other.key])
    assert outbox.keys == [7]


def test_what_a_broker_of_qos_0_was_sent_is_counted_as_unconfirmed(sink, outbox, session, counted):
    session.confirms = False
    sink.open(outbox)
    sink.send(Entry(7, Message("result", b"{}", 1)))
    session.confirm(session.sent[0])
    assert outbox.keys == [7]
    assert counted == ["unconfirmed:mqtt"]


def test_an_error_that_the_broker_refuses_is_counted_and_holds_up_none(sink, outbox, session, counted):
    sink.send(Entry(7, Message("error", b"{}", 1)))
    session.refuse(session.sent[0])
    assert outbox.keys == [7]
    assert outbox.reasons == []
    assert counted == ["dropped:mqtt:error"]


def test_an_error_keeps_its_place_among_results(sink, session):
    kinds = ["result", "result", "error", "result"]
    assert sink.send_all([Entry(n, Message(k, b"%d" % n, n)) for n, k in enumerate(kinds)]) == []
    assert [p.payload for p in session.sent] == [b"0", b"1", b"2", b"3"]


def test_a_result_that_can_never_be_sent_is_named_and_the_others_go(sink):
    entries = [Entry(n, Message("result", payload, n)) for n, payload in enumerate([b"{}", b"large", b"{}"])]
    assert sink.send_all(entries) == [(1, "too large")]
    with pytest.raises(SampleError, match="too large"):
        sink.send(entries[1])


def test_a_result_of_an_outage_says_so(sink, session):
    sink.send(Entry(1, Message("result", b'{"n":1}', 1), replayed=True))
    assert [p.payload for p in session.sent] == [b'{"n":1,"replayed":true}']


def result(key, seq, **more):
    return Entry(key, Message("result", b'{"n":%d}' % seq, seq, **more))


def test_results_of_one_key_are_an_array_and_confirmed_together(joining, outbox, session):
    joining.send_all([result(7, 41), result(7, 42), result(8, 43)])
    first, second = session.sent
    assert (first.payload, second.payload) == (b'[{"n":41},{"n":42}]', b'[{"n":43}]')
    assert properties_of(first) == {"schema": "1", "model": "m", "count": "2", "seq": "41"}
    assert properties_of(second) == {"schema": "1", "model": "m", "count": "1", "seq": "43"}
    session.confirm(first)
    assert outbox.keys == [7]


def test_without_batch_a_result_is_an_object_and_has_no_count(sink, session):
    sink.send_all([result(1, 41), result(2, 42)])
    assert [p.payload for p in session.sent] == [b'{"n":41}', b'{"n":42}']
    assert properties_of(session.sent[0]) == {"schema": "1", "model": "m", "seq": "41"}


def test_of_joined_results_each_says_whether_it_is_sent_again(joining, session):
    joining.send_all([Entry(1, Message("result", b'{"n":1}', 1), replayed=True), result(1, 2)])
    assert [p.payload for p in session.sent] == [b'[{"n":1,"replayed":true},{"n":2}]']


def test_a_reply_is_an_object_and_what_everybody_gets_an_array(joining, session):
    joining.send(result(1, 5, reply=Reply("ask/me", b"c")))
    joining.send(Entry(2, Message("error", b'{"n":6}', 6)))
    reply, everybody, error = session.sent
    assert (reply.name, reply.payload) == ("ask/me", b'{"n":5}')
    assert (everybody.name, everybody.payload) == ("edge/pi/m/result", b'[{"n":5}]')
    assert properties_of(everybody)["count"] == "1"
    assert (error.name, error.payload) == ("edge/pi/m/error", b'{"n":6}')


def test_a_result_with_a_reply_is_confirmed_when_both_are(sink, outbox, session):
    sink.send(result(3, 5, reply=Reply("ask/me")))
    reply, everybody = session.sent
    session.confirm(everybody)
    assert outbox.keys == []
    session.confirm(reply)
    assert outbox.keys == [3]


def test_a_reply_to_what_is_no_topic_is_counted_and_everybody_gets_the_result(sink, outbox, session, counted):
    sink.send(result(3, 5, reply=Reply("ask/#")))
    everybody, _ = session.sent
    session.confirm(everybody)
    assert outbox.keys == [3]
    assert counted == ["dropped:mqtt:reply"]


OWN = ["input", "result", "error", "status", "info", "stats", "mask", "image", "update"]


@pytest.mark.parametrize(
    ("topic", "whose"),
    [
        *[(f"edge/pi/m/{name}", "this service's own") for name in OWN],
        ("edge/pi/m/image/annotated", "this service's own"),
        ("edge/other/model/input", "another service's"),
        ("edge/other/model/status", "another service's"),
        ("edge/other/model/result", "another service's"),
        ("edge/pi/status", "another service's"),
        ("edge/_updates/m/announce", "told of updates"),
        ("edge.pi.m.status", "this service's own"),
        ("/edge//pi/m/status/", "this service's own"),
        ("homeassistant.switch.x.config", "Home Assistant"),
        ("spBv1.0/plant/NCMD/press", "Sparkplug"),
        ("homeassistant/sensor/x/config", "Home Assistant"),
        ("$SYS/broker/uptime", "the broker's own"),
        ("$share/g/topic", "the broker's own"),
        ("a/" * 128, "at most 128 levels"),
        ("a" * 65_535, "1024 bytes"),
        ("\ufffd", "no UTF-8"),
    ],
)
def test_no_reply_goes_to_the_topics_of_others_and_everybody_gets_the_result(sink, session, counted, topic, whose):
    sink.send(result(3, 5, reply=Reply(topic)))
    everybody, error = session.sent
    assert (everybody.name, everybody.payload) == ("edge/pi/m/result", b'{"n":5}')
    assert error.name == "edge/pi/m/error"
    assert topic[:200] in json.loads(error.payload)["reason"]
    assert whose in json.loads(error.payload)["reason"]
    assert counted == ["dropped:mqtt:reply"]


def test_a_refused_reply_is_told_once_for_each_topic_and_counted_each_time(sink, session, counted):
    for key, topic in enumerate(["$a", "$a", "$b"]):
        sink.send(result(key, key, reply=Reply(topic)))
    errors = [json.loads(p.payload)["reason"] for p in session.sent if p.name.endswith("/error")]
    assert ["'$a'" in errors[0], "'$b'" in errors[1], len(errors)] == [True, True, 2]
    assert counted == ["dropped:mqtt:reply"] * 3


def test_an_answer_alone_that_may_not_go_where_its_asker_says_is_done_with_the_error(sink, outbox, session, counted):
    sink.send(Entry(4, Message("answer", b"{}", 1, reply=Reply("edge/pi/m/status"))))
    (error,) = session.sent
    session.confirm(error)
    assert (error.name, outbox.keys, counted) == ("edge/pi/m/error", [4], ["dropped:mqtt:reply"])


@pytest.mark.parametrize(
    "topic",
    [
        "edge/pi/m/reply/7",
        "edge/clients/me/answers",
        "edge/input",
        "home/input",
        "edgeother/a/b/input",
        "a.b/c",
        "ä/😀",
    ],
)
def test_a_reply_goes_to_a_topic_of_the_asker_s(sink, session, topic):
    sink.send(result(3, 5, reply=Reply(topic)))
    assert [p.name for p in session.sent] == [topic, "edge/pi/m/result"]


def test_another_discovery_prefix_is_fenced_too(session, outbox):
    made = sink_of(session, discovery=("homeassistant", "ha"))
    made.open(outbox)
    made.send(result(3, 5, reply=Reply("ha/switch/x/config")))
    assert [p.name for p in session.sent] == ["edge/pi/m/result", "edge/pi/m/error"]


@pytest.mark.parametrize("topic", ["a/#", "\ufeffedge/pi/m/status", "a\x01", "\uffff"])
def test_no_reply_goes_to_what_is_no_topic_and_the_error_says_so(sink, session, topic):
    sink.send(result(3, 5, reply=Reply(topic)))
    everybody, error = session.sent
    assert everybody.name == "edge/pi/m/result"
    assert "belong in no topic that is published on" in json.loads(error.payload)["reason"]


@pytest.fixture
def asked_only(outbox, session):
    """Another sink tells everybody of results."""
    made = sink_of(session, results=False)
    made.open(outbox)
    return made


def test_what_another_sink_tells_everybody_is_confirmed_unsent_and_not_before_it_counts_as_sent(
    asked_only, outbox, session
):
    asked_only.send(result(3, 5))
    assert (session.sent, outbox.keys, session.waker.wakes) == ([], [], 0)
    session.turn()
    assert (outbox.keys, session.waker.wakes) == ([3], 1)  # no answer of the broker's brings the outbox its next turn


def test_an_asker_has_its_reply_also_where_another_sink_tells_everybody(asked_only, outbox, session):
    asked_only.send(result(3, 5, reply=Reply("ask/me")))
    (reply,) = session.sent
    assert reply.name == "ask/me"
    session.confirm(reply)
    session.turn()
    assert outbox.keys == [3]


def test_where_another_sink_tells_everybody_a_refused_reply_is_told_once_and_holds_up_no_result(
    asked_only, outbox, session
):
    asked_only.send_all([result(3, 5, reply=Reply("$a")), result(4, 6, reply=Reply("$a"))])
    session.turn()
    assert [p.name for p in session.sent] == ["edge/pi/m/error"]
    assert outbox.keys == [3, 4]


@pytest.mark.parametrize(
    ("template", "topic", "free"),
    [
        ("house/{{ device }}/{{ top.label }}", "house/pi/cat", False),
        ("house/{{ device }}/{{ top.label }}", "house/pi", True),
        ("{{base}}/{{- top.label -}}/x", "edge/pi/m/cat/x", False),
        ("{{ base }}/{{ top.label }}/x", "clients/pi/m/cat/x", True),
        ("house/results", "house/results", False),
        ("{{ source }}", "clients/me", True),
    ],
)
def test_no_reply_goes_where_results_go_by_a_template(template, topic, free):
    assert (ReplyFence("edge/pi/m", results=template).reason(topic) is None) is free


@pytest.mark.parametrize("topic", ["clients/me/answers", "replies", "replies/a/b"])
def test_with_allowed_topics_a_reply_goes_to_them(allowing, session, topic):
    allowing.send(result(3, 5, reply=Reply(topic)))
    assert [p.name for p in session.sent] == [topic, "edge/pi/m/result"]


@pytest.mark.parametrize("topic", ["clients/me", "clients/me/you/answers", "edge/pi/m/reply/7"])
def test_with_allowed_topics_no_reply_goes_elsewhere(allowing, session, topic):
    allowing.send(result(3, 5, reply=Reply(topic)))
    everybody, error = session.sent
    assert [everybody.name, error.name] == ["edge/pi/m/result", "edge/pi/m/error"]
    assert "--reply-topics allows clients/+/answers, replies/#" in json.loads(error.payload)["reason"]


def test_what_is_allowed_opens_none_of_the_topics_of_others(session, outbox):
    sink = sink_of(session, reply_topics=("#",))
    sink.open(outbox)
    sink.send(result(3, 5, reply=Reply("edge/pi/m/status")))
    assert [p.name for p in session.sent] == ["edge/pi/m/result", "edge/pi/m/error"]


def test_a_reply_that_the_broker_refuses_is_counted_and_the_result_counts(sink, outbox, session, counted):
    sink.send(result(3, 5, reply=Reply("not/mine")))
    reply, everybody = session.sent
    session.refuse(reply)
    session.confirm(everybody)
    assert outbox.keys == [3]
    assert counted == ["dropped:mqtt:reply"]


def test_joined_results_that_another_connection_would_not_take_are_joined_anew_and_not_dropped(joining, session):
    session.publish_all = lambda publications: [(publications[0], "too large")]
    with pytest.raises(UnavailableError, match="too large"):
        joining.send_all([result(1, 1), result(1, 2)])
    assert joining.send_all([result(2, 1)]) == [(2, "too large")]


def test_what_is_joined_stays_below_what_the_broker_takes(joining, session):
    assert 9_000 < joining.batch_bytes < 10_000
    session.largest = 10**9
    assert joining.batch_bytes == 1_000_000


def worded(key, words, reply=None, *, replayed=False):
    return Entry(key, Message("result", b'{"n":1}', key, reply, words=words), replayed)


def test_words_of_the_house_go_to_its_topic_as_they_were_rendered_also_after_an_outage(sink, outbox, session):
    sink.send(worded(1, Words("house/line3", b"1;2", "text/plain", {"id": "x"}), replayed=True))
    (sent,) = session.sent
    assert (sent.name, sent.payload) == ("house/line3", b"1;2")
    assert b"text/plain" in sent.properties
    assert b"\x00\x08replayed\x00\x04true" in sent.properties
    session.confirm(sent)
    assert outbox.keys == [1]


def test_an_asker_has_the_result_as_it_is_and_everybody_else_the_words(sink, outbox, session):
    sink.send(worded(1, Words("house/line3", b"1;2"), Reply("asker", None)))
    reply, everybody = session.sent
    assert (reply.name, reply.payload) == ("asker", b'{"n":1}')
    assert (everybody.name, everybody.payload) == ("house/line3", b"1;2")
    session.confirm(reply)
    assert outbox.keys == []
    session.confirm(everybody)
    assert outbox.keys == [1]


def test_words_that_are_too_large_are_no_reply_that_is_too_large(sink, session, counted):
    entry = worded(1, Words("house/line3", b"large"), Reply("asker", None))
    assert sink.send_all([entry]) == [(1, "too large")]
    assert counted == []


@pytest.mark.parametrize(("retain", "kept"), [(False, [False] * 3), (True, [True, True, False])])
@pytest.mark.parametrize("words", [None, Words("house/line3", b"1;2")])
def test_the_broker_retains_the_results_that_it_shall_and_no_error(session, outbox, retain, kept, words):
    sink = sink_of(session, retain=retain)
    sink.open(outbox)
    overtaken = msgspec.structs.replace(worded(3, words, replayed=True), overtaken=True)
    sink.send_all([worded(1, words), worded(2, words, replayed=True), overtaken, Entry(4, Message("error", b"{}", 4))])
    assert [p.retain for p in session.sent] == [*kept, False]
