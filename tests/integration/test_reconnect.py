"""The connection to a real broker, cut at moments that could be misunderstood."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import paho.mqtt.client as paho
import pytest
from integration.faults.broker import Broker, find_mosquitto
from integration.faults.proxy import Proxy
from integration.faults.waiting import wait_until
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.mqtt.messages import Incoming, Listener, MqttOptions, Steady
from edge.mqtt.session import MqttSession
from edge.mqtt.url import BrokerUrl

pytestmark = pytest.mark.skipif(find_mosquitto() is None, reason="needs mosquitto (apt-get install mosquitto)")


@pytest.fixture
def kept(tmp_path) -> Iterator[Broker]:
    """A broker that keeps its sessions, and logs what is subscribed to."""
    broker = Broker(tmp_path / "broker", "log_type subscribe\n")
    broker.start()
    yield broker
    broker.close()


@pytest.fixture
def link(kept) -> Iterator[Proxy]:
    proxy = Proxy(kept.port)
    proxy.start()
    yield proxy
    proxy.stop()


@pytest.fixture(autouse=True)
def told(caplog) -> None:
    caplog.set_level("INFO", "edge.mqtt")


@pytest.fixture
def failures() -> list[str]:
    """Why tries were in vain."""
    return []


class Failures(Listener):
    def __init__(self, reasons: list[str]) -> None:
        self._reasons = reasons

    def away(self, reason: str) -> None:
        self._reasons.append(reason)


@pytest.fixture
def session(link, failures) -> Iterator[MqttSession]:
    url = BrokerUrl("mqtt", "127.0.0.1", link.port)
    session = MqttSession(MqttOptions(url, "reconnecting"), retry=Steady(0.05))
    session.listen(Failures(failures))
    yield session
    session.stop()


def protocol(caplog) -> str:
    """Of the newest connection, as the log says."""
    return [r.protocol for r in caplog.records if r.message == "connected to the broker"][-1]


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_a_proxy_that_hangs_up_does_not_cost_mqtt_5(link, session, failures, tries, caplog):
    """Request and response stand on properties that MQTT 3.1.1 has not."""
    session.start()
    wait_until("a connection", lambda: session.up, 150)
    link.refuse()
    wait_until("some tries in vain", lambda: len(failures) > tries, 150)
    link.accept()
    wait_until("a connection again", lambda: session.up, 150)
    assert protocol(caplog) == "MQTT 5"


def test_a_start_behind_a_proxy_that_hangs_up_comes_to_mqtt_5_with_the_next_connection(link, session, failures, caplog):
    link.refuse()
    session.start()
    wait_until("some tries in vain", lambda: len(failures) > 2, 150)
    link.accept()
    wait_until("a connection", lambda: session.up, 150)
    link.cut()
    wait_until("a connection again", lambda: session.connects == 2 and session.up, 150)
    assert protocol(caplog) == "MQTT 5"


def take_the_session(port: int, client_id: str) -> None:
    """Another client of this id: it begins a session of its own that the broker keeps, subscribes to nothing, goes."""
    other = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv5, reconnect_on_failure=False)
    accepted = threading.Event()
    other.on_connect = lambda *_: accepted.set()
    kept = Properties(PacketTypes.CONNECT)
    kept.SessionExpiryInterval = 3600
    other.connect("127.0.0.1", port, clean_start=True, properties=kept)
    other.loop_start()
    assert accepted.wait(30), "the broker does not answer the other client"
    other.disconnect()
    other.loop_stop()


@pytest.mark.parametrize("version", [5, 4])
def test_inputs_come_after_another_client_of_the_same_id_had_the_session(broker, client, version):
    heard: list[bytes] = []
    options = MqttOptions(BrokerUrl("mqtt", "127.0.0.1", broker.port), "reconnecting", version=version)
    session = MqttSession(options, retry=Steady(0.05))

    def take(incoming: Incoming) -> None:
        heard.append(incoming.payload)
        session.ack_now(incoming)

    session.subscribe("in/#", take)
    session.start()
    try:
        publisher = client(broker.port)
        wait_until("an input", lambda: publisher.publish("in/live", b"before") or b"before" in heard, 60)
        take_the_session(broker.port, "reconnecting")
        wait_until("another connection", lambda: session.connects > 1 and session.up, 60)
        wait_until("an input again", lambda: publisher.publish("in/live", b"after") or b"after" in heard, 60)
    finally:
        session.stop()


def test_a_session_that_outlives_the_broker_s_restart_is_not_subscribed_again(kept, link, session, failures, tmp_path):
    """It closes its connections without a word, as it does for another client, but then it is away."""
    session.subscribe("in/#", lambda incoming: None)
    session.start()
    log = tmp_path / "broker" / "log"
    wait_until("the subscription", lambda: "reconnecting 1 in/#" in log.read_text(), 60)
    kept.stop()
    wait_until("a try in vain", lambda: len(failures) > 1, 60)
    kept.start()
    wait_until("a connection again", lambda: session.connects == 2 and session.up, 60)
    session.stop()
    assert log.read_text().count("reconnecting 1 in/#") == 1


def test_what_an_earlier_life_subscribed_to_does_not_stop_the_inputs_of_this_one(edge_run, flowers, broker, client):
    listener = client(broker.port, "edge/pi/flowers/#")
    flags = ("--model", flowers.path, "--mqtt", broker.url, "--device", "pi")
    earlier = edge_run(*flags, "--source", "mqtt:old/topic")
    listener.wait_for_text("edge/pi/flowers/status", b"online")
    assert earlier.stop() == 0
    for number in range(80):  # more than the broker sends unacknowledged
        listener.publish("old/topic", flowers.rows[number])
    listener.messages.clear()
    edge_run(*flags)
    listener.wait_for_text("edge/pi/flowers/status", b"online")
    listener.publish("edge/pi/flowers/input", flowers.rows[0])
    assert listener.wait_for("result")[0]["source"] == "mqtt:edge/pi/flowers/input"
