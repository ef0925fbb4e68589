"""Brokers that do not take everything, and askers who name what nobody may use."""

from __future__ import annotations

import json

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from support.processes import until

INPUT = "edge/pi/flowers/input"
STATUS = "edge/pi/flowers/status"


def dropped(listener):
    return listener.wait_for("stats")[-1]["dropped"]


@pytest.fixture
def start(edge_run, flowers, client):
    """`edge-run` on a broker, online, and a client that hears it."""

    def begin(broker, *args):
        listener = client(broker.port, "edge/pi/flowers/#")
        process = edge_run("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", *args)
        listener.wait_for_text(STATUS, b"online")
        return process, listener

    return begin


@pytest.mark.parametrize("topic", ["a/+/b", "#", "$SYS/broker/uptime"])
def test_an_asker_with_an_impossible_response_topic_harms_nobody(start, mosquitto, flowers, topic):
    process, listener = start(mosquitto("max_queued_messages 1000"), "--stats-interval", "0.5")
    asked = Properties(PacketTypes.PUBLISH)
    asked.ResponseTopic = topic
    listener.publish(INPUT, flowers.rows[0], asked)
    listener.publish(INPUT, flowers.rows[1])
    until(lambda: {r["seq"] for r in listener.of("result")} == {1, 2}, "both results")
    assert process.process.poll() is None
    until(lambda: dropped(listener).get("mqtt:reply", 0) >= 1, "the answer is counted as dropped")


def test_a_result_larger_than_the_broker_takes_is_dropped_and_the_next_is_not(start, mosquitto, flowers):
    process, listener = start(mosquitto("max_packet_size 1200"), "--stats-interval", "0.5")
    listener.publish(INPUT, {"id": "x" * 900, **flowers.rows[0]})
    listener.publish(INPUT, flowers.rows[1])
    (result,) = listener.wait_for("result")
    assert result["seq"] == 2
    assert "the broker takes at most 1200" in process.said()
    assert process.said().count("connected to the broker") == 1
    until(lambda: dropped(listener).get("mqtt:refused") == 1, "it is counted")


def test_a_broker_that_retains_nothing_is_used_without(start, mosquitto, flowers):
    process, listener = start(mosquitto("retain_available false"))
    listener.publish(INPUT, flowers.rows[0])
    listener.wait_for("result")
    assert "the broker retains nothing" in process.said()


@pytest.mark.parametrize(("limit", "said"), [
    ("max_qos 0", "the broker has QoS 0 only"),
    ("retain_available false", "the broker retains nothing"),
])  # fmt: skip
def test_what_a_broker_of_mqtt_3_cannot_say_of_itself_is_found(edge_run, mosquitto, flowers, client, limit, said):
    broker = mosquitto(limit)
    listener = client(broker.port, "edge/pi/flowers/#")
    spoken = ("--mqtt-version", "3.1.1")
    process = edge_run("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", *spoken)
    until(lambda: said in process.said(), "what the broker has not")
    listener.wait_for_text(STATUS, b"online")
    listener.client.publish(INPUT, json.dumps(flowers.rows[0]), qos=0)
    listener.wait_for("result")
    for other in {"the broker has QoS 0 only", "the broker retains nothing"} - {said}:
        assert other not in process.said()
