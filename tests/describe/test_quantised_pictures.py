"""Models whose graph begins with numbers of 8 bits: what these say of the range that pixels are brought to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from support.guessing import FLOAT, build, describe, opened

from edge.app.assembly import make_pipeline
from edge.data.sample import Sample
from edge.data.tensor import Quantization, TensorSpec
from edge.describe import presets
from edge.describe.metadata import Metadata


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "model.onnx"


def quantised(
    path: Path, scale: float, zero: np.generic, *, whole: bool = False, nodes: bool = False, unsaid: bool = False
) -> Path:
    """A model whose graph begins by quantising what it is given; `whole`: by making real values of bytes. `nodes`:
    scale and zero point are operators, not weights; `unsaid`: there is no zero point, which is 0 then."""
    names = ["scale"] if unsaid else ["scale", "zero"]
    kind = TensorProto.INT8 if zero.dtype == np.int8 else TensorProto.UINT8
    made = [] if whole else [helper.make_node("QuantizeLinear", ["x", *names], ["q"])]
    made += [
        helper.make_node("DequantizeLinear", ["x" if whole else "q", *names], ["f"]),
        helper.make_node("GlobalAveragePool", ["f"], ["y"]),
    ]
    values = {"scale": np.float32(scale), "zero": np.array(zero)}
    constants = [onnx.numpy_helper.from_array(values[name], name) for name in names]
    if nodes:
        made = [*(helper.make_node("Constant", [], [c.name], value=c) for c in constants), *made]
    graph = helper.make_graph(
        made, "g", [helper.make_tensor_value_info("x", kind if whole else FLOAT, [1, 3, 96, 96])],
        [helper.make_tensor_value_info("y", FLOAT, [1, 3, 1, 1])],
        [] if nodes else constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="pytorch")
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("scale", "zero", "expected"),
    [
        (1 / 255, np.int8(-128), ((), (255.0,))),
        (1 / 255, np.uint8(0), ((), (255.0,))),
        (2 / 255, np.int8(0), ((127.5,), (127.5,))),
        (1.0, np.uint8(0), ((), ())),
        (4.76 / 255, np.uint8(113), ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))),
    ],
)
def test_a_graph_that_begins_by_quantising_says_its_range(file, scale, zero, expected):
    found = describe(quantised(file, scale, zero))
    assert (found.manifest.inputs[0].mean, found.manifest.inputs[0].std) == expected
    assert not any("--mean" in w for w in found.warnings)


def test_scale_and_zero_point_are_read_where_they_are_operators(file):
    found = describe(quantised(file, 2 / 255, np.int8(0), nodes=True))
    assert (found.manifest.inputs[0].mean, found.manifest.inputs[0].std) == ((127.5,), (127.5,))


def test_a_zero_point_that_is_left_out_is_0(file):
    found = describe(quantised(file, 1 / 255, np.uint8(0), unsaid=True))
    assert (found.manifest.inputs[0].mean, found.manifest.inputs[0].std) == ((), (255.0,))


def test_a_range_that_is_no_usual_one_leaves_the_scale_a_guess(file):
    found = describe(quantised(file, 3.1 / 255, np.uint8(90)))
    assert any("--mean and --std" in w for w in found.warnings)


@pytest.mark.parametrize(
    ("scale", "zero"),
    [(1 / 255, np.int8(-128)), (1 / 255, np.uint8(0)), (2 / 255, np.int8(0)), (1.0, np.uint8(0))],
)
@pytest.mark.parametrize("nodes", [False, True])
def test_bytes_that_the_graph_makes_real_values_of_are_those_of_the_picture(file, scale, zero, nodes):
    unsaid = not nodes and not zero
    loaded = opened(quantised(file, scale, zero, whole=True, nodes=nodes, unsaid=unsaid), "--task", "regress")
    pixels = np.full((96, 96, 3), (10, 128, 240), np.uint8)
    (result,) = make_pipeline(loaded, "d").process(Sample(pixels, "test", 0, 0))
    low = (np.iinfo(zero.dtype).min - float(zero)) * scale
    expected = low + np.array([10, 128, 240]) * scale
    assert [p.value for p in result.predictions] == pytest.approx(expected.tolist(), abs=scale)


def test_bytes_that_nothing_says_a_range_of_are_a_guess_of_the_whole(file):
    nodes = [helper.make_node("Cast", ["x"], ["f"], to=FLOAT), helper.make_node("GlobalAveragePool", ["f"], ["y"])]
    found = describe(build(file, {"x": (TensorProto.INT8, [1, 3, 96, 96])}, {"y": [1, 3, 1, 1]}, nodes=nodes))
    assert (found.manifest.inputs[0].mean, found.manifest.inputs[0].std) == ((128.0,), (1.0,))
    assert any("--mean and --std" in w for w in found.warnings)


def found_preset(dtype: str, scale: float, zero: int) -> presets.Preset:
    spec = TensorSpec("in", dtype, (1, 48, 48, 3), Quantization(scale, zero))
    return presets.find(spec, "NHWC", family="", metadata=Metadata(producer="tflite"), classes=5)


@pytest.mark.parametrize(
    ("dtype", "scale", "zero", "expected"),
    [
        ("int8", 1.0, -128, ((), (1.0,))),
        ("int8", 1 / 255, -128, ((), (255.0,))),
        ("int8", 2 / 255, 0, ((127.5,), (127.5,))),
        ("int16", 255 / 32767, 0, ((), (1.0,))),
        ("int16", 2.64 / 32767, 0, ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))),
    ],
)
def test_a_quantised_input_says_its_range(dtype, scale, zero, expected):
    # a Keras network that rescales pixels itself takes 0 to 255: without any numbers int8 would take 0 to 1
    found = found_preset(dtype, scale, zero)
    assert (found.mean, found.std, found.sure) == (*expected, True)


@pytest.mark.parametrize("most", [1.0, 7.0])
def test_a_range_around_0_that_may_be_several_is_a_guess(most):
    found = found_preset("int16", most / 32767, 0)
    assert (found.std, found.sure) == ((255.0,), False)
