"""Several runs with a connection each for their inputs, on a real broker: what one of them does not do to another."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from support import onnxmodels


def test_one_that_is_broken_stops_no_other(edge_run, broker, client, tmp_path):
    """Inputs of each go to its own model; a process that is killed is `offline` on the status that its runs share."""
    onnxmodels.scores(tmp_path / "two.onnx", classes=2, features=2)
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    (tmp_path / "runs.toml").write_text(
        f'device = "pi"\nmqtt = "{broker.url}"\nmqtt-connections = "each"\nstate-dir = "{tmp_path}/state"\n'
        + "".join(
            f'[[run]]\nname = "{name}"\nmodel = "{tmp_path}/{model}.onnx"\n'
            for name, model in (("bad", "broken"), ("one", "two"), ("other", "two"))
        )
    )
    heard = client(broker.port, "edge/pi/#")

    def is_told(topic: str, payload: bytes) -> bool:
        return (topic, payload) in [(t, p) for t, p, _ in heard.messages]

    process = edge_run("--config", tmp_path / "runs.toml")
    heard.wait_until(lambda: all(is_told(f"edge/pi/{name}/status", b"online") for name in ("one", "other")))
    heard.wait_until(lambda: is_told("edge/pi/status", b"online") and is_told("edge/pi/bad/status", b"offline"))
    assert "no" in heard.wait_for("error")[0]["reason"]
    for number, name in enumerate(("one", "other", "one"), start=1):
        heard.publish(f"edge/pi/{name}/input", [number, 2])
        found = heard.wait_for("result", number)[-1]
        assert (found["model"]["name"], found["source"]) == (name, f"mqtt:edge/pi/{name}/input")
    assert process.said().count("connected to the broker") == 3  # the process, and the inputs of two
    for client_id in ("edge-run-pi-", "edge-run-pi-one-", "edge-run-pi-other-"):
        assert re.search(rf"connected to the broker.* client_id={client_id}[0-9a-f]+\n", process.said()), client_id

    heard.forget()
    process.process.kill()
    heard.wait_until(lambda: all(is_told(f"edge/pi{of}/status", b"offline") for of in ("", "/one", "/other")))
    process = edge_run("--config", tmp_path / "runs.toml")
    heard.messages.clear()
    heard.wait_until(lambda: is_told("edge/pi/other/status", b"online"))
    assert process.stop(signal.SIGTERM) == 3
    heard.wait_until(lambda: all(is_told(f"edge/pi{of}/status", b"offline") for of in ("", "/one", "/other")))


def _tables(folder: Path, url: str, *names: str, rest: str = "") -> Path:
    onnxmodels.scores(folder / "two.onnx", classes=2, features=2)
    text = "".join(f'[[run]]\nname = "{name}"\nmodel = "{folder}/two.onnx"\n' for name in names)
    file = folder / "runs.toml"
    file.write_text(
        f'device = "pi"\nmqtt = "{url}"\nmqtt-connections = "each"\nstate-dir = "{folder}/state"\n{rest}\n{text}'
    )
    return file


def test_inputs_that_one_run_does_not_take_hold_up_no_other(edge_run, broker, client, tmp_path):
    """One is paused with more inputs than a broker sends without an acknowledgement."""
    heard = client(broker.port, "edge/pi/#")
    edge_run("--config", _tables(tmp_path, broker.url, "slow", "quick", rest="commands = true"))
    heard.wait_for_runs("slow", "quick")
    heard.publish("edge/pi/slow/set", {"command": "pause"})
    heard.wait_for("answer")
    for number in range(200):
        heard.publish("edge/pi/slow/input", [number, 2])
    for number in range(20):
        heard.publish("edge/pi/quick/input", [number, 2])
    found = heard.wait_for("result", 20)
    assert {one["model"]["name"] for one in found} == {"quick"}

    heard.publish("edge/pi/slow/set", {"command": "resume"})
    slow = [one["seq"] for one in heard.wait_for("result", 220) if one["model"]["name"] == "slow"]
    assert slow == sorted(slow)
    assert len(slow) == 200


def test_inputs_of_a_run_that_has_ended_wait_until_it_begins_again(edge_run, broker, client, tmp_path):
    file = _tables(tmp_path, broker.url, "bad", "good")
    heard = client(broker.port, "edge/pi/#")
    process = edge_run("--config", file)
    heard.wait_for_runs("bad", "good")
    assert process.stop() == 0
    (spool,) = (tmp_path / "state").glob("pi.bad.mqtt*.spool")
    kept = spool.rename(tmp_path / "kept")
    spool.mkdir()  # which none can be
    heard.forget()

    process = edge_run("--config", file)
    heard.wait_for_runs("good")
    heard.publish("edge/pi/bad/input", [1, 2])
    heard.publish("edge/pi/good/input", [3, 4])
    assert heard.wait_for("result")[0]["model"]["name"] == "good"
    assert process.stop() != 0

    spool.rmdir()
    kept.rename(spool)
    edge_run("--config", file)
    assert heard.wait_for("result", 2)[1]["model"]["name"] == "bad"


def test_two_runs_may_hear_the_same_topic(edge_run, broker, client, tmp_path):
    heard = client(broker.port, "edge/pi/#")
    edge_run("--config", _tables(tmp_path, broker.url, "one", "other", rest='source = "mqtt:sensor/+"'))
    heard.wait_for_runs("one", "other")
    heard.publish("sensor/1", [1, 2])
    assert {one["model"]["name"] for one in heard.wait_for("result", 2)} == {"one", "other"}
