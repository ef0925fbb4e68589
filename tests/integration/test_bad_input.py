"""Bad input never kills the service and never costs another its result."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from conftest import need
from support import onnxmodels
from support.processes import Client, EdgeRun, Mosquitto

INPUT = "edge/pi/flowers/input"


@pytest.fixture(scope="module")
def running(tmp_path_factory, flowers):
    """One service for all that is bad: it and a listener."""
    need("mosquitto", "mosquitto")
    folder = tmp_path_factory.mktemp("bad-input")
    broker = Mosquitto(folder / "mosquitto").start()
    listener = Client(broker.port, "edge/pi/flowers/#")
    process = EdgeRun(folder / "edge-run", "--model", str(flowers.path), "--mqtt", broker.url, "--device", "pi")
    listener.wait_for_text("edge/pi/flowers/status", b"online")
    yield process.process, listener
    process.stop()
    listener.close()
    broker.end()


@pytest.fixture
def service(running):
    process, listener = running
    listener.forget()
    yield listener
    assert process.poll() is None, "it runs on"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("[1, 2, 3]", "3 values; the model takes 4 features"),
        ('{"sepal_length": 1, "sepal_width": 2, "petal_length": 3}', "missing feature 'petal_width'"),
        (
            '{"sepal_lenght": 1, "sepal_width": 2, "petal_length": 3, "petal_width": 4}',
            "unknown feature 'sepal_lenght'; did you mean 'sepal_length'?",
        ),
        ('[1, 2, 3, "four"]', "feature 'petal_width' is 'four'; a number belongs there"),
        ("[1, 2, 3, NaN]", "JSON has no NaN"),
        ("[1, 2, 3, null]", "the model takes no missing values"),
        ("[1, 2, 3, 1e999]", "out of range"),
        ('{"sepal_length": ', "not JSON"),
        ("", "the input is empty"),
        ("[]", "an empty array"),
        ('"text"', "1 values; the model takes 4 features"),
        (b"\xff\xd8\xff\xe0 a JPEG", "a picture, but the model takes 4 features"),
        (b"\x93NUMPY\x01\x00 torn", ".npy bytes that cannot be read"),
        (b"\x80\x04\x95 a pickle", "this is a Python pickle, which is never opened"),
        ("[" * 5000, "not JSON"),
    ],
)
def test_it_is_skipped_with_its_reason_and_the_next_sample_is_inferred(service, flowers, bad, reason):
    service.publish(INPUT, flowers.rows[0])
    service.publish(INPUT, bad)
    service.publish(INPUT, flowers.rows[1])
    first, second = service.wait_for("result", 2)
    (error,) = service.wait_for("error")
    assert reason in error["reason"]
    assert [error["seq"], second["seq"]] == [first["seq"] + 1, first["seq"] + 2]
    assert error["source"] == f"mqtt:{INPUT}"


def test_fifty_megabytes_are_skipped_and_the_next_sample_is_inferred(service, flowers):
    service.publish(INPUT, b"[" + b"1," * 25_000_000 + b"1]")
    service.publish(INPUT, flowers.rows[0])
    service.wait_for("result")
    (error,) = service.wait_for("error")
    assert "50.0 MB; at most 32 MB" in error["reason"]


def test_a_bad_row_in_a_batch_costs_nobody_else_its_result(service, flowers):
    service.publish(INPUT, [flowers.rows[0], [1, 2], flowers.rows[1]])
    first, third = (r["seq"] for r in service.wait_for("result", 2))
    assert third == first + 2
    assert [e["seq"] for e in service.wait_for("error")] == [first + 1]


def test_a_jpeg_with_a_damaged_scan_is_skipped_and_told(edge_run, broker, client, tmp_path):
    listener = client(broker.port, "edge/pi/brightness/#")
    edge_run("--model", onnxmodels.brightness(tmp_path / "brightness.onnx"), "--mqtt", broker.url, "--device", "pi")
    listener.wait_for_text("edge/pi/brightness/status", b"online")
    data = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8))[1].tobytes()
    listener.publish("edge/pi/brightness/input", data[: len(data) // 2] + b"\xff\xd9")
    listener.publish("edge/pi/brightness/input", data)
    listener.wait_for("result")
    (error,) = listener.wait_for("error")
    assert "a damaged JPEG picture" in error["reason"]


def test_two_jpegs_in_one_message_are_refused_and_one_behind_another_are_not(edge_run, broker, client, tmp_path):
    listener = client(broker.port, "edge/pi/brightness/#")
    edge_run("--model", onnxmodels.brightness(tmp_path / "brightness.onnx"), "--mqtt", broker.url, "--device", "pi")
    listener.wait_for_text("edge/pi/brightness/status", b"online")
    data = cv2.imencode(".jpg", np.full((40, 40, 3), 90, np.uint8))[1].tobytes()
    for payload in (data + data, data, data):
        listener.publish("edge/pi/brightness/input", payload)
    assert [r["seq"] for r in listener.wait_for("result", 2)] == [2, 3]
    (error,) = listener.wait_for("error")
    assert "several files in one input; send each alone" in error["reason"]


def test_whole_numbers_beyond_2_53_come_back_as_they_were_sent(edge_run, broker, client, tmp_path):
    model = onnxmodels.identity(tmp_path / "whole.onnx", "int64", ("n", 2))
    listener = client(broker.port, "edge/pi/whole/#")
    edge_run("--model", model, "--mqtt", broker.url, "--device", "pi", "--task", "raw")
    listener.wait_for_text("edge/pi/whole/status", b"online")
    listener.publish("edge/pi/whole/input", f"[{2**53 + 1}, {-(2**63)}]")
    (result,) = listener.wait_for("result")
    assert result["predictions"][0]["data"] == [2**53 + 1, -(2**63)]


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_an_input_of_60_mb_is_told_and_takes_no_memory(edge_run, flowers, broker, client, version):
    listener = client(broker.port, "edge/pi/flowers/#")
    process = edge_run("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--mqtt-version", version)
    listener.wait_for_text("edge/pi/flowers/status", b"online")
    listener.publish(INPUT, "[1, 2, 3, 4]")
    listener.wait_for("result")
    before = process.memory_mb("VmRSS")
    listener.publish(INPUT, bytes(60_000_000))
    listener.publish(INPUT, "[1, 2, 3, 4]")

    assert [r["seq"] for r in listener.wait_for("result", 2)] == [1, 3]
    (error,) = listener.wait_for("error")
    assert error["reason"] == "60.0 MB; at most 32 MB (--max-input)"
    assert process.memory_mb("VmHWM") < before + 25
