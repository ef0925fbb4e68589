"""`--batch` as a process, at a real mosquitto."""

from __future__ import annotations

import itertools
import json
from importlib import resources

import jsonschema
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from support.processes import until

INPUT = "edge/pi/flowers/input"


@pytest.fixture
def start(edge_run, flowers, client):
    """A service that joins up to 32 results, online, and a client that hears it."""

    def begin(broker, *args):
        listener = client(broker.port, "edge/pi/flowers/#", "asker/7", name="listener")
        listener.process = edge_run(
            *("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--batch", "32"), *args, stdin=-1
        )
        listener.wait_for_text("edge/pi/flowers/status", b"online")
        return listener

    return begin


def everything(listener):
    return list(itertools.chain.from_iterable(listener.of("result")))


def many(flowers, count):
    return [list(flowers.rows[i % 150].values()) for i in range(count)]


def test_results_that_come_together_are_arrays_of_valid_results_in_order(start, broker, flowers):
    listener = start(broker)
    listener.publish(INPUT, many(flowers, 100))
    until(lambda: len(everything(listener)) == 100, "a hundred results")
    counts = [len(array) for array in listener.of("result")]
    assert 1 < max(counts) <= 32  # a batch runs in pieces: what is there when a message goes, goes along
    assert [r["seq"] for r in everything(listener)] == list(range(1, 101))
    schema = json.loads(resources.files("edge.data").joinpath("result.schema.json").read_text())
    jsonschema.validate(everything(listener), {"type": "array", "items": schema})
    said = [dict(p.UserProperty) for topic, _, p in listener.messages if topic.endswith("/result")]
    firsts = [array[0]["seq"] for array in listener.of("result")]
    assert [(p["count"], p["seq"]) for p in said] == [(str(c), str(f)) for c, f in zip(counts, firsts, strict=True)]
    (info,) = listener.of("info")
    assert info["batch"] == 32


def test_a_lone_result_is_an_array_of_one_and_its_asker_gets_an_object(start, broker, flowers):
    listener = start(broker)
    question = Properties(PacketTypes.PUBLISH)
    question.ResponseTopic = "asker/7"
    listener.publish(INPUT, flowers.rows[0])
    listener.publish(INPUT, flowers.rows[60], question)
    listener.publish(INPUT, [1, 2])
    (first,), (second,) = listener.wait_for("result", 2)
    (answer,) = listener.wait_for("7")
    (error,) = listener.wait_for("error")
    assert [first["seq"], second["seq"], error["seq"]] == [1, 2, 3]
    assert answer == second


def test_a_message_stays_below_what_the_broker_takes(start, mosquitto, flowers):
    listener = start(mosquitto("max_packet_size 3000"))
    listener.publish(INPUT, many(flowers, 40))
    until(lambda: len(everything(listener)) == 40, "forty results")
    sizes = [len(p) for topic, p, _ in listener.messages if topic.endswith("/result")]
    assert max(sizes) < 3000
    assert len(sizes) < 40


def test_rows_are_delivered_whole_through_a_broker_that_goes_and_comes_back(start, mosquitto, flowers):
    broker = mosquitto()
    listener = start(broker, "--source", "-")
    process = listener.process
    rows = [json.dumps(row).encode() + b"\n" for row in many(flowers, 20_000)]
    process.process.stdin.writelines(rows[:10_000])
    process.process.stdin.flush()
    listener.wait_for("result", 20)
    broker.end()
    process.wait_until_said("no broker")
    process.process.stdin.writelines(rows[10_000:])
    process.process.stdin.flush()
    broker.start()
    process.process.stdin.close()
    assert process.process.wait(150) == 0
    until(lambda: len({r["seq"] for r in everything(listener)}) == 20_000, "every result")
    assert any(r.get("replayed") for r in everything(listener))
