"""Node-RED itself, from npm: the recipe of docs/WORDS.md and the flows that we ship, against edge-run at a broker."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from support.node_red import NodeRed
from support.processes import until
from wording.test_recipes import RECIPES

pytestmark = [
    pytest.mark.recipes,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="one Python is enough for other people's packages"),
    pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed: apt-get install npm"),
]
SHIPPED = Path(__file__).parents[2] / "deploy" / "node-red.json"


@pytest.fixture
def node_red(tmp_path):
    started = NodeRed(tmp_path / "node-red")
    yield started
    started.end()


def flow(port: int) -> list[dict[str, object]]:
    """What the recipe says: an mqtt-in of a parsed JSON object; what a function makes of it goes back to the broker."""
    told = (
        "msg.payload = {device: msg.topic.split('/')[1], twice: msg.payload.count * 2, labels: msg.payload.labels};"
        "msg.topic = 'told'; return msg;"
    )
    broker = {"id": "b", "type": "mqtt-broker", "broker": "127.0.0.1", "port": str(port), "protocolVersion": "5"}
    heard = {"topic": "nodered/+", "qos": "1", "datatype": "json", "broker": "b", "inputs": 0, "wires": [["f"]]}
    return [
        {"id": "t", "type": "tab", "label": "recipe"},
        {**broker, "clientid": "", "autoConnect": True, "keepalive": "60", "cleansession": True},
        {"id": "i", "type": "mqtt in", "z": "t", **heard},
        {"id": "f", "type": "function", "z": "t", "func": told, "outputs": 1, "wires": [["o"]]},
        {"id": "o", "type": "mqtt out", "z": "t", "topic": "", "qos": "1", "broker": "b", "wires": []},
    ]


def test_a_function_reads_what_the_recipe_says(node_red, edge_run, flowers, broker, client):
    said = RECIPES["Node-RED"]
    listener = client(broker.port, "told", "edge/pi/flowers/status")
    node_red.deploy(flow(broker.port))
    edge_run(
        "--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--topic", said["topic"],
        "--payload", said["payload"], "--top-k", "1",
    )  # fmt: skip
    listener.wait_for_text("edge/pi/flowers/status", b"online")
    listener.publish("edge/pi/flowers/input", flowers.rows[0])
    listener.wait_until(lambda: any(topic == "told" for topic, _, _ in listener.messages))
    (found,) = (json.loads(payload) for topic, payload, _ in listener.messages if topic == "told")
    assert found == {"device": "pi", "twice": 2, "labels": {flowers.answers[0]: 1}}


def test_the_flows_that_we_ship_show_each_result_once(node_red, edge_run, flowers, broker, client):
    nodes = json.loads(SHIPPED.read_text())
    for node in nodes:
        if node["type"] == "mqtt-broker":
            node["broker"], node["port"] = "127.0.0.1", str(broker.port)
    listener = client(broker.port, "edge/pi/flowers/#")
    node_red.deploy(nodes)
    edge_run("--model", flowers.path, "--mqtt", broker.url, "--device", "pi")
    listener.wait_for_text("edge/pi/flowers/status", b"online")
    listener.publish("edge/pi/flowers/input", flowers.rows[0])
    listener.wait_for("result")
    (again,) = (payload for topic, payload, _ in listener.messages if topic.endswith("/result"))
    listener.publish("edge/pi/flowers/result", again)
    listener.publish("edge/pi/flowers/input", flowers.rows[-1])
    until(lambda: node_red.said().count("task: 'classify'") >= 2, "two results in Node-RED's log")
    assert node_red.said().count(f"label: '{flowers.answers[0]}'") == 1
    assert "online" in node_red.said()
