"""`edge-run` as a node for a host of pysparkplug, and as a host for a node of pysparkplug, at a real mosquitto."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

import pytest
from support import peers

pytestmark = [
    pytest.mark.peers,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="one Python is enough for other people's packages"),
]

HOST = """
import sys, threading, time, pysparkplug as sp
done, seen = threading.Event(), []

def state(online):
    said = sp.State(timestamp=int(time.time() * 1000), online=online)
    topic = sp.Topic(message_type=sp.MessageType.STATE, sparkplug_host_id="scada")
    client.publish(sp.Message(topic=topic, payload=said, qos=sp.QoS.AT_LEAST_ONCE, retain=True))
    if online and not seen:
        print("online", flush=True)

def heard(client, came):
    kind, payload = str(came.topic.message_type.value), came.payload
    metrics = payload.metrics if hasattr(payload, "metrics") else [payload.bd_seq_metric]
    number = [m.value for m in metrics if m.name == "bdSeq"]
    seen.append(kind)
    print(kind, getattr(payload, "seq", None), *number, int(came.qos), int(came.retain), flush=True)
    if kind == "DDATA":
        wanted = sp.Metric(timestamp=1, name="Node Control/Rebirth", datatype=sp.DataType.BOOLEAN, value=True)
        topic = sp.Topic(group_id="edge", message_type=sp.MessageType.NCMD, edge_node_id="pi-flowers")
        command = sp.NCmd(timestamp=1, metrics=(wanted,))
        message = sp.Message(topic=topic, payload=command, qos=sp.QoS.AT_MOST_ONCE, retain=False)
        client.publish(message, include_dtypes=True)
    if kind == "DBIRTH" and seen.count("DBIRTH") == 2:
        state(False)
    if kind == "NDEATH":
        state(True)
    if kind == "DBIRTH" and seen.count("DBIRTH") == 3:
        done.set()

client = sp.Client(client_id="scada")
for kind in ("NBIRTH", "DBIRTH", "NDATA", "DDATA", "NDEATH", "DDEATH"):
    device = "flowers" if kind[0] == "D" else None
    topic = sp.Topic(group_id="edge", message_type=sp.MessageType(kind), edge_node_id="pi-flowers", device_id=device)
    client.subscribe(topic, sp.QoS.AT_LEAST_ONCE, heard)
client.connect("127.0.0.1", port=int(sys.argv[1]), callback=lambda _: state(True))
assert done.wait(60), seen
client.disconnect()
"""
PLANT = """
import sys, threading, time, pysparkplug as sp
asked = threading.Event()
values = dict(zip(sys.argv[2::2], map(float, sys.argv[3::2])))

def metrics():
    return tuple(sp.Metric(timestamp=1, name=n, datatype=sp.DataType.DOUBLE, value=v) for n, v in values.items())

def commanded(node, message):
    (wanted,) = message.payload.metrics
    print(wanted.name, wanted.value, int(message.qos), int(message.retain), flush=True)
    asked.set()

node = sp.EdgeNode("plant", "plc1", metrics=metrics(), client=sp.Client(client_id="plc1"), cmd_callback=commanded)
node.connect("127.0.0.1", port=int(sys.argv[1]))
sys.stdin.readline()
node.update(metrics())  # by one who has not heard the birth
assert asked.wait(60)
node.disconnect()
"""


@contextlib.contextmanager
def start(program: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    bins = peers.environment(peers.CACHE, "sparkplug", "pysparkplug==0.6.1")
    call = [bins / "python", "-c", program, *map(str, arguments)]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_host_follows_births_data_rebirth_and_its_own_absence(edge_run, flowers, broker, client):
    """Each line: kind, seq, bdSeq where it has one, QoS, retained."""
    listener = client(broker.port, "spBv1.0/edge/DBIRTH/#")
    with start(HOST, broker.port) as host:
        assert host.stdout.readline() == "online\n"
        edge_run(
            "--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--format", "sparkplug",
            "--sparkplug-host", "scada",
        )  # fmt: skip
        listener.wait_for_topic("flowers")
        listener.publish("edge/pi/flowers/input", flowers.rows[0])
        said, _ = host.communicate(timeout=120)
    assert host.returncode == 0
    assert said.splitlines() == [
        "NBIRTH 0 0 0 0", "DBIRTH 1 0 0", "DDATA 2 0 0",
        "NBIRTH 0 0 0 0", "DBIRTH 1 0 0",
        "NDEATH None 0 1 0",
        "NBIRTH 0 1 0 0", "DBIRTH 1 0 0",
    ]  # fmt: skip


def test_a_node_is_asked_for_its_birth_as_hosts_do(edge_run, flowers, broker, client):
    listener = client(broker.port, "edge/pi/flowers/status", "spBv1.0/plant/NBIRTH/plc1")
    row = [part for pair in flowers.rows[0].items() for part in pair]
    with start(PLANT, broker.port, *row) as plant:
        listener.wait_for_topic("plc1")  # born before anybody of ours hears it
        edge_run("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--source", "sparkplug:plant/plc1")
        listener.wait_for_text("edge/pi/flowers/status", b"online")
        said, _ = plant.communicate("go\n", timeout=120)
    assert plant.returncode == 0
    assert said.splitlines() == ["Node Control/Rebirth True 0 0"]
