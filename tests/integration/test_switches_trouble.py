"""Switches while something else happens, and to models that are made otherwise: nothing is lost or out of order."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support import onnxmodels, tinytflite
from support.field import FEW, Field, lives, runs, state
from support.processes import until
from support.updating import seen, write_model

from edge.model import golden
from edge.model.manifest import ONNX_KEY, TFLITE_ENTRY, Feature, Input, Manifest, Output

pytestmark = pytest.mark.skipif(shutil.which("mosquitto") is None, reason="needs mosquitto (apt-get install mosquitto)")

ALL = ("--drift", "--instances", "2", "--stats-interval", "0.5")


def numbers() -> dict:
    return seen(sum=np.arange(1000.0))


def answered(device: Field) -> list[dict]:
    """What became of each input, in order: its result or its error."""
    until(lambda: {one["input_id"] for one in told(device)} >= {device.sent}, "the last input is answered")
    return told(device)


def told(device: Field) -> list[dict]:
    messages = list(device.client.messages)
    return [json.loads(p) for t, p, _ in messages if t.endswith(("/result", "/error"))]


def once_and_in_order(found: list[dict], sent: int, *, again: bool = False) -> None:
    """A result may come again behind an outage, or a life before; `again`: the broker may have sent an input again."""
    ids = list(dict.fromkeys(one["input_id"] for one in found))
    assert ids == list(range(1, sent + 1))
    assert again or len({one["id"] for one in found}) == sent, "an input was inferred twice"


@pytest.mark.parametrize("when", ["switching", "watching"])
def test_a_stop_that_is_asked_for_during_a_switch_ends_in_order(field, tmp_path, when):
    device = field(**numbers())
    tried = write_model(tmp_path / "tried.onnx", "9", factor=3.0)
    flags = (*ALL, "--trial", str(tried))
    service = device.start(*flags)
    device.wait_for(state("idle"), "the service runs")
    device.send()
    device.offer("2", factor=10.0, **numbers())
    device.wait_for(state(when), f"it is {when}", sending=True)
    ended = service.stop()
    for _ in range(5):
        device.send()
    device.start(*flags)
    found = answered(device)

    assert ended == 0
    once_and_in_order(found, device.sent)
    factors = {"1": 2.0, "2": 10.0}
    assert all(r["predictions"][0]["value"] == r["input_id"] + factors[r["model"]["version"]] for r in found)


@pytest.mark.long  # a broker's end and return at their real pace
def test_a_switch_while_the_broker_is_away_is_made_and_told_when_it_is_back(field):
    device = field(**numbers())
    device.start(*FEW, *ALL, "--trial-time", "3")  # of which it has no sample while the broker is away
    device.wait_for(state("idle"), "the service runs")
    device.send()
    device.offer("2", factor=10.0, **numbers())
    device.wait_for(state("proving"), "it is being proven", sending=True)
    device.broker.end()  # which keeps its sessions
    device.service.wait_until_said("the model was switched in the running flow")
    device.broker.start()
    until(device.sender.client.is_connected, "the sender is back")
    device.wait_for(state("confirmed"), "version 2 is confirmed", sending=True)
    found = answered(device)

    once_and_in_order(found, device.sent, again=True)
    factors = {"1": 2.0, "2": 10.0}
    assert all(r["predictions"][0]["value"] == r["input_id"] + factors[r["model"]["version"]] for r in found)
    assert lives(found) == 1
    assert "the process begins anew" not in device.service.said()


@pytest.mark.long  # four switches and a way back
def test_two_versions_in_quick_succession_and_a_withdrawal_in_the_middle_of_a_switch_end_on_what_is_offered(field):
    device = field(**numbers())
    device.start(*FEW, *ALL)
    device.wait_for(state("idle"), "the service runs")
    device.send()
    device.offer("2", factor=10.0, **numbers())
    device.offer("3", factor=3.0, **numbers())
    device.wait_for(state("switching"), "a switch has begun", sending=True)
    device.offer("4", factor=4.0, **numbers())
    device.wait_for(lambda s: state("confirmed")(s) and runs("4")(s), "version 4 is confirmed", sending=True)
    device.offer("5", factor=5.0, **numbers())
    device.wait_for(lambda s: state("switching")(s) and s["to"] == "5", "the switch to 5 has begun", sending=True)
    device.fleet.repository.withdraw("m", "stable", "5")
    device.wait_for(
        lambda s: s["state"] in ("confirmed", "idle") and runs("5")(s), "5 is watched to its end", sending=True
    )
    until(lambda: sends(device) and runs("4")(device.client.of("update")[-1]), "back on what is offered")
    found = answered(device)

    once_and_in_order(found, device.sent)
    factors = {"1": 2.0, "2": 10.0, "3": 3.0, "4": 4.0, "5": 5.0}
    assert all(r["predictions"][0]["value"] == r["input_id"] + factors[r["model"]["version"]] for r in found)
    assert "the process begins anew" not in device.service.said()


def sends(device: Field) -> bool:
    device.send()
    return True


def test_a_model_with_its_features_in_another_order_takes_each_by_its_name(field):
    device = field(**numbers())
    device.start(*FEW, *ALL)
    device.wait_for(state("idle"), "the service runs")
    device.send()
    results = device.switch("2", features=("b", "a"), factor=10.0, **seen(("b", "a"), sum=np.arange(1000.0)))

    expected = {"1": lambda n: n + 2, "2": lambda n: 1 + 10 * n}
    once_and_in_order(results, device.sent)
    assert all(r["predictions"][0]["value"] == expected[r["model"]["version"]](r["input_id"]) for r in results)
    assert "the process begins anew" not in device.service.said()


def test_a_model_of_pictures_in_the_place_of_one_of_rows_begins_anew_and_is_given_up_for_what_it_skips(field, tmp_path):
    device = field(**numbers())
    device.start("--updates-watch-time", "0", "--updates-watch-samples", "1000000", *ALL)
    device.wait_for(state("idle"), "the service runs")
    device.send()
    device.offer("2", onnxmodels.channels(tmp_path / "pictures.onnx", (0, 1, 2)))
    device.wait_for(lambda s: state("rolled-back")(s) and runs("1")(s), "back on version 1", sending=True)
    device.send()
    until(lambda: told(device)[-1].get("input_id") == device.sent, "the last input is answered")

    assert "it takes image, the one that runs table" in device.service.said()
    assert len({one["id"] for one in told(device)}) == device.sent
    assert [r["input_id"] for r in device.client.of("result")] == sorted(
        r["input_id"] for r in device.client.of("result")
    )


# --- another engine -----------------------------------------------------------------------------------------

FEATURES = ("a", "b", "c", "d")


def adds(path: Path, version: str, constant: float) -> Path:
    """Each of four features and a constant, as ONNX or as TFLite."""
    row = np.ones((1, 4), np.float32)
    manifest = Manifest(
        name="m", version=version, task="regress",
        inputs=(Input(name="x", kind="table", shape=("n", 4), features=tuple(Feature(name=f) for f in FEATURES)),),
        outputs=(Output(name="y", names=FEATURES),), golden=(golden.make({"x": row}, {"y": row + constant}),),
    )  # fmt: skip
    if path.suffix == ".tflite":
        path.write_bytes(tinytflite.build(constant=constant))
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(TFLITE_ENTRY, msgspec.json.encode(manifest))
        return path
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "c"], ["y"])], "adds",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(np.array([constant], np.float32), "c")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {ONNX_KEY: msgspec.json.encode(manifest).decode()})
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    "files", [["m2.tflite"], pytest.param(["m2.tflite", "m3.onnx"], marks=pytest.mark.long)], ids=["there", "and back"]
)
def test_a_model_of_another_engine_takes_over(field, tmp_path, files):
    adds(tmp_path / "m1.onnx", "1", 1.0)
    device = field()
    device.payload = lambda n: {"a": n, "b": 0, "c": 0, "d": 0, "id": n}
    device.start(*FEW, *ALL)
    device.wait_for(state("idle"), "the service runs")
    device.send()
    engines, versions = [], {"1"}
    for number, name in enumerate(files, 2):
        results = device.switch(str(number), file=adds(tmp_path / name, str(number), float(number)))
        engines.append(device.client.of("info")[-1]["engine"]["name"])
        versions.add(str(number))

    once_and_in_order(results, device.sent)
    assert {r["model"]["version"] for r in results} == versions
    assert all(r["predictions"][0]["value"] == r["input_id"] + float(r["model"]["version"]) for r in results)
    assert engines == ["litert", "onnxruntime"][: len(files)]
    assert "the process begins anew" not in device.service.said()
