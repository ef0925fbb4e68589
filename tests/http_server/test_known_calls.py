"""gRPC messages that come again, each beside an endpoint that has never seen one."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from support import onnxmodels

pytest.importorskip("grpc", reason="needs the extra [grpc]")

from google.protobuf.message import DecodeError

from edge.engines import onnxruntime
from edge.errors import SampleError
from edge.http.grpc import infer
from edge.http.grpc.messages import Messages
from edge.http.openinference.protocol import Inference
from edge.http.openinference.statistics import InferenceStatistics
from edge.plugins.protocols import EngineOptions
from edge.telemetry.clock import SystemClock
from edge.telemetry.metrics import Metrics

MESSAGES = Messages()


@pytest.fixture(scope="module")
def engine(models):
    return onnxruntime.load(onnxmodels.identity(models / "calls.onnx", "float32", ("n", "m")), EngineOptions())


def endpoint(engine):
    inference = Inference(engine, "same", "1", [], InferenceStatistics(Metrics(), SystemClock()))
    return infer.GrpcInference(MESSAGES, inference, ("same", "1"))


def message(raw=b"", shape=(1, 3), name="x", id="", contents=(), **parameters):  # noqa: A002 - the message's own name
    made = MESSAGES["ModelInferRequest"](model_name="same", id=id)
    for key, value in parameters.items():
        made.parameters[key].bool_param = value
    tensor = made.inputs.add(name=name, datatype="FP32", shape=shape)
    if contents:
        tensor.contents.fp32_contents.extend(contents)
    else:
        made.raw_input_contents.append(raw)
    return made.SerializeToString()


def answer(one, data):
    try:
        again = one.again(data)
        return again() if again is not None else one.answer(MESSAGES["ModelInferRequest"].FromString(data), data)
    except SampleError as exc:
        return str(exc)


def floats(*values):
    return np.array(values, np.float32).tobytes()


def test_of_a_message_that_comes_again_only_the_tensor_is_read(engine):
    warm = endpoint(engine)
    answer(warm, message(floats(1, 2, 3)))

    found = MESSAGES["ModelInferResponse"].FromString(warm.again(message(floats(4, 5, 6)))())

    assert found.raw_output_contents[0] == floats(4, 5, 6)
    assert (found.model_name, found.outputs[0].name, list(found.outputs[0].shape)) == ("same", "y", [1, 3])


def test_a_message_of_the_same_look_is_answered_as_if_it_were_the_first(engine):
    raws = (floats(1, 2, 3), floats(4, 5, 6), floats(1, 2), floats(1, 2, 3, 4), b"", floats(*range(300)))
    more = ({}, {"shape": (3, 1)}, {"id": "a"}, {"name": "z"}, {"contents": (1, 2, 3)}, {"anything": True},
            {"shape": (100, 3)}, {"id": "b"})  # fmt: skip
    warm = endpoint(engine)
    for raw, given in itertools.product(raws, more):
        data = message(raw, **given)
        assert answer(warm, data) == answer(endpoint(engine), data)


def test_a_message_whose_tensor_stands_in_another_place_is_read_each_time(engine):
    """What may follow it in any order: here the outputs that are wanted."""
    last = MESSAGES["ModelInferRequest"]()
    last.outputs.add(name="y")
    warm = endpoint(engine)
    for values in ((1, 2, 3), (4, 5, 6)):
        data = message(floats(*values)) + last.SerializeToString()
        assert warm.again(data) is None
        assert MESSAGES["ModelInferResponse"].FromString(answer(warm, data)).raw_output_contents[0] == floats(*values)


def test_a_tensor_of_one_byte_is_learnt_where_it_stands_only(models, monkeypatch):
    """What it is tried with may by chance be that very byte, and then shows nothing."""
    path = onnxmodels.identity(models / "byte.onnx", "uint8", ("n", "m"))
    warm = endpoint(onnxruntime.load(path, EngineOptions()))
    drawn = iter([b"\x05", b"\x07"])
    monkeypatch.setattr(infer.secrets, "token_bytes", lambda _: next(drawn))
    request = MESSAGES["ModelInferRequest"](model_name="same", raw_input_contents=[b"\x05"])
    request.inputs.add(name="x", datatype="UINT8", shape=(1, 1))
    unknown = b"\x98\x06"  # a field that nobody knows, a number
    answer(warm, request.SerializeToString() + unknown + b"\x05")

    assert warm.again(request.SerializeToString() + unknown + b"\x06") is None


def random_message(chance):
    """Parts of a message behind each other, in any order and more than once: protobuf merges them."""
    kind = MESSAGES["ModelInferRequest"]
    tensor = kind()
    tensor.inputs.add(name=chance.choice("xxxxz"), datatype=chance.choice(["FP32"] * 5 + ["FP64"]),
                      shape=chance.choice([(1, 3), (3, 1), (1, 2), (0, 3), (-1, 3)]))  # fmt: skip
    if chance.random() < 0.2:
        tensor.inputs[0].contents.fp32_contents.extend(range(3))
    wanted = kind()
    wanted.outputs.add(name=chance.choice("yyyq"))
    raw = kind(raw_input_contents=[chance.choice([floats(1, 2, 3), floats(4, 5, 6), floats(1, 2), b"", b"123"])])
    parts = [kind(model_name="same"), kind(id=chance.choice("ab")), tensor, wanted, raw]
    made = [p.SerializeToString() for p in parts if chance.random() < 0.9] + [b"\x98\x06\x05"] * chance.randrange(2)
    if chance.random() < 0.3:
        chance.shuffle(made)
    if chance.random() < 0.1:
        made.append(chance.choice(made or [b""]))
    return b"".join(made)


def changed(data, chance):
    """The tensor, if it stands at the end; else any byte, or one more or less."""
    way, at, byte = chance.randrange(5), chance.randrange(len(data) + 1), chance.randbytes(1)
    last = data[:-4] + chance.randbytes(4)
    return (last, last, data[:at] + byte + data[at + 1 :], data[:at] + byte + data[at:], data[:at])[way]


def answer_or_refusal(one, data):
    try:
        return answer(one, data)
    except DecodeError:
        return "no message"


@pytest.mark.parametrize("count", [2_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_whatever_follows_a_message_is_answered_as_if_it_were_the_first(engine, monkeypatch, count):
    monkeypatch.setattr(infer, "LEARN_EVERY", 1)
    chance, warm = random.Random(count), endpoint(engine)
    data = message(floats(1, 2, 3))
    for _ in range(count):
        tried = changed(data, chance) if chance.random() < 0.6 else random_message(chance)
        found = answer_or_refusal(warm, tried)
        assert found == answer_or_refusal(endpoint(engine), tried), tried
        if isinstance(found, bytes):
            data = tried
