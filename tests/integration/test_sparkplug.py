"""`--format sparkplug` and `--source sparkplug:` of `edge-run` as a process, at a real mosquitto."""

from __future__ import annotations

import json
import signal

from edge.mqtt.sparkplug.node import REBIRTH
from edge.mqtt.sparkplug.payload import BOOLEAN, DOUBLE, Metric, Payload, decode, encode

OWN = "spBv1.0/edge/{}/pi-flowers"


def of(listener, kind: str):
    """Payloads of a kind of message of our node, oldest first."""
    topic = OWN.format(kind) + ("/flowers" if kind.startswith("D") else "")
    return [decode(data) for name, data, _ in listener.messages if name == topic]


def wait(listener, kind: str, count: int):
    listener.wait_until(lambda: len(of(listener, kind)) >= count)
    return of(listener, kind)


def values(payload) -> dict[str, object]:
    return {metric.name: metric.value for metric in payload.metrics}


def test_metrics_of_another_node_come_in_and_results_go_out_as_data(edge_run, flowers, broker, client):
    listener = client(broker.port, "spBv1.0/edge/#", "edge/pi/flowers/#")
    command = encode(Payload(1, [Metric(REBIRTH, True, BOOLEAN)]))
    listener.publish(OWN.format("NCMD"), command, retain=True)  # which is to be followed at no time
    process = edge_run(
        "--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--format", "sparkplug",
        "--source", "sparkplug:plant/plc1/line3",
    )  # fmt: skip
    listener.wait_for_text("edge/pi/flowers/status", b"online")
    (birth,) = wait(listener, "NBIRTH", 1)
    assert birth.seq == 0
    assert values(birth)["bdSeq"] == 0
    wait(listener, "DBIRTH", 1)

    row = [Metric(name, float(value), DOUBLE) for name, value in flowers.rows[0].items()]
    for kind in ("DBIRTH", "DDATA"):
        listener.publish(f"spBv1.0/plant/{kind}/plc1/line3", encode(Payload(1, row, 1)))
    (data,) = wait(listener, "DDATA", 1)
    assert data.seq == 2
    assert values(data)["top/label"] == flowers.answers[0]
    assert json.loads(str(values(data)["result"]))["source"] == "mqtt:spBv1.0/plant/DDATA/plc1/line3"

    listener.publish("spBv1.0/plant/DDATA/plc1/line3", encode(Payload(1, row, 1)))
    assert [one.seq for one in wait(listener, "DDATA", 2)] == [2, 3]
    listener.publish(OWN.format("NCMD"), command)
    assert [one.seq for one in wait(listener, "NBIRTH", 2)] == [0, 0]
    assert values(wait(listener, "DBIRTH", 2)[1])["top/label"] == flowers.answers[0]

    process.process.send_signal(signal.SIGKILL)
    (death,) = wait(listener, "NDEATH", 1)
    assert values(death) == {"bdSeq": 0}
    assert not listener.of("result")


def test_while_the_primary_host_is_not_online_results_wait(edge_run, flowers, broker, client):
    def host(online: bool, timestamp: int) -> None:
        said = {"online": online, "timestamp": timestamp}
        listener.publish("spBv1.0/STATE/scada", said, retain=True)

    listener = client(broker.port, "spBv1.0/edge/#", "edge/pi/flowers/#")
    host(True, 1)
    edge_run(
        "--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--format", "sparkplug",
        "--sparkplug-host", "scada",
    )  # fmt: skip
    wait(listener, "DBIRTH", 1)
    host(False, 2)
    wait(listener, "NDEATH", 1)
    listener.publish("edge/pi/flowers/input", flowers.rows[0])
    listener.publish("edge/pi/flowers/input", {})
    listener.wait_for("error", 1)  # the result before it is made, too
    assert not of(listener, "DDATA")
    host(False, 1)  # of an earlier session of the host
    host(True, 3)
    (data,) = wait(listener, "DDATA", 1)
    assert values(data)["top/label"] == flowers.answers[0]
    assert values(wait(listener, "NBIRTH", 2)[0])["bdSeq"] == 0
