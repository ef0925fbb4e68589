"""Bodies that come again, each beside an endpoint that has never seen one: the answers are the same, to the byte."""

from __future__ import annotations

import itertools
import json
import random

import pytest
from support import onnxmodels

from edge.engines import onnxruntime
from edge.errors import SampleError
from edge.http.openinference import bodies, protocol
from edge.http.openinference.protocol import HEADER_LENGTH, LEARN_EVERY, Inference
from edge.http.openinference.statistics import InferenceStatistics
from edge.plugins.protocols import EngineOptions
from edge.telemetry.clock import SystemClock
from edge.telemetry.metrics import Metrics


@pytest.fixture(scope="module", params=["float32", "int64"])
def engine(request, models):
    path = onnxmodels.identity(models / f"again-{request.param}.onnx", request.param, ("n", "m"))
    return onnxruntime.load(path, EngineOptions())


def endpoint(engine):
    return Inference(engine, "same", "1", [], InferenceStatistics(Metrics(), SystemClock()))


def answer(inference, body, headers=None):
    try:
        return inference.answer(body, headers or {}, 0).body
    except SampleError as exc:
        return str(exc)


def body_of(engine, data="[1, 2, 3]", shape="[1, 3]", before="", behind="", within=""):
    kind = "FP32" if engine.inputs[0].dtype == "float32" else "INT64"
    tensor = f'{{"name": "x", "datatype": "{kind}", "shape": {shape}, {within}"data": {data}}}'
    return f'{{{before}"inputs": [{tensor}]{behind}}}'.encode()


@pytest.mark.parametrize("engine", ["float32"], indirect=True)
def test_of_a_body_that_comes_again_only_the_numbers_are_read(engine, monkeypatch):
    warm = endpoint(engine)
    answer(warm, body_of(engine, "[1, 2, 3]"))
    monkeypatch.setattr(bodies, "decode", None)

    assert json.loads(answer(warm, body_of(engine, "[4.5, -1e-3, 6]")))["outputs"][0]["data"][0] == 4.5


def test_a_body_of_the_same_look_is_answered_as_if_it_were_the_first(engine):
    numbers = (
        "[1, 2, 3]", "[4.5,  -1e-3 ,\n6]", "[1, 2]", "[1, 2, 3, 4]", "[[1, 2, 3]]", "[1, 2, null]", "[1, 2, true]",
        '[1, 2, "3"]', "[1e39, 2, 3]", "[1, 2, 3", "1, 2, 3]", "[]", "", "[1,2,]", '[1,2,3],"data":[4,5,6]',
        '[1,2,3],"shape":[3,1]', '[1,2,3]}],"id":"a","x":[{"y":[1]', "[1, 2, 3]]", "[16777217, 2, 9007199254740993]",
        "[1,2,3]}", "[01, 2, 3]", "[NaN, 2, 3]", "[-0.0, 1E2, 3]",
    )  # fmt: skip
    shapes = ("[1, 3]", "[3, 1]", "[1]")
    ids = ("", '"id": "a", ', '"id": "b", ')
    behinds = ("", ', "outputs": [{"name": "y"}]', ', "outputs": [{"name": "y", "parameters": {"binary_data": true}}]')
    warm = endpoint(engine)
    for before, behind in itertools.product(ids, behinds):
        for shape, data in itertools.product(shapes, numbers):
            body = body_of(engine, data, shape, before, behind)
            assert answer(warm, body) == answer(endpoint(engine), body), body


@pytest.mark.parametrize(
    ("first", "then"),
    [
        # The numbers stand first where they are the shape, or a text.
        ({"data": "[1, 1]", "shape": "[1, 1]"}, {"data": "[1, 1]", "shape": "[2, 1]"}),
        ({"data": "[1]", "shape": "[1, 1]", "before": '"parameters": {"a": "[1]"}, '},
         {"data": "[1]", "shape": "[1, 1]", "before": '"parameters": {"a": "[2]"}, '}),
        ({"data": "[2, 1]", "shape": "[2, 1]"}, {"data": "[2, 1]", "shape": "[1, 2]"}),
        # What is said twice.
        ({}, {"data": '[1, 2, 3], "data": [4, 5, 6]'}),
        ({}, {"before": '"inputs": [], '}),
        ({"within": '"parameters": {}, '}, {"within": '"parameters": {"binary_data_size": 12}, '}),
        ({"behind": ', "parameters": {"binary_data_output": true}'},
         {"behind": ', "parameters": {"binary_data_output": 1}'}),
    ],
)  # fmt: skip
def test_bytes_that_look_like_the_numbers_of_another_place_are_not_taken_for_them(engine, first, then):
    warm = endpoint(engine)
    for one in (first, then, first, then):
        body = body_of(engine, **one)
        assert answer(warm, body) == answer(endpoint(engine), body)


def test_the_same_body_with_a_length_of_its_json_is_read_as_that_says(engine):
    warm, body = endpoint(engine), body_of(engine)
    answer(warm, body)
    for length in (b"0", b"5", b"%d" % len(body), b"%d" % (len(body) + 1), b"x"):
        headers = {HEADER_LENGTH: length}
        assert answer(warm, body, headers) == answer(endpoint(engine), body, headers)


@pytest.mark.parametrize("engine", ["float32"], indirect=True)
def test_another_client_is_known_after_a_while(engine, monkeypatch):
    warm = endpoint(engine)
    answer(warm, body_of(engine))
    for _ in range(LEARN_EVERY):
        answer(warm, body_of(engine, before='"id": "other", '))
    monkeypatch.setattr(bodies, "decode", None)

    assert b'"id":"other"' in answer(warm, body_of(engine, "[7, 8, 9]", before='"id": "other", '))


HUGE = "1" + "0" * 308


@pytest.mark.parametrize("engine", ["float32"], indirect=True)
@pytest.mark.parametrize("data", [f"[1, {HUGE}9, 3]", f"[null, {HUGE}9, -{HUGE}]", f"[1.5, 2, -{HUGE}9]"])
def test_a_whole_number_that_no_float_holds_is_refused_and_named(engine, data):
    assert answer(endpoint(engine), body_of(engine, data)).endswith("... where a FP32 value belongs")


ODD = (
    "-0", "1e39", "1e400", "1e-400", "NaN", "-Infinity", "18446744073709551616", "9007199254740993", "01", "+1", "5.",
    "0x1", '"1"', "null", "true", "[1]", "{}", "1" * 400, "3.4028235677973366e38", "1e", "1 2", "\u0661", " 1\t",
)  # fmt: skip
"""Numbers, and what looks like some."""


def random_body(engine, chance):
    """As clients write them, and as nobody should."""
    rows, columns = chance.choice([(1, 1), (1, 3), (3, 1), (2, 2)])
    count = rows * columns + chance.choice([0] * 9 + [-1, 1])
    numbers = [chance.choice(ODD) if chance.random() < 0.1 else str(chance.randrange(10)) for _ in range(count)]
    return body_of(
        engine,
        f"[{','.join(numbers)}]" + chance.choice([""] * 20 + ["]", "}", ',"data":[1]', ',"shape":[1,1]', ',"x":1']),
        chance.choice([f"[{rows},{columns}]"] * 9 + [f"[{columns}, {rows}]", "[1.0, 3]", "null"]),
        chance.choice([""] * 6 + ['"id": "a", ', '"id": null, ', '"id": 1, ', '"inputs": [], ']),
        chance.choice([""] * 6 + [', "outputs": []', ', "outputs": [{"name": "q"}]', ', "parameters": {"a": [1]}']),
        chance.choice([""] * 6 + ['"parameters": {"binary_data_size": 4}, ', '"data": [1], ', '"d\\u0061ta": [1], ']),
    )


def changed(body, chance):
    """A byte or two of it, cut off, or with something before or behind."""
    way, at = chance.randrange(6), chance.randrange(len(body))
    byte = bytes([chance.choice(b'0123456789.,-+eE[]{}": \n\\\xef\x00')])
    return (
        body[:at], body[:at] + byte + body[at:], body[:at] + byte + body[at + 1 :], body[:at] + body[at + 1 :],
        chance.choice([b"\xef\xbb\xbf", b" ", b"x"]) + body, body + chance.choice([b" ", b"}", b"\x00", b"{}"]),
    )[way]  # fmt: skip


@pytest.mark.parametrize("count", [2_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_whatever_follows_a_body_is_answered_as_if_it_were_the_first(engine, monkeypatch, count):
    monkeypatch.setattr(protocol, "LEARN_EVERY", 1)
    chance, warm = random.Random(count), endpoint(engine)
    body = body_of(engine)
    for _ in range(count):
        tried = changed(body, chance) if chance.random() < 0.5 else random_body(engine, chance)
        found = answer(warm, tried)
        assert found == answer(endpoint(engine), tried), tried
        if isinstance(found, bytes):
            body = tried
