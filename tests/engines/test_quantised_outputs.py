"""ONNX models whose outputs are 8 bits: what the graph says that they stand for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from support.guessing import FLOAT, opened

from edge.app.assembly import make_pipeline
from edge.data.sample import Sample
from edge.data.tensor import Quantization
from edge.engines.onnxruntime import load
from edge.plugins.protocols import EngineOptions

ZERO = np.int8(-3)
KINDS = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8}


@pytest.fixture
def model(tmp_path):
    """A model of three numbers whose last operators are `nodes`: from "f" (float32) or "q" (8 bits) to "y"."""

    def make(nodes, scale=0.5, zero=ZERO, *, operators: bool = False) -> Path:
        values = {"scale": np.float32(scale)} | ({} if zero is None else {"zero": np.array(zero)})
        constants = [onnx.numpy_helper.from_array(v, n) for n, v in values.items()]
        shape = onnx.numpy_helper.from_array(np.array([3, 1], np.int64), "shape")
        kind = KINDS["uint8" if zero is None else zero.dtype.name]
        made = [helper.make_node("Identity", ["x"], ["f"]), *nodes]
        if operators:
            made = [*(helper.make_node("Constant", [], [c.name], value=c) for c in constants), *made]
        graph = helper.make_graph(
            made, "g", [helper.make_tensor_value_info("x", FLOAT, [1, 3])],
            [helper.make_tensor_value_info("y", kind, None)], [shape] if operators else [shape, *constants],
        )  # fmt: skip
        imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), tmp_path / "m.onnx")
        return tmp_path / "m.onnx"

    return make


def quantise(name: str = "y", *, unsaid: bool = False):
    return helper.make_node("QuantizeLinear", ["f", "scale"] + ([] if unsaid else ["zero"]), [name])


def scaled(path: Path) -> Quantization | None:
    (output,) = load(path, EngineOptions()).outputs
    return output.quantization


@pytest.mark.parametrize("zero", [ZERO, np.uint8(9)])
@pytest.mark.parametrize("operators", [False, True])
def test_an_output_that_is_quantised_says_what_it_stands_for(model, zero, operators):
    assert scaled(model([quantise()], zero=zero, operators=operators)) == Quantization(0.5, int(zero))


def test_a_zero_point_that_is_left_out_is_0(model):
    assert scaled(model([quantise(unsaid=True)], zero=None)) == Quantization(0.5, 0)


def test_operators_behind_that_move_numbers_leave_them_what_they_are(model):
    nodes = [
        quantise("q"),
        helper.make_node("Reshape", ["q", "shape"], ["r"]),
        helper.make_node("Identity", ["r"], ["y"]),
    ]
    assert scaled(model(nodes)) == Quantization(0.5, -3)


def test_an_operator_on_8_bits_says_its_own_scale(model):
    inner = helper.make_node("QLinearSigmoid", ["q", "scale", "zero", "scale", "zero"], ["y"], domain="com.microsoft")
    assert scaled(model([quantise("q"), inner])) == Quantization(0.5, -3)


@pytest.mark.parametrize("scale", [[0.5, 0.25, 1.0], [0.0]])
def test_a_scale_for_each_column_or_of_nothing_leaves_the_bytes_as_they_are(model, scale):
    zero = np.zeros(len(scale), np.int8)
    node = helper.make_node("QuantizeLinear", ["f", "scale", "zero"], ["y"], axis=1)
    assert scaled(model([node], scale=np.array(scale, np.float32), zero=zero)) is None


def test_bytes_that_nothing_quantised_are_told_as_they_are(model):
    assert scaled(model([helper.make_node("Cast", ["f"], ["y"], to=TensorProto.INT8)])) is None


def test_probabilities_of_8_bits_are_published_as_probabilities(model):
    nodes = [helper.make_node("Softmax", ["x"], ["p"], axis=1),
             helper.make_node("QuantizeLinear", ["p", "scale", "zero"], ["y"])]  # fmt: skip
    loaded = opened(model(nodes, scale=1 / 256, zero=np.int8(-128)))
    assert loaded.manifest.task == "classify"
    row = [1.0, 2.0, 0.5]
    (result,) = make_pipeline(loaded, "d").process(Sample(row, "test", 0, 0))
    expected = np.exp(row) / np.exp(row).sum()
    assert [p.index for p in result.predictions] == [1, 0, 2]
    assert [p.score for p in result.predictions] == pytest.approx(sorted(expected, reverse=True), abs=1 / 256)
