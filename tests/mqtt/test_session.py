"""A session at a broker that does what the test says, by both ways through paho."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time

import pytest
from support.processes import until

from edge.mqtt.codec import fastpath
from edge.mqtt.codec.packets import PublishTemplate, publication
from edge.mqtt.messages import RECEIVE_MAXIMUM, Listener, Outgoing
from edge.mqtt.too_large import ENDS_UNKNOWN

pytestmark = pytest.mark.usefixtures("way")


@pytest.fixture(params=[5, 4], ids=["5", "3.1.1"])
def up(request, broker, session):
    """A session whose connection stands."""
    made = session(version=request.param)
    made.start()
    broker.peer()
    until(lambda: made.up, "the connection stands")  # before that, what is posted is dropped
    return made


def payloads(broker) -> list[bytes]:
    return [m.payload for m in broker.peers[-1].published]


def test_what_is_posted_is_published_at_qos_1_and_confirmed_in_order(up, broker, outcome):
    for n in range(50):
        up.post(Outgoing("a/b", b"%d" % n, retain=n == 3), outcome.on_delivery, key=n)
    outcome.wait(50)
    assert outcome.confirmed == list(range(50))
    assert payloads(broker) == [b"%d" % n for n in range(50)]
    assert [m.payload for m in broker.peers[0].published if m.retain] == [b"3"]
    assert {m.qos for m in broker.peers[0].published} == {1}


def test_large_messages_go_out_whole(up, broker, outcome):
    sent = [b"%06d" % n * 50_000 for n in range(20)]
    for n, payload in enumerate(sent):
        up.post(Outgoing("a/b", payload), outcome.on_delivery, key=n)
    outcome.wait(20)
    assert payloads(broker) == sent


def test_user_properties_and_content_type_are_sent(broker, session, outcome):
    made = session()
    made.start()
    more = {"schema": "1", "model": "m\u00fcller"}
    made.post(
        Outgoing("a/b", b"{}", content_type="application/json", properties=more), outcome.on_delivery, key=0, keep=True
    )
    outcome.wait(1)
    (message,) = broker.peers[0].published
    assert b"\x03\0\x10application/json" in message.properties
    assert b"\x26\0\5model\0\7m\xc3\xbcller" in message.properties


def test_what_a_template_makes_is_published_as_what_is_packed_each_time(broker, session, outcome):
    made = session()
    made.start()
    broker.peer()
    until(lambda: made.up, "the connection stands")
    template = PublishTemplate("a/b", "text/plain", {"model": "m"}, varies="seq")
    one = template.publication(b"42", b"x", outcome.on_delivery, key=0)
    made.call_soon(lambda: made.publish_all([one]))
    made.post(
        Outgoing("a/b", b"x", content_type="text/plain", properties={"model": "m", "seq": "42"}),
        outcome.on_delivery,
        key=1,
    )
    outcome.wait(2)
    first, second = broker.peers[0].published
    assert (first.topic, first.payload, first.properties) == (second.topic, second.payload, second.properties)


def test_inputs_come_in_order_with_what_they_carry_and_are_acknowledged(broker, session):
    received = []
    made = session()
    made.subscribe("in/#", lambda i: (received.append(i), made.ack(i)))
    made.start()
    broker.wait("the subscription", lambda: bool(broker.peers and broker.peers[0].subscribed))
    peer = broker.peer()
    large = bytes(300_000)
    peer.publish("in/a", b"1", 7, properties=b"\x08\0\3r/t\x09\0\2ab")
    peer.publish("in/b", b"2")
    peer.publish("in/a", large, 8, dup=True, retain=True)
    broker.wait("two acknowledgements", lambda: len(peer.acknowledged) == 2)
    assert peer.acknowledged == [7, 8]
    assert [(i.topic, i.payload, i.qos, i.dup, i.retain) for i in received] == [
        ("in/a", b"1", 1, False, False),
        ("in/b", b"2", 0, False, False),
        ("in/a", large, 1, True, True),
    ]
    assert (received[0].response_topic, received[0].correlation) == ("r/t", b"ab")


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_it_reads_however_the_network_cuts_it(broker, session, outcome, step):
    received = []
    broker.answer = lambda _: None
    made = session()
    made.subscribe("in", lambda i: (received.append(i.payload), broker.notify()))
    made.start()
    broker.wait("the subscription", lambda: bool(broker.peers and broker.peers[0].subscribed))
    peer = broker.peer()
    for n in range(20):
        made.post(Outgoing("a/b", b"x"), outcome.on_delivery, key=n, keep=True)
    broker.wait("all", lambda: len(peer.published) == 20)
    data = b"".join(
        b"\x40\x02" + m.mid.to_bytes(2, "big") + b"\x30\x08\0\2in\0n%02d" % n for n, m in enumerate(peer.published)
    )
    for at in range(0, len(data), step):
        peer.write(data[at : at + step])
    outcome.wait(20)
    assert outcome.confirmed == list(range(20))
    broker.wait("the last input", lambda: len(received) == 20)
    assert received == [b"n%02d" % n for n in range(20)]


def test_no_more_are_in_flight_than_the_broker_said_and_the_order_is_kept(broker, session, outcome):
    broker.connack_properties = b"\x21\0\3"
    broker.answer = lambda _: None
    made = session()
    made.start()
    peer = broker.peer()
    for n in range(10):
        made.post(Outgoing("t", b"%d" % n), outcome.on_delivery, key=n, keep=True)
    for n in range(10):
        broker.wait(f"{n + 3} messages", lambda n=n: len(peer.published) == min(10, n + 3))
        peer.puback(peer.published[n].mid)
        outcome.wait(n + 1)
    assert payloads(broker) == [b"%d" % n for n in range(10)]
    assert outcome.confirmed == list(range(10))


def test_an_acknowledgement_of_nothing_is_ignored(broker, session, outcome):
    made = session()
    made.start()
    peer = broker.peer()
    peer.puback(777)
    made.post(Outgoing("t", b"0"), outcome.on_delivery, key=0, keep=True)
    outcome.wait(1)
    assert outcome.confirmed == [0]


@pytest.mark.parametrize(("code", "words"), [(0x87, "not authorized"), (0x97, "quota exceeded")])
def test_a_refusal_is_told_with_its_reason(broker, session, outcome, code, words):
    broker.answer = lambda m: code if m.payload == b"1" else 0
    made = session()
    made.start()
    broker.peer()
    for n in range(3):
        made.post(Outgoing("t", b"%d" % n), outcome.on_delivery, key=n, keep=True)
    outcome.wait(3)
    assert outcome.confirmed == [0, 2]
    assert outcome.refused == [(1, words)]


def test_what_is_too_large_for_the_broker_is_refused_before_it_is_sent(broker, session, outcome):
    broker.connack_properties = b"\x27\0\0\0\x64"
    made = session()
    made.start()
    broker.peer()
    for n, payload in enumerate([b"0", b"x" * 100, b"2"]):
        made.post(Outgoing("t", payload), outcome.on_delivery, key=n, keep=True)
    outcome.wait(3)
    assert payloads(broker) == [b"0", b"2"]
    ((number, reason),) = outcome.refused
    assert number == 1
    assert "the broker takes at most 100" in reason


def test_in_a_session_that_resumes_it_does_not_subscribe_again(broker, session, outcome):
    broker.session_present = True
    made = session(births=lambda: [Outgoing("t/status", b"online")])
    made.subscribe("in", print)
    made.start()
    broker.wait("a birth", lambda: bool(broker.peers and broker.peers[0].published))
    broker.peers[0].reset()
    broker.wait("another birth", lambda: len(broker.peers) > 1 and bool(broker.peers[1].published))
    assert [t for t, _ in broker.peers[0].subscribed] == ["in"]
    assert broker.peers[1].subscribed == []


def test_what_comes_right_behind_the_connack_is_handed_on_after_up(broker, session):
    told = []

    class Told(Listener):
        def up(self, *, resumed):
            told.append("up")

    def connack(peer):
        if len(broker.peers) > 1:  # before the answer is written: both go out together
            peer.write(b"\x20\x03\1\0\0")
            peer.publish("in", b"early", 7, dup=True)
            return None
        return 0

    broker.connack = connack
    made = session()
    made.listen(Told())
    made.subscribe("in", lambda i: (told.append(i.payload), made.ack(i)))
    made.start()
    broker.wait("the subscription", lambda: bool(broker.peers and broker.peers[0].subscribed))
    broker.peers[0].close()
    broker.wait("an acknowledgement", lambda: len(broker.peers) > 1 and bool(broker.peers[1].acknowledged))
    assert told == ["up", "up", b"early"]


def test_in_a_session_that_the_broker_lost_it_does(broker, session):
    made = session()
    made.subscribe("in", print)
    made.start()
    broker.wait("the subscription", lambda: bool(broker.peers and broker.peers[0].subscribed))
    broker.peers[0].close()
    broker.wait("it again", lambda: len(broker.peers) > 1 and bool(broker.peers[1].subscribed))


@pytest.mark.parametrize(("topic", "options"), [("in", 0b0001_0101), ("$share/g/in", 0b0001_0001)])
def test_retained_messages_come_for_a_new_subscription_only_and_none_of_its_own(broker, session, topic, options):
    """Retain Handling 1, No Local, QoS 1; No Local would be an error for a shared subscription."""
    made = session()
    made.subscribe(topic, print)
    made.start()
    broker.wait("the subscription", lambda: bool(broker.peers and broker.peers[0].subscribed))
    assert broker.peers[0].subscribed == [(topic, options)]


def test_a_broker_without_qos_1_gets_qos_0_and_it_is_said(broker, session, outcome, caplog):
    broker.connack_properties = b"\x24\0"  # Maximum QoS 0
    made = session()
    made.subscribe("in", print)
    made.start()
    made.post(Outgoing("t", b"x"), outcome.on_delivery, key=0, keep=True)
    outcome.wait(1)
    broker.wait("the message", lambda: bool(broker.peers[0].published))
    broker.wait("the subscription", lambda: bool(broker.peers[0].subscribed))
    assert [m.qos for m in broker.peers[0].published] == [0]
    assert [o & 3 for _, o in broker.peers[0].subscribed] == [0]
    assert "QoS 0 only" in caplog.text


def test_one_of_mqtt_3_that_grants_qos_0_and_confirms_nothing_gets_qos_0(broker, session, outcome, caplog):
    broker.granted_qos = 0
    broker.answer = lambda _: None
    made = session(version=4, options={"confirm_timeout_s": 0.2})
    made.subscribe("in", print)
    made.start()
    made.post(Outgoing("t", b"x"), keep=True)
    broker.wait("the end of the first connection", lambda: len(broker.peers) > 1)
    broker.wait("another subscription", lambda: bool(broker.peers[-1].subscribed))
    made.post(Outgoing("t", b"y"), outcome.on_delivery, key=0, keep=True)
    outcome.wait(1)
    broker.wait("the message", lambda: any(m.payload == b"y" for m in broker.peers[-1].published))
    assert [m.qos for m in broker.peers[-1].published if m.payload == b"y"] == [0]
    assert "QoS 0 only" in caplog.text


def test_one_that_grants_qos_0_but_confirms_keeps_qos_1(broker, session, outcome):
    broker.granted_qos = 0
    made = session(version=4)
    made.subscribe("in", print)
    made.start()
    made.post(Outgoing("t", b"x"), outcome.on_delivery, key=0, keep=True)
    outcome.wait(1)
    broker.peers[0].close()
    broker.wait("another connection", lambda: len(broker.peers) > 1 and bool(broker.peers[-1].subscribed))
    made.post(Outgoing("t", b"y"), outcome.on_delivery, key=1, keep=True)
    outcome.wait(2)
    assert [m.qos for m in broker.peers[-1].published if m.payload == b"y"] == [1]


def test_a_broker_that_refuses_a_will_of_qos_1_gets_one_of_qos_0(broker, session, outcome):
    broker.connack = lambda peer: 0x9B if peer.connect[7] & 0x18 else 0  # QoS not supported
    made = session()
    made.start()
    made.post(Outgoing("t", b"x"), outcome.on_delivery, key=0, keep=True)
    outcome.wait(1)
    assert len(broker.peers) == 2
    broker.wait("the message", lambda: bool(broker.peers[1].published))
    assert [m.qos for m in broker.peers[1].published] == [0]


def test_a_broker_that_retains_nothing_is_given_nothing_to_retain(broker, session, outcome):
    broker.connack_properties = b"\x25\0"  # Retain Available 0
    made = session()
    made.start()
    made.post(Outgoing("t", b"x", retain=True), outcome.on_delivery, key=0, keep=True)
    outcome.wait(1)
    assert [m.retain for m in broker.peers[0].published] == [False]


def test_a_refusal_for_a_reason_that_no_standard_names_ends_no_connection(broker, session, outcome):
    """By public names paho 2.1 ends the connection over it, and the message waits."""
    broker.answer = lambda m: 0xA7 if m.payload == b"1" else 0
    made = session()
    made.start()
    broker.peer()
    for n in range(3):
        made.post(Outgoing("t", b"%d" % n), outcome.on_delivery, key=n, keep=True)
    outcome.wait(3)
    assert outcome.confirmed == [0, 2]
    assert outcome.refused == [(1, "reason code 0xa7")]
    assert len(broker.peers) == 1


class Calmed:
    """Counts how often it is told to take its time."""

    times = 0

    def next_s(self):
        return 0.02

    def reset(self):
        pass

    def calm(self):
        self.times += 1


def test_where_each_connection_ends_a_moment_after_it_stands_another_client_of_the_id_is_named(
    broker, session, caplog, monkeypatch
):
    """So do brokers of MQTT 3.1.1 where two clients have one id; each comes back and takes it from the other."""
    monkeypatch.setattr("edge.mqtt.session.STANDS_S", 1000.0)  # a moment, on a machine that is busy
    retry = Calmed()
    made = session(version=4, births=lambda: [Outgoing("t/status", b"online")], retry=retry)
    made.start()
    for number in range(4):
        broker.wait("a birth", lambda n=number: len(broker.peers) > n and bool(broker.peers[n].published))
        broker.peers[number].close()
    broker.peer(4)
    assert caplog.text.count("another client with the same id?") == 1
    assert retry.times == 2


def test_a_broker_that_ends_is_found_and_connected_to_again(broker, session):
    class Told(Listener):
        aways = 0

        def away(self, reason):
            self.aways += 1

    told, made = Told(), session()
    made.listen(told)
    made.start()
    broker.peer(0).close()
    broker.peer(1)
    assert told.aways == 1


@pytest.mark.usefixtures("way")
def test_of_an_input_that_is_too_large_only_its_size_waits(broker, session):
    received, large = [], bytes(5_000_000)
    made = session(options={"payload_most": 1000})
    made.subscribe("in", lambda i: (received.append((i.mid, i.payload, i.unkept)), made.ack(i)))
    made.start()
    broker.wait("the subscription", lambda: bool(broker.peers and broker.peers[0].subscribed))
    peer = broker.peer()
    for mid, payload in ((1, b"a"), (2, large), (3, b"b")):
        peer.publish("in", payload, mid)
    until(lambda: len(received) == 3, "all three")

    assert received == [(1, b"a", 0), (2, b"", len(large)), (3, b"b", 0)]


def test_a_paho_of_an_unknown_version_is_named_once_and_what_that_costs(broker, session, caplog, monkeypatch):
    monkeypatch.setattr(fastpath, "FITS", False)
    monkeypatch.setattr(fastpath, "INSTALLED", "9.9.1")
    made = session()
    made.start()
    broker.peer(0).close()
    broker.peer(1)
    (told,) = [r for r in caplog.records if "paho-mqtt is not known" in r.message]
    assert "slower" in told.message
    assert "--max-input" in told.message
    assert (told.installed, told.known) == ("9.9.1", "2.1.x, 2.2.x")


def lived(made, broker, outcome):
    """The broker's side of a session that had one message confirmed and ended with a word."""
    made.start()
    made.post(Outgoing("t", b"first"), outcome.on_delivery, key=0, keep=True)
    outcome.wait(1)
    made.stop([Outgoing("t/status", b"offline", retain=True)], 5.0)
    return broker.peers[-1]  # a machine that stands still for five seconds needs a second try


def test_the_end_says_offline_and_goodbye(broker, session, outcome):
    peer = lived(session(), broker, outcome)
    assert [(m.topic, m.payload) for m in peer.published] == [("t", b"first"), ("t/status", b"offline")]
    broker.wait("DISCONNECT", lambda: peer.disconnected)


class Clock:
    """By which a session says whether its broker confirms: it goes as the machine's does, and can be put forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_s

    def forward(self, made, seconds: float) -> None:
        """Returns when the session has looked at it: behind the look of a turn comes what is called in that turn."""
        self.ahead_s += seconds
        for _ in range(2):  # the first may have been put into a turn that had looked already
            turned = threading.Event()
            made.call_soon(turned.set)
            assert turned.wait(150)


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("edge.mqtt.connection.time", clock)
    monkeypatch.setattr("edge.mqtt.publish_queue.time", clock)
    return clock


def test_a_broker_is_not_gone_while_its_confirmations_stand_behind_the_inputs_that_it_sends(
    broker, session, outcome, clock
):
    """A slow board takes longer to read a night's inputs than the broker has to confirm: it began anew for ever."""
    broker.answer = lambda _: None
    came = []
    made = session(options={"confirm_timeout_s": 1000.0})
    made.subscribe("in", lambda _: (came.append(1), broker.notify()))
    made.start()
    peer = broker.peer()
    made.post(Outgoing("t", b"result"), outcome.on_delivery, key=0, keep=True)
    broker.wait("the result", lambda: bool(peer.published))
    for mid in range(1, RECEIVE_MAXIMUM + 4):
        peer.publish("in", b"row", mid)
        broker.wait("the input", lambda mid=mid: len(came) == mid)
        if mid > RECEIVE_MAXIMUM:
            clock.forward(made, 600.0)
    peer.puback(peer.published[0].mid)
    outcome.wait(1)

    assert outcome.confirmed == [0]
    assert len(broker.peers) == 1


def test_a_broker_that_confirms_nothing_is_gone_though_it_sends_inputs(broker, session, outcome, clock):
    broker.answer = lambda _: None
    made = session(options={"confirm_timeout_s": 1000.0})
    made.subscribe("in", made.ack_now)
    made.start()
    peer = broker.peer()
    made.post(Outgoing("t", b"result"), outcome.on_delivery, key=0, keep=True)
    broker.wait("the result", lambda: bool(peer.published))
    with contextlib.suppress(OSError):
        for mid in itertools.cycle(range(1, 60)):
            clock.ahead_s += 100.0
            peer.publish("in", b"row", mid)
            broker.wait("its acknowledgement", lambda m=mid: m in peer.acknowledged or len(broker.peers) > 1)
            peer.acknowledged.clear()
            if len(broker.peers) > 1:
                break


def test_a_broker_that_confirms_one_by_one_with_pauses_is_not_gone(broker, session, outcome, clock):
    """Each of a window may wait for longer than a broker has to confirm something."""
    broker.answer = lambda _: None
    made = session(options={"confirm_timeout_s": 1000.0})
    made.start()
    peer = broker.peer()
    for n in range(3):
        made.post(Outgoing("t", b"%d" % n), outcome.on_delivery, key=n, keep=True)
    broker.wait("the results", lambda: len(peer.published) == 3)
    for n in range(3):
        clock.forward(made, 600.0)
        peer.puback(peer.published[n].mid)
        outcome.wait(n + 1)

    assert outcome.confirmed == [0, 1, 2]
    assert len(broker.peers) == 1


def test_a_broker_that_does_not_answer_a_subscription_is_gone(broker, session, caplog, clock):
    """amqtt was waited for without an end: it confirmed results, and gave them to nobody."""
    broker.granted_qos = None
    made = session(births=lambda: [Outgoing("t/status", b"online")], options={"confirm_timeout_s": 1000.0})
    made.subscribe("in", print)
    made.start()
    broker.wait("SUBSCRIBE", lambda: bool(broker.peers and broker.peers[0].subscribed))
    broker.granted_qos = 1
    clock.ahead_s += 2000.0
    broker.wait("a birth", lambda: len(broker.peers) > 1 and bool(broker.peers[1].published))

    reason = next(r.reason for r in caplog.records if r.message.startswith("no broker"))
    assert "has not answered what was subscribed to for 1000 s" in reason


def test_one_that_confirms_all_but_the_oldest_is_gone(broker, session, outcome, clock):
    broker.answer = lambda m: None if m.payload == b"oldest" else 0
    made = session(options={"confirm_timeout_s": 1000.0})
    made.start()
    broker.peer()
    made.post(Outgoing("t", b"oldest"), keep=True)
    for n in itertools.count():
        clock.ahead_s += 100.0
        made.post(Outgoing("t", b"%d" % n), outcome.on_delivery, key=n, keep=True)
        outcome.wait(n + 1)
        if len(broker.peers) > 1:
            break


class StandsStill:
    """A worker, or a machine, that gets no further for a while, once `begins` gives true."""

    def __init__(self, begins, while_it_does=lambda: threading.Event().wait(1.3)) -> None:
        """Unless it is said: longer than the pause between two looks at the clock."""
        self.begins, self.while_it_does, self.over = begins, while_it_does, threading.Event()

    def turn(self) -> float:
        if not self.over.is_set() and self.begins():
            self.while_it_does()
            self.over.set()
        return 0.01

    def end(self) -> None:
        pass


def test_what_was_confirmed_while_the_machine_stood_still_is_not_held_against_the_broker(
    broker, session, outcome, clock
):
    broker.answer = lambda _: None

    def confirmed() -> bool:
        if not (broker.peers and broker.peers[0].published):
            return False
        broker.peers[0].puback(broker.peers[0].published[0].mid)
        return True

    def an_hour_passes() -> None:
        clock.ahead_s += 3600.0

    made = session(options={"confirm_timeout_s": 1000.0})
    made.attach(StandsStill(confirmed, an_hour_passes))
    made.start()
    made.post(Outgoing("t", b"result"), outcome.on_delivery, key=0, keep=True)
    outcome.wait(1)
    assert len(broker.peers) == 1


def test_a_ping_that_was_answered_while_the_machine_stood_still_ends_no_connection(broker, session, outcome):
    broker.answers_pings = False

    def answered() -> bool:
        if not (broker.peers and broker.peers[0].pings):
            return False
        broker.answers_pings = True
        broker.peers[0].pong()
        return True

    made = session(options={"keepalive_s": 1})
    still = StandsStill(answered)
    made.attach(still)
    made.start()
    assert still.over.wait(60)
    made.post(Outgoing("t", b"after"), outcome.on_delivery, key=0, keep=True)
    outcome.wait(1)
    assert len(broker.peers) == 1


def test_a_machine_that_stands_still_at_the_end_says_goodbye_all_the_same(broker, session, outcome, monkeypatch):
    monkeypatch.setattr("edge.mqtt.connection.CLOSE_WAIT_S", 0.0)
    peer = lived(session(), broker, outcome)
    broker.wait("DISCONNECT", lambda: peer.disconnected, timeout_s=10)


def test_the_thread_that_opened_a_connection_lets_it_be_however_late_it_goes_on(broker, session, outcome, monkeypatch):
    """On a busy machine it stood still until the end of the service, and took it for one that ends before it is up."""
    made = session()
    wake, ending, openers = made.waker.wake, threading.Event(), []

    def wake_and_stand_still():
        wake()
        if threading.current_thread().name == "mqtt-open":
            openers.append(threading.current_thread())
            ending.wait()

    def answer(message):
        if message.topic == "t/status":
            ending.set()
            openers[0].join()
        return 0

    monkeypatch.setattr(made.waker, "wake", wake_and_stand_still)
    broker.answer = answer
    peer = lived(made, broker, outcome)

    broker.wait("DISCONNECT", lambda: peer.disconnected, timeout_s=10)


def test_births_come_after_the_subscriptions_stand(broker, session):
    made = session(births=lambda: [Outgoing("t/status", b"online")])
    made.subscribe("in", print)
    made.start()
    broker.wait("online", lambda: bool(broker.peers and broker.peers[0].published))
    assert broker.peers[0].subscribed


def test_without_a_connection_what_is_kept_waits_the_newest_of_it_and_the_rest_is_dropped(
    broker, session, outcome, monkeypatch
):
    monkeypatch.setattr("edge.mqtt.posts.MAX_KEPT_BYTES", 1000)
    broker.connack = lambda _: 0x88  # server unavailable
    made = session()
    made.start()
    broker.peer(0)
    made.post(Outgoing("t", b"not kept"))
    for n in range(30):
        made.post(Outgoing("t", b"%02d" % n * 40), keep=True)
    broker.peer(2)
    broker.connack = lambda _: 0
    broker.wait("what was kept", lambda: any(p.published for p in broker.peers))
    made.post(Outgoing("t", b"new"), outcome.on_delivery, key=0, keep=True)
    outcome.wait(1)
    kept = payloads(broker)
    assert 3 <= len(kept) < 30
    assert [p[:2] for p in kept[-3:]] == [b"28", b"29", b"ne"]
    assert b"not kept" not in kept


def test_a_message_that_is_no_message_is_refused_and_harms_no_other(up, broker, outcome):
    up.post(Outgoing("a/#", b"x"), outcome.on_delivery, key=0)
    up.post(Outgoing("a/b", b"x"), outcome.on_delivery, key=1)
    outcome.wait(2)
    assert outcome.refused[0][0] == 0
    assert outcome.confirmed == [1]


def test_it_publishes_what_another_made_in_its_thread(up, broker, outcome):
    up.call_soon(lambda: up.publish_all([publication(Outgoing("t", b"x"), outcome.on_delivery, key=1)]))
    outcome.wait(1)
    assert payloads(broker) == [b"x"]


class Resending(Listener):
    """Sends what is not settled again on every connection, as an outbox does."""

    def __init__(self, session, outcome, payloads):
        self.session, self.outcome, self.payloads = session, outcome, payloads

    def up(self, *, resumed):
        settled = {*self.outcome.confirmed, *(n for n, _ in self.outcome.refused)}
        left = [(n, p) for n, p in enumerate(self.payloads) if n not in settled]
        self.session.publish_all([publication(Outgoing("t", p), self.outcome.on_delivery, key=n) for n, p in left])


def test_a_message_that_ends_each_connection_is_dropped_and_told_and_those_behind_it_go_on(
    broker, session, outcome, caplog
):
    def answer(message):
        if len(message.payload) > 1_000_000:  # as NATS does
            broker.peers[-1].close()
            return None
        return 0

    broker.answer = answer
    made = session()
    made.listen(Resending(made, outcome, [b"0", b"x" * 200_000, b"x" * 1_000_001, b"3", b"x" * 200_000]))
    made.start()
    outcome.wait(5)
    assert sorted(outcome.confirmed) == [0, 1, 3, 4]
    ((number, reason),) = outcome.refused
    assert number == 2
    assert "too large for the broker?" in reason
    assert caplog.text.count("too large for the broker?") == 1


def test_a_small_result_that_ends_each_connection_is_given_up_in_the_end_where_the_broker_takes_other_messages(
    broker, session, outcome, caplog
):
    def answer(message):
        if message.payload == b"ends":
            broker.peers[-1].close()
            return None
        return 0

    broker.answer = answer
    made = session(births=lambda: [Outgoing("info", b"births")])
    made.listen(Resending(made, outcome, [b"ends", b"1"]))
    made.start()
    outcome.wait(2)
    assert outcome.confirmed == [1]
    assert len(broker.peers) > ENDS_UNKNOWN
    assert "too large for the broker, or not allowed there?" in caplog.text


def test_a_small_message_is_not_blamed_for_a_network_that_ends_connections(broker, session, outcome):
    def answer(message):
        if len(broker.peers) < 8:
            broker.peers[-1].close()
            return None
        return 0

    broker.answer = answer
    made = session()
    made.listen(Resending(made, outcome, [b"0", b"1"]))
    made.start()
    outcome.wait(2)
    assert (outcome.confirmed, outcome.refused) == ([0, 1], [])


def subscribed_again(broker, made, end):
    """What is subscribed to on the second connection, after the first has ended; the broker says it has the session."""
    broker.session_present = True
    made.subscribe("in", print)
    made.start()
    broker.wait("a birth", lambda: bool(broker.peers and broker.peers[0].published))
    end(broker.peers[0])
    broker.wait("another birth", lambda: len(broker.peers) > 1 and bool(broker.peers[1].published))
    return [topic for topic, _ in broker.peers[1].subscribed]


@pytest.mark.parametrize(
    ("reason", "topics"),
    [
        pytest.param(0x8E, ["in"], id="session taken over"),
        pytest.param(0x98, ["in"], id="administrative action"),
        pytest.param(0x8B, [], id="server shutting down"),
    ],
)
def test_a_session_that_the_broker_took_from_it_is_subscribed_again(broker, session, reason, topics):
    made = session(births=lambda: [Outgoing("t/status", b"online")])
    assert subscribed_again(broker, made, lambda peer: peer.write(bytes([0xE0, 1, reason]))) == topics


@pytest.mark.parametrize("version", [4, 5])
def test_so_is_one_that_was_closed_without_a_word(broker, session, version):
    """mosquitto 2.0.11 says nothing in MQTT 5 either."""
    made = session(version=version, births=lambda: [Outgoing("t/status", b"online")])
    assert subscribed_again(broker, made, lambda peer: peer.close()) == ["in"]


@pytest.mark.parametrize("version", [4, 5])
def test_but_not_one_whose_connection_broke(broker, session, version):
    made = session(version=version, births=lambda: [Outgoing("t/status", b"online")])
    assert subscribed_again(broker, made, lambda peer: peer.reset()) == []


def test_its_inputs_are_not_taken_for_those_of_the_session_before(broker, session):
    told = []

    class Told(Listener):
        def up(self, *, resumed):
            told.append(resumed)

    made = session(births=lambda: [Outgoing("t/status", b"online")])
    made.listen(Told())
    subscribed_again(broker, made, lambda peer: peer.write(b"\xe0\x01\x8e"))
    broker.peers[1].reset()
    broker.wait("a third birth", lambda: len(broker.peers) > 2 and bool(broker.peers[2].published))
    assert told == [False, False, True]
    assert broker.peers[2].subscribed == []


def hearing(broker, session):
    """What a session receives on the topic `in`, the session, and the broker's side of it."""
    received, made = [], session()
    made.subscribe("in", lambda i: (received.append(i), broker.notify()))
    made.start()
    broker.wait("the subscription", lambda: bool(broker.peers and broker.peers[0].subscribed))
    return received, made, broker.peer()


def test_what_comes_is_acknowledged_in_its_order_whatever_it_is(broker, session):
    """The second is of a subscription of an earlier life, and is done at once."""
    received, made, peer = hearing(broker, session)
    peer.publish("in", b"1", 7)
    peer.publish("old", b"2", 8)
    peer.publish("in", b"3", 9)
    broker.wait("both", lambda: len(received) == 2)
    made.ack(received[1])
    made.ack(received[0])
    broker.wait("three acknowledgements", lambda: len(peer.acknowledged) == 3)
    assert peer.acknowledged == [7, 8, 9]


def test_one_that_comes_again_on_its_connection_is_acknowledged_once_in_its_place(broker, session):
    received, made, peer = hearing(broker, session)
    peer.publish("in", b"1", 7)
    peer.publish("in", b"2", 8)
    peer.publish("in", b"1", 7, dup=True)
    broker.wait("all", lambda: len(received) == 3)
    for one in received[:2]:
        made.ack(one)
    broker.wait("two acknowledgements", lambda: len(peer.acknowledged) == 2)
    assert peer.acknowledged == [7, 8]


def test_what_is_lost_with_an_older_version_is_told_once(broker, session, caplog):
    caplog.set_level("INFO", "edge.mqtt")
    broker.connack = lambda peer: 0x84 if peer.five else 0  # unsupported protocol version
    made = session(births=lambda: [Outgoing("t/status", b"online")])
    made.start()
    broker.wait("a birth", lambda: bool(broker.peers and broker.peers[-1].published))
    broker.peers[-1].close()
    broker.wait("another birth", lambda: sum(bool(peer.published) for peer in broker.peers) == 2)
    assert caplog.text.count("clients that ask with a Response Topic get no answer") == 1


def test_results_go_on_where_the_broker_ends_each_connection_over_info_which_is_told_once(
    broker, session, outcome, caplog
):
    """So does one of MQTT 3.1.1 with small packets, or without a right for the topic."""

    def answer(message):
        if message.topic != "t/info":
            return 0
        broker.peers[-1].close()
        return None

    broker.answer = answer
    births = [Outgoing("t/info", b"much"), Outgoing("t/status", b"online")]
    made = session(version=4, births=lambda: births)
    made.start()
    broker.peer()
    broker.wait("a birth without info", lambda: payloads(broker) == [b"offline", b"online"])
    for n in range(3):
        made.post(Outgoing("t/result", b"%d" % n), outcome.on_delivery, key=n, keep=True)
    outcome.wait(3)
    assert sorted(outcome.confirmed) == [0, 1, 2]
    assert caplog.text.count("its topic is left out") == 1
    assert caplog.text.count("not published") == 1


def test_where_neither_info_nor_a_result_fits_the_first_is_dropped_and_one_that_fits_goes_on(
    broker, session, outcome, caplog
):
    """As with mosquitto's `max_packet_size` over MQTT 3.1.1: all waited, for ever."""

    def answer(message):
        if len(message.payload) < 100:
            return 0
        broker.peers[-1].close()
        return None

    broker.answer = answer
    made = session(version=4, births=lambda: [Outgoing("t/info", bytes(900)), Outgoing("t/status", b"online")])
    made.listen(Resending(made, outcome, [bytes(500), b"small"]))
    made.start()
    outcome.wait(2)
    assert [number for number, _ in outcome.refused] == [0]
    assert outcome.confirmed == [1]
    assert len(broker.peers) > ENDS_UNKNOWN
    broker.wait("a birth without info", lambda: payloads(broker)[-1:] == [b"online"])
