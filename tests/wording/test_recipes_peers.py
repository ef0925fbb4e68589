"""The recipes of docs/WORDS.md, read by the parsers and beside the clients of those systems."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request

import pytest
from support import peers
from wording.test_recipes import BASE, RECIPES, results

from edge.data import codec
from edge.wording.wording import Said, Wording

pytestmark = [
    pytest.mark.recipes,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="one Python is enough for other people's packages"),
]

AZURE = """
import json, sys
from azure.core.messaging import CloudEvent
event = CloudEvent.from_dict(json.loads(sys.argv[1]))
print(json.dumps([event.id, event.type, event.source, event.time.isoformat(), event.data["seq"]]))
"""
AWS = """
import json
from concurrent.futures import Future
from awscrt import mqtt
from awsiot import iotshadow

class Connection(mqtt.Connection):
    def __init__(self):
        pass
    def publish(self, topic, payload, qos, **more):
        print(json.dumps([topic, json.loads(payload)]))
        done = Future()
        done.set_result(None)
        return done, 1

state = iotshadow.ShadowState(reported={"label": "cat, big", "score": 0.9, "seq": 1})
request = iotshadow.UpdateShadowRequest(thing_name="line3", state=state)
iotshadow.IotShadowClient(Connection()).publish_update_shadow(request, mqtt.QoS.AT_LEAST_ONCE)
"""
THINGSBOARD = """
import sys
from tb_device_mqtt import TBDeviceMqttClient
client = TBDeviceMqttClient("127.0.0.1", int(sys.argv[1]), "TOKEN")
client.connect(timeout=10)
client.send_telemetry({"ts": 1767323045678, "values": {"label": "cat, big", "score": 0.9}}).get()
client.stop()
client.disconnect()
"""


def told(name: str) -> tuple[str, bytes]:
    """The topic and the payload of a recipe, of a result with one prediction."""
    said = RECIPES[name]
    made = Wording(Said(BASE, said["topic"], said.get("payload"), said.get("format")), "classify")
    result = results("classify")[1]
    words = made.result(result, codec.encode(result))
    return words.topic, words.payload or b""


def run(packages: tuple[str, ...], program: str, *arguments: object) -> str:
    bins = peers.environment(peers.CACHE, packages[0].partition("==")[0], *packages)
    done = subprocess.run([bins / "python", "-c", program, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_influxdb_itself_takes_what_telegraf_is_sent(store_server):
    _, payload = told("Telegraf and InfluxDB")
    influx = store_server("influx")
    with urllib.request.urlopen(f"http://127.0.0.1:{influx.port}/write?db=edge", payload, timeout=150) as answer:
        assert answer.status == 204
    assert influx.query("SELECT * FROM edge") == [
        {"time": 1767323045678901000, "device": "line3", "label": "cat, big", "score": 0.9, "seq": 1}
    ]


def test_azures_own_library_reads_the_event():
    _, payload = told("Azure Event Grid")
    assert json.loads(run(("azure-core==1.41.0",), AZURE, payload.decode())) == [
        "line3/digits/00000000/1", "edge-run.result", BASE, "2026-01-02T03:04:05.678901+00:00", 1,
    ]  # fmt: skip


def test_a_shadow_is_updated_as_aws_own_sdk_does_it():
    topic, payload = told("AWS IoT Core")
    assert json.loads(run(("awsiotsdk==1.31.0",), AWS)) == [topic, json.loads(payload)]


def test_telemetry_is_what_thingsboards_own_sdk_sends(broker, client):
    topic, payload = told("ThingsBoard")
    listener = client(broker.port, topic)
    run(("tb-mqtt-client==1.13.14", "pymmh3==0.0.5"), THINGSBOARD, broker.port)
    listener.wait_for_topic("telemetry")
    (sent,) = (data for name, data, _ in listener.messages if name == topic)
    assert json.loads(sent) in (json.loads(payload), [json.loads(payload)])
