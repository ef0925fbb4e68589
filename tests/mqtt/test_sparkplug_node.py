"""An edge node at a broker that does what a test says: what it sends, and what it says when it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

import pytest
from support.processes import until
from support.scripted_broker import Peer, Published, ScriptedBroker

from edge.data.message import Message
from edge.errors import ConfigError, UnavailableError
from edge.mqtt.messages import MqttOptions
from edge.mqtt.session import MqttSession
from edge.mqtt.sparkplug import node
from edge.mqtt.sparkplug.payload import BOOLEAN, Metric, Payload, decode, encode
from edge.mqtt.url import parse
from edge.plugins.contexts import SinkContext
from edge.plugins.protocols import Entry

NODE, STATE = "spBv1.0/edge/{}/pi-m", "spBv1.0/STATE/scada"


class Told:
    """What the outbox hears."""

    def __init__(self) -> None:
        self.stored: list[int] = []
        self.gone: list[str] = []

    def confirmed(self, keys: Sequence[int]) -> None:
        self.stored += keys

    def refused(self, key: int, reason: str) -> None: ...

    def ready(self) -> None: ...

    def lost(self, reason: str) -> None:
        self.gone.append(reason)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def make(session) -> Iterator[Callable[..., node.SparkplugSink]]:
    """Sinks of the node pi-m, whose device is m, at the broker of the test."""
    made: list[node.SparkplugSink] = []

    def sink(host: str = "", **more: object) -> node.SparkplugSink:
        context = SinkContext(topic="edge/pi/m", task="classify", transport=session(**more))
        made.append(node.create(host, context))
        return made[-1]

    yield sink
    for one in made:
        one.close()


def result(key: int, label: str, *, replayed: bool = False) -> Entry:
    said = {
        "id": f"pi/m/b/{key}", "seq": key, "source": "x", "time": f"1970-01-01T00:00:{key:02}Z", "replayed": replayed,
        "model": {"name": "m", "version": "1", "sha256": "0" * 64}, "task": "classify",
        "predictions": [{"label": label, "score": 0.5}],
    }  # fmt: skip
    return Entry(key, Message("result", json.dumps(said).encode(), seq=key))


def of(peer: Peer, kind: str) -> list[Published]:
    topic = NODE.format(kind) + ("/m" if kind.startswith("D") else "")
    return [message for message in peer.published if message.topic == topic]


def values(message: Published) -> dict[str, object]:
    return {metric.name: metric.value for metric in decode(message.payload).metrics}


def rebirth(wanted: bool = True) -> bytes:
    return encode(Payload(1, [Metric(node.REBIRTH, wanted, BOOLEAN)]))


def state(online: bool, timestamp: int) -> bytes:
    return json.dumps({"online": online, "timestamp": timestamp}).encode()


def goes_online(broker: ScriptedBroker, data: bytes = state(True, 5)) -> None:
    """The broker keeps the state of the host: it comes behind each CONNECT."""

    def connack(peer: Peer) -> None:
        peer.send(0x20, b"\0\0" + (b"\0" if peer.five else b""))
        peer.publish(STATE, data, retain=True)

    broker.connack = connack


@pytest.mark.parametrize("version", [4, 5])
def test_a_node_is_born_with_its_device_and_what_it_sent_is_confirmed(version, make, broker, told):
    sink = make(version=version)
    sink.open(told)
    assert sink.send_all([result(1, "cat"), result(2, "dog")]) == []
    peer = broker.peer()

    assert told.stored == [1, 2]
    assert [decode(m.payload).seq for kind in ("NBIRTH", "DBIRTH", "DDATA") for m in of(peer, kind)] == [0, 1, 2, 3]
    assert [values(m)["top/label"] for m in of(peer, "DDATA")] == ["cat", "dog"]
    assert peer.five == (version == 5)


def test_a_session_in_order_ends_with_a_death_and_the_next_has_the_next_number(make, broker, told):
    sink = make()
    for _ in range(2):
        sink.open(told)
        sink.close()
    peers = [broker.peer(number) for number in range(2)]
    broker.wait("both ends", lambda: all(peer.disconnected for peer in peers))
    for number, peer in enumerate(peers):
        assert [values(m)["bdSeq"] for m in (*of(peer, "NBIRTH"), *of(peer, "NDEATH"))] == [number, number]
    assert told.gone == []


def test_after_a_rebirth_is_asked_for_the_birth_says_what_was_sent_last(make, broker, told):
    sink = make()
    sink.open(told)
    sink.send_all([result(1, "cat")])
    peer = broker.peer()
    peer.publish(NODE.format("NCMD"), rebirth())
    broker.wait("a second birth", lambda: len(of(peer, "DBIRTH")) == 2)

    assert values(of(peer, "DBIRTH")[1])["top/label"] == "cat"
    assert [decode(m.payload).seq for m in of(peer, "NBIRTH")] == [0, 0]


def test_a_birth_says_the_newest_result_as_one_of_now_also_where_it_came_late(make, broker, told):
    sink = make()
    sink.open(told)
    sink.send_all([result(9, "new", replayed=True), result(3, "old", replayed=True)])
    peer = broker.peer()
    peer.publish(NODE.format("NCMD"), rebirth())
    broker.wait("a second birth", lambda: len(of(peer, "DBIRTH")) == 2)

    said = decode(of(peer, "DBIRTH")[1].payload).metrics
    assert ({m.historical for m in said}, values(of(peer, "DBIRTH")[1])["top/label"]) == ({False}, "new")


@pytest.mark.parametrize(
    ("payload", "retain", "said"),
    [
        (rebirth(), True, "a retained command is not followed"),
        (b"\xff\xff", False, "a command that is none"),
        (rebirth(wanted=False), False, None),
        (encode(Payload(1, [Metric("Node Control/Reboot", True, BOOLEAN)])), False, None),
    ],
    ids=["retained", "no payload", "false", "another"],
)
def test_a_command_that_asks_for_no_rebirth_gives_none(payload, retain, said, make, broker, told, caplog):
    sink = make()
    sink.open(told)
    peer = broker.peer()
    peer.publish(NODE.format("NCMD"), payload, retain=retain)
    peer.publish("somebody/elses", rebirth())
    sink.send_all([result(1, "cat")])  # its answer comes behind the command

    assert len(of(peer, "NBIRTH")) == 1
    assert [r.getMessage() for r in caplog.records if r.name == "edge.mqtt"] == ([said] if said else [])


def test_a_broker_that_refuses_the_connection_is_told_with_its_reason(make, broker, told):
    broker.connack = lambda _: 0x87
    with pytest.raises(UnavailableError, match=f"{broker.url}: the broker refuses the connection: not authorized"):
        make(version=5).open(told)


def test_a_broker_that_refuses_the_commands_is_told_with_its_reason(make, broker, told):
    broker.granted_qos = 0x87
    with pytest.raises(UnavailableError, match=r"refuses to subscribe to spBv1\.0/edge/NCMD/pi-m: not authorized"):
        make(version=5).open(told)
    assert of(broker.peer(), "NBIRTH") == []


@pytest.mark.parametrize("scheme", ["mqtt", "ws", "mqtts"])
def test_a_broker_that_is_not_there_is_named_without_its_password(scheme, told):
    at = MqttSession(MqttOptions(parse(f"{scheme}://user:secret@127.0.0.1:1"), "tested"))
    with pytest.raises(UnavailableError, match=f"^{scheme}://127.0.0.1:1.*: .*refused"):
        node.create("", SinkContext(topic="edge/pi/m", transport=at)).open(told)


def test_a_connection_that_breaks_is_told_once_and_what_was_on_its_way_is_not_confirmed(make, broker, told):
    sink = make()
    sink.open(told)
    broker.peer().close()
    until(lambda: told.gone, "paho has seen it")
    with pytest.raises(UnavailableError, match="the connection was lost"):
        sink.send_all([result(1, "cat")])

    assert told.stored == []
    assert [reason.partition(": ")[2].split(" (")[0] for reason in told.gone] == ["the connection was lost"]


def test_before_it_is_opened_nothing_is_taken(make):
    with pytest.raises(UnavailableError, match="not connected"):
        make().send_all([result(1, "cat")])


def test_what_a_host_says_that_is_older_or_no_state_counts_for_nothing(make, broker, told, caplog):
    goes_online(broker)
    sink = make("scada")
    sink.open(told)
    peer = broker.peer()
    for data in (state(False, 4), b"OFFLINE", b"{}"):
        peer.publish(STATE, data, retain=False)
    sink.send_all([result(1, "cat")])

    assert told.stored == [1]
    assert [r.getMessage() for r in caplog.records] == ["a state of the primary host that is none"] * 2


def test_when_the_host_goes_offline_the_node_dies_in_order_and_says_so(make, broker, told):
    goes_online(broker)
    sink = make("scada")
    sink.open(told)
    peer = broker.peer()
    peer.publish(STATE, state(False, 6), retain=False)
    broker.wait("the end", lambda: peer.disconnected)

    assert [values(m)["bdSeq"] for m in of(peer, "NDEATH")] == [0]
    assert [reason.partition(": ")[2] for reason in told.gone] == [f"the primary host went offline ({STATE})"]
    with pytest.raises(UnavailableError, match="the primary host went offline"):
        sink.send_all([result(1, "cat")])


def test_a_check_says_who_answers_and_leaves(make, broker):
    assert make().reach().text == f"{broker.url} answers, {NODE.format('NBIRTH')}"
    broker.wait("the end", lambda: broker.peer().disconnected)


@pytest.mark.parametrize(("host", "reason"), [("a/b", "an id has no /"), ("+", "an id has no /")])
def test_an_id_of_a_host_that_no_topic_can_hold_is_refused(host, reason, make):
    with pytest.raises(ConfigError, match=reason):
        make(host)


def test_without_a_broker_it_is_refused():
    with pytest.raises(ConfigError, match="--format sparkplug needs a broker, but --mqtt is none"):
        node.create("", SinkContext(topic="edge/pi/m"))
