"""`--commands` of `edge-run` as a process, at a real mosquitto."""

from __future__ import annotations

import pytest

from edge.mqtt.messages import RECEIVE_MAXIMUM


def test_a_pause_is_ended_by_a_command_however_many_inputs_wait_and_all_come_in_order(
    edge_run, flowers, broker, client
):
    listener = client(broker.port, "edge/pi/flowers/#")
    edge_run("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--commands")
    listener.wait_for_text("edge/pi/flowers/status", b"online")
    listener.publish("edge/pi/flowers/set", {"command": "pause"})
    listener.wait_for("answer", 1)
    count = RECEIVE_MAXIMUM + 10  # more than the broker sends before one is acknowledged
    for number in range(count):
        listener.publish("edge/pi/flowers/input", flowers.rows[number])
    listener.publish("edge/pi/flowers/set", {"command": "log-level", "value": "info"})
    listener.wait_for("answer", 2)
    assert not listener.of("result")
    listener.publish("edge/pi/flowers/set", {"command": "resume"})
    results = listener.wait_for("result", count)
    assert [r["predictions"][0]["label"] for r in results] == flowers.answers[:count]


@pytest.mark.long
def test_a_command_that_the_broker_has_retained_is_refused_at_each_start(edge_run, flowers, broker, client):
    listener = client(broker.port, "edge/pi/flowers/#")
    listener.publish("edge/pi/flowers/set", {"command": "pause"}, retain=True)
    for _ in range(2):
        process = edge_run("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--commands")
        assert "had retained it" in listener.wait_for("error")[0]["reason"]
        assert listener.wait_for("answer")[0]["settings"]["paused"] is False
        assert process.stop() == 0
        listener.forget()
