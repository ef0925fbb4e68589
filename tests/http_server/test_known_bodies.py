"""Bodies that come again, each beside an endpoint that has never seen one: the answers are the same, to the byte."""

from __future__ import annotations

import itertools
import json

import pytest
from support import onnxmodels

from edge.engines import onnxruntime
from edge.errors import SampleError
from edge.http.openinference import bodies
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
