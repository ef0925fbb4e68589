from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge.engines import onnxruntime, stateful
from edge.errors import ModelError, SampleError
from edge.model.manifest import Input, Manifest
from edge.plugins.protocols import EngineOptions


@pytest.fixture
def engine(tmp_path):
    """y = x + s, and s is y the next time: a running sum."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "s"], ["y"]), helper.make_node("Identity", ["y"], ["sn"])],
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 2]) for n in ("x", "s")],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 2]) for n in ("y", "sn")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "sum.onnx")
    return onnxruntime.load(tmp_path / "sum.onnx", EngineOptions())


def manifest(fed: str = "sn") -> Manifest:
    return Manifest(name="sum", inputs=(Input(name="x"), Input(name="s", state_from=fed)))


def step(engine, *values: float):
    return engine.infer({"x": np.array([values], np.float32)})["y"].tolist()[0]


def test_an_output_is_fed_back(engine):
    held = stateful.wrap(engine, manifest())
    assert [step(held, 1, 2), step(held, 1, 2), step(held, 1, 2)] == [[1, 2], [2, 4], [3, 6]]


def test_the_state_is_hidden_and_the_batch_is_one(engine):
    held = stateful.wrap(engine, manifest())
    assert [(s.name, s.shape) for s in (*held.inputs, *held.outputs)] == [("x", (1, 2)), ("y", (1, 2))]
    assert set(held.infer({"x": np.zeros((1, 2), np.float32)})) == {"y"}


def test_each_stream_has_its_own_state(engine):
    one, other = stateful.wrap(engine, manifest()), stateful.wrap(engine, manifest())
    step(one, 5, 5)
    assert step(other, 1, 1) == [1, 1]


def test_a_reset_begins_with_zeros(engine):
    held = stateful.wrap(engine, manifest())
    step(held, 5, 5)
    held.reset()
    assert step(held, 1, 1) == [1, 1]


def test_a_refused_input_leaves_the_state_as_it_was(engine):
    held = stateful.wrap(engine, manifest())
    step(held, 5, 5)
    with pytest.raises(SampleError):
        held.infer({"x": np.zeros((1, 3), np.float32)})
    assert step(held, 1, 1) == [6, 6]


def test_a_model_without_states_stays_as_it_is(engine):
    assert stateful.wrap(engine, Manifest(name="m", inputs=(Input(name="x"),))) is engine


def test_a_state_that_the_file_has_not_is_a_model_error(engine):
    with pytest.raises(ModelError, match="'nothing'"):
        stateful.wrap(engine, manifest("nothing"))
