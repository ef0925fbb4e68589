"""Several runs on a real broker: one connection, and one run that is broken."""

from __future__ import annotations

import signal

from support import onnxmodels


def test_runs_share_a_connection_and_one_that_is_broken_stops_no_other(edge_run, broker, client, tmp_path):
    """Inputs of each go to its own model; a process that is killed is `offline` on the status that its runs share."""
    onnxmodels.scores(tmp_path / "two.onnx", classes=2, features=2)
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    (tmp_path / "runs.toml").write_text(
        f'device = "pi"\nmqtt = "{broker.url}"\nstate-dir = "{tmp_path}/state"\n'
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
    assert process.said().count("connected to the broker") == 1

    process.process.kill()
    heard.wait_until(lambda: is_told("edge/pi/status", b"offline"))
    process = edge_run("--config", tmp_path / "runs.toml")
    heard.messages.clear()
    heard.wait_until(lambda: is_told("edge/pi/other/status", b"online"))
    assert process.stop(signal.SIGTERM) == 3
    heard.wait_until(lambda: all(is_told(f"edge/pi{of}/status", b"offline") for of in ("", "/one", "/other")))
