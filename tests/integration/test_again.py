"""An input that comes again after a kill, whose result is on disk already, is not inferred again."""

from __future__ import annotations

import queue

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.data.message import Message
from edge.mqtt.messages import Incoming
from edge.mqtt.redelivery import ORIGIN, digest
from edge.storage.sqlite import SqliteSpool

NAME = "the-one"
INPUT = "edge/pi/flowers/input"


def take_without_acknowledging(port: int, publish) -> paho.MQTTMessage:
    """What a service does that is killed in between: the broker keeps the session and the message.

    It has acknowledged another one before: where identifiers begin at 1, a broker may have numbered anew.
    """
    came: queue.SimpleQueue[object] = queue.SimpleQueue()
    device = paho.Client(CallbackAPIVersion.VERSION2, NAME, protocol=paho.MQTTv5, manual_ack=True)
    device.on_message = lambda *a: came.put(a[2])
    device.on_subscribe = lambda *_: came.put("subscribed")
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 3600
    device.connect("127.0.0.1", port, clean_start=False, properties=properties)
    device.loop_start()
    device.subscribe(INPUT, 1)
    assert came.get(timeout=150) == "subscribed"
    publish()
    first = came.get(timeout=150)
    device.ack(first.mid, 1)
    publish()
    message = came.get(timeout=150)
    device.loop_stop()
    device.socket().close()
    return message


def test_what_an_earlier_life_left_in_the_spool_is_sent_and_not_inferred_again(
    edge_run, flowers, broker, client, tmp_path
):
    listener = client(broker.port, "edge/pi/flowers/#")
    taken = take_without_acknowledging(broker.port, lambda: listener.publish(INPUT, {"id": 1, **flowers.rows[0]}))
    same = digest(Incoming(INPUT, taken.payload, 1, True, False, taken.mid))
    spool = SqliteSpool(tmp_path / "state" / "pi.flowers.mqtt.spool", 10**6)
    spool.open()
    spool.append([Message("result", b'{"id":"earlier","input_id":1}', 1, origin=ORIGIN.pack(taken.mid, same))])
    spool.close()

    edge_run(
        *("--model", flowers.path, "--mqtt", broker.url, "--device", "pi"),
        *("--mqtt-client-id", NAME, "--state-dir", tmp_path / "state"),
    )
    listener.wait_for("result", 1)
    listener.publish(INPUT, {"id": 2, **flowers.rows[1]})
    results = listener.wait_for("result", 2)
    assert [r["input_id"] for r in results] == [1, 2]
    assert results[0]["id"] == "earlier"
    assert results[1]["seq"] == 1
    assert listener.of("error") == []


def test_one_whose_result_is_not_on_disk_is_inferred(edge_run, flowers, broker, client, tmp_path):
    listener = client(broker.port, "edge/pi/flowers/#")
    take_without_acknowledging(broker.port, lambda: listener.publish(INPUT, {"id": 1, **flowers.rows[0]}))
    edge_run(
        *("--model", flowers.path, "--mqtt", broker.url, "--device", "pi"),
        *("--mqtt-client-id", NAME, "--state-dir", tmp_path / "state"),
    )
    (result,) = listener.wait_for("result", 1)
    assert (result["input_id"], result["seq"]) == (1, 1)
