"""A message with a million rows: little memory, others are answered meanwhile, and the end does not wait for it."""

from __future__ import annotations

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from support.processes import until

BASE = "edge/pi/flowers"
MOST_MB = 200


def results(heard):
    return heard.of("stats")[-1]["results"] if heard.of("stats") else 0


def test_a_million_rows_in_one_message_harm_nobody_and_come_again(edge_run, flowers, mosquitto, client):
    broker = mosquitto("")
    heard = client(broker.port, *(f"{BASE}/{kind}" for kind in ("status", "stats", "error")), "asker/#")
    arguments = (*("--model", flowers.path, "--mqtt", broker.url, "--device", "pi"), *("--stats-interval", "0.5"))
    process = edge_run(*arguments)
    heard.wait_for_text(f"{BASE}/status", b"online")
    asked = Properties(PacketTypes.PUBLISH)
    asked.ResponseTopic = "asker/7"
    heard.publish(f"{BASE}/input", flowers.rows[0], asked)
    heard.wait_for("7")
    idle = process.memory_mb("VmRSS")

    heard.publish(f"{BASE}/input", b"[" + b",".join([b"[1,1,1,1]"] * 1_000_000) + b"]")
    until(lambda: results(heard) > 200, "some of its results")
    heard.publish(f"{BASE}/input", flowers.rows[1], asked)
    heard.wait_for("7", 2)
    assert process.memory_mb("VmHWM") < idle + MOST_MB
    assert process.stop() == 0
    assert "it is not acknowledged, and comes again" in process.said()

    heard.wait_for_text(f"{BASE}/status", b"offline")  # no word of the first life comes any more
    heard.messages.clear()
    again = edge_run(*arguments)
    until(lambda: results(heard) > 200, "it comes again")
    assert again.stop() == 0
    assert heard.of("error") == []
