"""A sink for another system in `edge-run` as a process, beside a real mosquitto."""

from __future__ import annotations

import signal
import urllib.request

import msgspec
import pytest
from support.processes import free_port, until


def test_a_row_that_a_store_refuses_is_told_on_error_and_the_others_arrive(
    edge_run, flowers, broker, client, store_server
):
    receiver = store_server("webhook")
    listener = client(broker.port, "edge/pi/flowers/#")
    http = free_port()
    edge_run(
        *("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--stats-interval", "0.5"),
        *("--sink", receiver.uri, "--http", http),
    )
    listener.wait_for_text("edge/pi/flowers/status", b"online")
    for n in range(1, 11):
        row = {**flowers.rows[n], "id": "poison" if n == 4 else f"row-{n}"}
        listener.publish("edge/pi/flowers/input", row)
    (error,) = listener.wait_for("error", 1)
    results = listener.wait_for("result", 10)
    refused = next(r for r in results if r["input_id"] == "poison")
    assert error["id"] == f"{refused['id']}/webhook"
    assert error["input_id"] == "poison"
    assert error["reason"].startswith("webhook: ")
    assert "422" in error["reason"]

    until(lambda: len(receiver.rows()) == 9, "the others are there")
    kept = [msgspec.json.decode(payload)["id"] for payload in receiver.received()]
    assert kept == [r["id"] for r in results if r["input_id"] != "poison"]

    def sinks():
        return [stats["sinks"]["webhook"] for stats in listener.of("stats")]

    until(lambda: any(sink["confirmed"] == 9 for sink in sinks()), "stats tell it")
    sink = sinks()[-1]
    assert (sink["connected"], sink["waiting"], sink["refused"]) == (True, 0, 1)
    with urllib.request.urlopen(f"http://127.0.0.1:{http}/metrics") as answer:
        said = answer.read().decode()
    assert 'edge_run_sink_connected{sink="webhook"} 1.0' in said
    assert 'edge_run_sink_messages_total{outcome="confirmed",sink="webhook"} 9.0' in said
    assert 'edge_run_sink_messages_total{outcome="refused",sink="webhook"} 1.0' in said


@pytest.mark.parametrize("scheme", ["redis", pytest.param("postgres", marks=pytest.mark.faults)])
def test_a_service_that_is_killed_loses_no_input_and_its_store_has_no_id_twice(
    edge_run, flowers, broker, client, store_server, scheme
):
    store = store_server(scheme)
    sender = client(broker.port, "edge/pi/flowers/status")
    words = ("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--sink", store.uri)
    service = edge_run(*words)
    sender.wait_for_text("edge/pi/flowers/status", b"online")
    for n in range(100):
        sender.publish("edge/pi/flowers/input", {**flowers.rows[n], "id": f"row-{n}"})
        if n == 50:
            until(lambda: len(store.received()) > 20, "some are stored")
            service.stop(signal.SIGKILL)
    edge_run(*words)

    def kept():
        return [msgspec.json.decode(payload) for payload in store.received()]

    until(lambda: {r["input_id"] for r in kept()} == {f"row-{n}" for n in range(100)}, "every input has a result")
    ids = [r["id"] for r in kept()]
    assert len(ids) == len(set(ids))
