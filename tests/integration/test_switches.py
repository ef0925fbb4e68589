"""What stands beside the model goes on where another one takes over in the running flow: a real service, a real broker,
a signed repository. Each result comes, once, in order, and the process is the same one."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import shutil
import urllib.request
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from PIL import Image
from support import onnxmodels
from support.field import FEW, Field, lives, runs, state
from support.processes import Client, free_port, until
from support.updating import seen, write_model

from edge.mqtt.sparkplug.payload import decode

pytestmark = pytest.mark.skipif(shutil.which("mosquitto") is None, reason="needs mosquitto (apt-get install mosquitto)")


def switched(field: Field, results: list[dict], *versions: str) -> None:
    """Of all inputs, one result each, in order, of the versions one after the other, in one life of the process."""
    assert [r["input_id"] for r in results] == list(range(1, field.sent + 1))
    assert field.client.of("error") == []
    assert list(dict.fromkeys(r["model"]["version"] for r in results)) == list(versions)
    assert sum(a["model"] != b["model"] for a, b in itertools.pairwise(results)) == len(versions) - 1
    assert lives(results) == 1
    assert "the process begins anew" not in field.service.said()


def told(listener: Client, topic: str) -> list[dict]:
    return [json.loads(p) for t, p, _ in list(listener.messages) if t == topic and p]


# --- drift -----------------------------------------------------------------------------------------------


def test_what_drift_has_learnt_of_the_inputs_goes_on_with_the_new_model(field):
    port = free_port()
    device = field(**seen(sum=np.arange(1000.0)))
    listener = Client(device.broker.port, "edge/d/m/drift")
    device.payload = lambda n: {"a": n % 997, "b": n % 991, "id": n}
    device.start(*FEW, "--drift", "1", "--http", str(port))
    device.wait_for(state("idle"), "the service runs")

    def learnt(version: str) -> Callable[[], bool]:
        def came() -> bool:
            for _ in range(20):
                device.send()
            return any(r["learned"] >= 2 and r["windows"] >= 2 for r in told(listener, "edge/d/m/drift"))

        return came

    until(learnt("1"), "two windows are learnt")
    before = told(listener, "edge/d/m/drift")[-1]
    results = device.switch("2", factor=10.0, **seen(sum=np.arange(5000.0, 6000.0)))
    until(lambda: told(listener, "edge/d/m/drift")[-1]["windows"] == 0, "the new model's watch has begun")
    report = told(listener, "edge/d/m/drift")[-1]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/live/drift") as answer:
        page = {f["name"]: f["learned"] for f in json.load(answer)["features"]}
    listener.close()

    switched(device, results, "1", "2")
    assert report["learned"] >= before["learned"]
    assert page == {"a": True, "b": True, "sum": False}
    assert "another model: its predictions are learnt anew" in device.service.said()


def test_a_model_without_a_reference_is_not_watched_and_one_with_it_is_again(field):
    device, port = field(**seen(sum=np.arange(1000.0))), free_port()
    listener = Client(device.broker.port, "edge/d/m/drift")

    def measured() -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            return b"edge_run_drift_state" in answer.read()

    device.start(*FEW, "--drift", "--http", str(port))
    device.wait_for(state("idle"), "the service runs")
    device.send()
    device.switch("2", factor=10.0)
    until(lambda: listener.messages[-1][1] == b"", "what is retained is taken away")
    gone = not measured()
    results = device.switch("3", factor=3.0, **seen(sum=np.arange(1000.0)))
    until(lambda: bool(listener.messages[-1][1]), "drift is told again")
    listener.close()

    switched(device, results, "1", "2", "3")
    assert (gone, measured()) == (True, True)
    assert "drift is not watched" in device.service.said()


# --- a trial ---------------------------------------------------------------------------------------------


@pytest.mark.long  # a trial at its real pace
def test_a_trial_is_compared_with_the_new_model_and_ends_while_that_is_the_one_on_trial(field, tmp_path):
    device = field()
    tried = write_model(tmp_path / "tried.onnx", "3", factor=10.0)
    listener = Client(device.broker.port, "edge/d/m/trial")
    few = ("--trial-samples", "200", "--trial-time", "1")
    device.start(*FEW, *few, "--trial", str(tried), "--stats-interval", "0.2")
    device.wait_for(state("idle"), "the service runs")

    def compared(version: str, word: str) -> dict:
        def came() -> bool:
            device.send()
            return any(
                r["model"]["version"] == version and r["verdict"]["word"] == word and (word == "ended" or r["samples"])
                for r in told(listener, "edge/d/m/trial")
            )

        until(came, f"version {version} is compared: {word}")
        return told(listener, "edge/d/m/trial")[-1]

    first = compared("1", "undecided")
    device.switch("2", factor=10.0)
    second = compared("2", "undecided")
    device.offer("3", tried)
    device.wait_for(lambda s: state("confirmed")(s) and runs("3")(s), "version 3 is confirmed", sending=True)
    third = compared("3", "ended")
    results = device.client.wait_for("result", device.sent)
    listener.close()

    switched(device, results, "1", "2", "3")
    assert (first["agreement"], second["agreement"]) == (0.0, 1.0)  # 2 b or 10 b: nothing of the one is left
    assert third["verdict"]["reason"] == "the model on trial is the one that runs"
    assert third["samples"] == 0


def test_a_trial_that_does_not_fit_the_new_model_ends_and_the_update_goes_on_over_a_restart(field, tmp_path):
    device = field()
    tried = write_model(tmp_path / "tried.onnx", "3", factor=10.0)
    listener = Client(device.broker.port, "edge/d/m/trial")
    flags = (*FEW, "--trial", str(tried), "--stats-interval", "0.2")
    device.start(*flags)
    device.wait_for(state("idle"), "the service runs")
    device.send()
    results = device.switch("2", task="raw")
    until(lambda: told(listener, "edge/d/m/trial")[-1]["verdict"]["word"] == "ended", "the trial has ended")
    switched(device, results, "1", "2")
    assert device.service.stop() == 0
    device.start(*flags)
    device.send()
    again = device.client.wait_for("result", device.sent)[-1]
    listener.close()

    assert again["model"]["version"] == "2"


# --- instances -------------------------------------------------------------------------------------------


def test_several_instances_get_the_new_model_each_at_its_next_sample_and_order_is_kept(field):
    device = field()
    device.start(*FEW, "--instances", "3")
    device.wait_for(state("idle"), "the service runs")
    device.client.wait_for("info")

    def burst(told: Callable[[dict], bool]) -> None:
        def came() -> bool:
            for _ in range(30):
                device.sent += 1
                device.sender.client.publish("edge/d/m/input", json.dumps(device.payload(device.sent)), 1)
            device.client.wait_for("result", device.sent - 200)  # a broker keeps so many, and drops the rest
            return any(told(said) for said in device.client.of("update"))

        until(came, "it is confirmed")

    device.send()
    for version in ("2", "3"):
        device.offer(version, factor=float(version))
        burst(lambda s, v=version: state("confirmed")(s) and runs(v)(s))
    results = device.client.wait_for("result", device.sent)

    switched(device, results, "1", "2", "3")
    factors = {"1": 2.0, "2": 2.0, "3": 3.0}
    assert all(r["predictions"][0]["value"] == r["input_id"] + factors[r["model"]["version"]] for r in results)
    assert device.client.of("info")[-1]["engine"]["instances"] == 3


# --- gRPC ------------------------------------------------------------------------------------------------


def test_grpc_tells_and_runs_the_new_model_and_no_call_fails(field):
    triton = pytest.importorskip("tritonclient.grpc", exc_type=ImportError)
    device, http, port = field(), free_port(), free_port()
    device.start(*FEW, "--http", str(http), "--grpc", str(port))
    device.wait_for(state("idle"), "the service runs")
    answers: list[tuple[str, float]] = []

    def ask(row: np.ndarray) -> None:
        given = triton.InferInput("row", list(row.shape), "FP32")
        given.set_data_from_numpy(row)
        answer = client.infer("m", [given])
        answers.append((answer.get_response().model_version, float(answer.as_numpy("value")[0, 0])))

    def send(n: int) -> dict:
        ask(np.array([[n, 1]], np.float32))
        return {"a": n, "b": 1, "id": n}

    with contextlib.closing(triton.InferenceServerClient(f"127.0.0.1:{port}")) as client:
        device.payload = send
        device.send()
        results = device.switch("2", factor=10.0)
        ready = (client.is_model_ready("m", "2"), client.is_server_ready())
        metadata = client.get_model_metadata("m")
        index = client.get_model_repository_index().models
        config = client.get_model_config("m", "2").config
        with pytest.raises(triton.InferenceServerException):
            client.get_model_metadata("m", "1")
        ask(np.array([[5, 1]], np.float32))

    switched(device, results, "1", "2")
    factors = {"1": 2.0, "2": 10.0}
    assert all(value == n + factors[v] for n, (v, value) in enumerate(answers[:-1], 1))
    assert answers[-1] == ("2", 15.0)
    assert ready == (True, True)
    assert (list(metadata.versions), [one.version for one in index], config.name) == (["2"], ["2"], "m")


# --- Sparkplug -------------------------------------------------------------------------------------------


def test_a_sparkplug_node_is_born_anew_between_the_last_result_of_the_old_model_and_the_first_of_the_new(field):
    device = field()
    node = Client(device.broker.port, "spBv1.0/edge/#")
    device.start(*FEW, "--format", "sparkplug")
    device.wait_for(state("idle"), "the service runs")
    device.send()
    device.offer("2", names=("total",))
    device.wait_for(state("confirmed"), "version 2 is confirmed", sending=True)

    def heard() -> list[tuple[str, dict]]:
        messages = [(t.split("/")[2], decode(p)) for t, p, _ in list(node.messages)]
        return [(kind, {m.name: m.value for m in p.metrics} | {" seq": p.seq}) for kind, p in messages]

    until(lambda: sum(kind == "DDATA" for kind, _ in heard()) == device.sent, "all data came")
    messages = heard()
    node.close()
    data = [said for kind, said in messages if kind == "DDATA"]
    results = [json.loads(said["result"]) for said in data]

    switched(device, results, "1", "2")
    kinds = [kind for kind, _ in messages]
    assert [k for k in kinds if k != "DDATA"] == ["NBIRTH", "DBIRTH", "NBIRTH", "DBIRTH"]
    second = len(kinds) - kinds[::-1].index("NBIRTH") - 1
    old, new = messages[:second], messages[second:]
    assert {"values/sum" in m for k, m in old if k != "NBIRTH"} == {True}
    assert {("values/sum" in m, "values/total" in m) for k, m in new if k != "NBIRTH"} == {(False, True)}
    assert {json.loads(m["result"])["model"]["version"] for k, m in new if k == "DDATA"} == {"2"}
    assert [m[" seq"] for _, m in old] == [n % 256 for n in range(len(old))]
    assert [m[" seq"] for _, m in new] == [n % 256 for n in range(len(new))]


# --- masks -----------------------------------------------------------------------------------------------


def test_masks_go_on_with_the_new_model(field, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("one\ntwo\nthree\n")
    onnxmodels.channels(tmp_path / "m1.onnx", (0, 1, 2))
    device = field()
    masks = Client(device.broker.port, "edge/d/m/mask")
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, :16, 2] = 255  # OpenCV's order: red
    picture = cv2.imencode(".png", pixels)[1].tobytes()
    device.payload = lambda _: picture
    flags = ("--name", "m", "--mask", "--labels", str(labels))
    device.start(*FEW, *flags)
    device.wait_for(state("idle"), "the service runs")
    device.send()
    results = device.switch("2", file=onnxmodels.channels(tmp_path / "m2.onnx", (1, 2, 0)))
    masks.wait_until(lambda: len(masks.messages) == device.sent)
    by_id = {dict(q.UserProperty)["id"]: Image.open(io.BytesIO(p)) for _, p, q in masks.messages}
    masks.close()

    assert device.client.of("error") == []
    assert [r["seq"] for r in results] == list(range(1, device.sent + 1))
    assert lives(results) == 1
    shas = list(dict.fromkeys(r["model"]["sha256"] for r in results))
    assert len(shas) == 2
    classes = [{int(np.asarray(by_id[r["id"]])[0, 0]) for r in results if r["model"]["sha256"] == sha} for sha in shas]
    assert classes == [{0}, {2}]
