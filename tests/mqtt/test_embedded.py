"""The broker inside the process loses nothing that it has confirmed, as long as somebody takes it."""

from __future__ import annotations

import asyncio
import socket
import threading

import paho.mqtt.client as paho
from amqtt.broker import Broker
from paho.mqtt.enums import CallbackAPIVersion
from support.processes import free_port, until

from edge.mqtt.embedded import EmbeddedBroker

MESSAGES = 300
MANY = 2000
BIG = b"x" * 20_000


def subscriber_of(broker):
    """One whose loop is still to be run, the event of its subscription, and the messages that it has received."""
    subscribed, received = threading.Event(), []
    subscriber = paho.Client(CallbackAPIVersion.VERSION2)
    subscriber.on_connect = lambda client, *_: client.subscribe("all", qos=1)
    subscriber.on_subscribe = lambda *_: subscribed.set()
    subscriber.on_message = lambda _c, _u, message: received.append(message)
    subscriber.connect("127.0.0.1", broker.port)
    return subscriber, subscribed, received


def test_its_end_waits_for_a_subscriber_that_is_behind():
    broker = EmbeddedBroker(free_port())
    broker.start()
    subscriber, subscribed, received = subscriber_of(broker)
    until(lambda: subscriber.loop() == 0 and subscribed.is_set(), "subscribed")

    publisher = paho.Client(CallbackAPIVersion.VERSION2)
    publisher.connect("127.0.0.1", broker.port)
    publisher.loop_start()
    for confirmed in [publisher.publish("all", BIG, qos=1) for _ in range(MESSAGES)]:
        confirmed.wait_for_publish()
    ending = threading.Thread(target=broker.stop)
    ending.start()
    while subscriber.loop() == 0:
        pass  # it reads a packet at a time, until there is none and the connection has ended

    assert len(received) == MESSAGES
    ending.join()
    publisher.disconnect()
    publisher.loop_stop()


def test_what_a_publisher_has_had_confirmed_is_handed_out_before_it_disconnects():
    broker = EmbeddedBroker(free_port())
    broker.start()
    subscriber, subscribed, received = subscriber_of(broker)
    subscriber.loop_start()
    until(subscribed.is_set, "subscribed")

    publisher = paho.Client(CallbackAPIVersion.VERSION2)
    publisher.max_inflight_messages = MANY
    publisher.connect("127.0.0.1", broker.port)
    publisher.loop_start()
    for confirmed in [publisher.publish("all", b"small", qos=1) for _ in range(MANY)]:
        confirmed.wait_for_publish()
    broker.hand_out()
    publisher.disconnect()
    publisher.loop_stop()

    until(lambda: len(received) == MANY, "all of them received")
    broker.stop()
    subscriber.loop_stop()


def test_an_end_of_amqtt_that_never_comes_is_asked_for_once_more(monkeypatch):
    """It waits for ever for a client whose connection it takes this moment (from Python 3.12 on, also for one that has
    connected and says nothing), and the next time without that one."""
    ends, shutdown = [], Broker.shutdown

    async def late(self: Broker) -> None:
        ends.append(self)
        if len(ends) == 1:
            await asyncio.Event().wait()
        await shutdown(self)

    monkeypatch.setattr(Broker, "shutdown", late)
    broker = EmbeddedBroker(free_port())
    broker.start()
    broker.stop()

    assert len(ends) == 2
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", broker.port)) != 0
