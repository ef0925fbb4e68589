"""The connection to a real broker, cut at moments that could be misunderstood."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from integration.faults.broker import Broker, find_mosquitto
from integration.faults.proxy import Proxy
from integration.faults.waiting import wait_until

from edge.mqtt.messages import MqttOptions
from edge.mqtt.session import MqttSession
from edge.mqtt.url import BrokerUrl

pytestmark = pytest.mark.skipif(find_mosquitto() is None, reason="needs mosquitto (apt-get install mosquitto)")


@pytest.fixture
def link(tmp_path) -> Iterator[Proxy]:
    broker = Broker(tmp_path / "broker")
    broker.start()
    proxy = Proxy(broker.port)
    proxy.start()
    yield proxy
    proxy.stop()
    broker.close()


@pytest.fixture(autouse=True)
def told(caplog) -> None:
    caplog.set_level("INFO", "edge.mqtt")


@pytest.fixture
def failures() -> list[str]:
    """Why tries were in vain."""
    return []


@pytest.fixture
def session(link, failures) -> Iterator[MqttSession]:
    url = BrokerUrl("mqtt", "127.0.0.1", link.port)
    session = MqttSession(MqttOptions(url, "reconnecting"), wait_s=lambda: 0.05, unavailable=failures.append)
    yield session
    session.stop()


def protocol(caplog) -> str:
    """Of the newest connection, as the log says."""
    return [r.protocol for r in caplog.records if r.message == "connected to the broker"][-1]


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_a_proxy_that_hangs_up_does_not_cost_mqtt_5(link, session, failures, tries, caplog):
    """Request and response stand on properties that MQTT 3.1.1 has not."""
    session.start()
    wait_until("a connection", lambda: session.up, 10)
    link.refuse()
    wait_until("some tries in vain", lambda: len(failures) > tries, 10)
    link.accept()
    wait_until("a connection again", lambda: session.up, 10)
    assert protocol(caplog) == "MQTT 5"


def test_a_start_behind_a_proxy_that_hangs_up_comes_to_mqtt_5_with_the_next_connection(link, session, failures, caplog):
    link.refuse()
    session.start()
    wait_until("some tries in vain", lambda: len(failures) > 2, 10)
    link.accept()
    wait_until("a connection", lambda: session.up, 10)
    link.cut()
    wait_until("a connection again", lambda: session.connects == 2 and session.up, 10)
    assert protocol(caplog) == "MQTT 5"


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
