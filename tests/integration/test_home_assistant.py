"""`edge-run --home-assistant` at a real mosquitto; what Home Assistant makes of it: homeassistant/test_peer.py."""

from __future__ import annotations

import json
import subprocess

import cv2
import numpy as np
import pytest
from support import onnxmodels
from support.processes import BINARIES

CONFIG = "homeassistant/device/edge-run_pi_flowers/config"
INPUT = "edge/pi/flowers/input"


@pytest.fixture
def start(edge_run, broker):
    def run(model, *flags):
        return edge_run("--model", model, "--mqtt", broker.url, "--device", "pi", "--home-assistant", *flags)

    return run


def test_the_device_announces_itself_retained_with_the_state_of_the_board(start, flowers, broker, client):
    listener = client(broker.port, "edge/pi/flowers/#")
    start(flowers.path)
    listener.wait_for("stats")
    late = client(broker.port, "homeassistant/#")
    (document,) = late.wait_for("config")
    assert late.messages[0][0] == CONFIG
    assert {"label", "score", "latency"} <= set(document["components"])
    assert document["availability_topic"] == "edge/pi/flowers/status"
    assert isinstance(listener.of("stats")[0]["board"], dict)


def test_home_assistant_s_return_brings_document_and_last_result_again(start, flowers, broker, client):
    listener = client(broker.port, "edge/pi/flowers/#", "homeassistant/+/+/config")
    start(flowers.path, "--on-change")
    listener.wait_for("config")
    for i in (0, 1):
        listener.publish(INPUT, flowers.rows[i])
    first = listener.wait_for("result")[0]
    listener.publish("homeassistant/status", "online")
    assert len(listener.wait_for("config", 2)) == 2
    assert listener.wait_for("result", 2)[1] == {**first, "replayed": True}


def test_another_prefix_is_taken_and_the_old_device_removed(start, flowers, broker, client):
    first = start(flowers.path)
    client(broker.port, CONFIG).wait_for("config")
    assert first.stop() == 0
    start(flowers.path, "ha/discovery")
    client(broker.port, "ha/discovery/#").wait_for("config")
    nobody = client(broker.port, "homeassistant/#")
    nobody.publish("homeassistant/config", "{}")  # behind what is retained
    nobody.wait_for("config")
    assert [t for t, _, _ in nobody.messages] == ["homeassistant/config"]


def test_pictures_come_with_home_assistant_only(edge_run, start, broker, client, tmp_path):
    model = onnxmodels.one_box(tmp_path / "detector.onnx")
    (tmp_path / "labels.txt").write_text("cat\nperson\n")
    picture = cv2.imencode(".png", np.zeros((90, 120, 3), np.uint8))[1].tobytes()
    listener = client(broker.port, "edge/pi/detector/+")

    process = start(model)
    listener.wait_for_text("edge/pi/detector/status", b"online")
    for _ in range(5):
        listener.publish("edge/pi/detector/input", picture)
    listener.wait_for("result", 5)
    listener.wait_for_topic("image")
    assert process.stop() == 0
    images = [p for t, p, _ in listener.messages if t.endswith("/image")]
    assert len(images) < 5  # one in ten seconds, and all five took less than fifty
    assert cv2.imdecode(np.frombuffer(images[0], np.uint8), cv2.IMREAD_COLOR).shape == (90, 120, 3)

    listener.messages.clear()
    edge_run("--model", model, "--mqtt", broker.url, "--device", "pi")
    listener.wait_for_text("edge/pi/detector/status", b"online")
    listener.publish("edge/pi/detector/input", picture)
    listener.wait_for("result")
    assert not [t for t, _, _ in listener.messages if t.endswith("/image")]


def test_a_variable_and_a_key_say_it_with_true_or_a_prefix(edge_run, flowers, broker, client, tmp_path):
    (tmp_path / "edge.toml").write_text("home-assistant = true\n")
    edge_run("--config", tmp_path / "edge.toml", "--model", flowers.path, "--mqtt", broker.url, "--device", "pi")
    client(broker.port, CONFIG).wait_for("config")
    flags = ("--model", flowers.path, "--mqtt", broker.url, "--device", "other")
    edge_run(*flags, environ={"EDGE_HOME_ASSISTANT": "ha"})
    (document,) = client(broker.port, "ha/#").wait_for("config")
    assert json.dumps(document).count("object_id") == 0


def test_without_a_broker_it_is_one_line_and_exit_code_2(flowers):
    command = [BINARIES / "edge-run", "--model", flowers.path, "--mqtt", "none", "--source", "-", "--home-assistant"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "--home-assistant: it listens on a broker, but --mqtt is none; name one with --mqtt URL" in done.stderr
