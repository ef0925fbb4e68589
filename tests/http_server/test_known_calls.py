"""gRPC messages that come again, each beside an endpoint that has never seen one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from support import onnxmodels

pytest.importorskip("grpc", reason="needs the extra [grpc]")

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
