"""Small ONNX files with known answers, made on the spot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Dim = int | str
TYPES = {
    "bool": TensorProto.BOOL,
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "string": TensorProto.STRING,
}


def save(path: Path, nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any], **more: Any) -> Path:
    graph = helper.make_graph(list(nodes), "graph", list(inputs), list(outputs), **more)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def info(name: str, dtype: str, shape: Sequence[Dim]) -> Any:
    return helper.make_tensor_value_info(name, TYPES[dtype], shape)


def identity(path: Path, dtype: str = "float32", shape: Sequence[Dim] = ("n", 3)) -> Path:
    """`x` in, `y` out, the same."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return save(path, [node], [info("x", dtype, shape)], [info("y", dtype, shape)])


def two_and_two(path: Path) -> Path:
    """`a` and `b` in, `sum` and `difference` out."""
    nodes = [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Sub", ["a", "b"], ["difference"])]
    shape = ("n", 2)
    return save(
        path,
        nodes,
        [info("a", "float32", shape), info("b", "float32", shape)],
        [info("sum", "float32", shape), info("difference", "float32", shape)],
    )


def scores(path: Path, classes: int = 10, features: int = 64) -> Path:
    """A linear classifier whose weights are the same in every run."""
    weights = np.random.default_rng(7).normal(size=(features, classes)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Softmax", ["z"], ["scores"], axis=1)]
    return save(
        path,
        nodes,
        [info("x", "float32", ("n", features))],
        [info("scores", "float32", ("n", classes))],
        initializer=[helper.make_tensor("w", TensorProto.FLOAT, weights.shape, weights.ravel())],
    )


def dynamic(path: Path) -> Path:
    """`x` times one, by integers whose scale is taken from all rows together: dynamic quantisation."""
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    return save(path, nodes, [info("x", "float32", ("n", 3))], [info("y", "float32", ("n", 3))])


def less_the_mean(path: Path) -> Path:
    """`x` less the mean of all rows."""
    nodes = [helper.make_node("ReduceMean", ["x"], ["m"], axes=[0]), helper.make_node("Sub", ["x", "m"], ["y"])]
    return save(path, nodes, [info("x", "float32", ("n", 3))], [info("y", "float32", ("n", 3))])


def brightness(path: Path, size: int = 32) -> Path:
    """A picture (NHWC, 3 channels) in, the mean of each channel out."""
    node = helper.make_node("ReduceMean", ["image"], ["means"], axes=[1, 2], keepdims=0)
    return save(path, [node], [info("image", "float32", (1, size, size, 3))], [info("means", "float32", (1, 3))])


def one_box(path: Path, size: int = 64) -> Path:
    """A picture in, one box of class 1 around its middle out: the four outputs of a TensorFlow detector."""
    return always(path, {
        "boxes": np.array([[[0.25, 0.25, 0.75, 0.75]]], np.float32),
        "classes": np.array([[1.0]], np.float32),
        "scores": np.array([[0.9]], np.float32),
        "count": np.array([1.0], np.float32),
    }, size)  # fmt: skip


def blobs(path: Path, size: int = 64, *, doc: str = "") -> Path:
    """A picture in, 0 to 1, and of each channel the box around what is lit in it: the four outputs of a TensorFlow
    detector. The score is the brightest value there; all are of class 1. `doc` makes it another file."""
    nodes = [helper.make_node("Greater", ["image", "dark"], ["lit"]), helper.make_node("Cast", ["lit"], ["on"], to=1)]
    for line, across in (("rows", 2), ("columns", 1)):
        nodes += [
            helper.make_node("ReduceMax", ["on"], [line], axes=[across], keepdims=0),
            helper.make_node("ArgMax", [line], [f"{line}_first"], axis=1, keepdims=0),
            helper.make_node("ArgMax", [line], [f"{line}_last"], axis=1, keepdims=0, select_last_index=1),
            helper.make_node("Cast", [f"{line}_first"], [f"{line}_low"], to=1),
            helper.make_node("Cast", [f"{line}_last"], [f"{line}_end"], to=1),
            helper.make_node("Add", [f"{line}_end", "one"], [f"{line}_high"]),
        ]
    edges = ["columns_low", "rows_low", "columns_high", "rows_high"]
    nodes += [helper.make_node("Unsqueeze", [edge, "last"], [f"{edge}_3"]) for edge in edges]
    nodes += [
        helper.make_node("Concat", [f"{edge}_3" for edge in edges], ["boxes"], axis=2),
        helper.make_node("ReduceMax", ["image"], ["scores"], axes=[1, 2], keepdims=0),
        helper.make_node("Identity", ["ones"], ["classes"]),
        helper.make_node("Identity", ["three"], ["count"]),
    ]
    numbers = {"dark": 0.05, "one": 1.0}
    shapes = {"boxes": (1, 3, 4), "classes": (1, 3), "scores": (1, 3), "count": (1,)}
    return save(
        path,
        nodes,
        [info("image", "float32", (1, size, size, 3))],
        [info(name, "float32", shape) for name, shape in shapes.items()],
        doc_string=doc,
        initializer=[
            *(helper.make_tensor(name, TensorProto.FLOAT, (), [value]) for name, value in numbers.items()),
            helper.make_tensor("ones", TensorProto.FLOAT, (1, 3), [1.0, 1.0, 1.0]),
            helper.make_tensor("three", TensorProto.FLOAT, (1,), [3.0]),
            helper.make_tensor("last", TensorProto.INT64, (1,), [2]),
        ],
    )


def always(path: Path, outputs: Mapping[str, Any], size: int = 64) -> Path:
    """A picture in, the same outputs whatever it shows."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[0, 1, 2, 3], keepdims=0),
        helper.make_node("Sub", ["mean", "mean"], ["zero"]),
        *(helper.make_node("Add", [f"c_{name}", "zero"], [name]) for name in outputs),
    ]
    return save(
        path,
        nodes,
        [info("image", "float32", (1, size, size, 3))],
        [info(name, "float32", value.shape) for name, value in outputs.items()],
        initializer=[helper.make_tensor(f"c_{n}", TensorProto.FLOAT, v.shape, v.ravel()) for n, v in outputs.items()],
    )


def deep(path: Path, layers: int = 24, channels: int = 24, size: int = 64) -> Path:
    """Convolutions that take some milliseconds: `x` of 1 x 3 x size x size in, one number out."""
    rng = np.random.default_rng(5)
    nodes, weights, last, width = [], [], "x", 3
    for number in range(layers):
        values = (rng.normal(size=(channels, width, 3, 3)) / np.sqrt(9 * width)).astype(np.float32)
        weights.append(helper.make_tensor(f"w{number}", TensorProto.FLOAT, values.shape, values.ravel()))
        nodes.append(helper.make_node("Conv", [last, f"w{number}"], [f"c{number}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"]))
        last, width = f"r{number}", channels
    nodes.append(helper.make_node("ReduceMean", [last], ["y"], axes=[2, 3], keepdims=0))
    return save(
        path,
        nodes,
        [info("x", "float32", (1, 3, size, size))],
        [info("y", "float32", (1, channels))],
        initializer=weights,
    )


def listed(path: Path, *, ir_version: int = 3, scale: float = 0.5) -> Path:
    """A convolution and a batch norm of some 1.2 MB whose weights are listed as inputs too: `x` 1 x 64 x 8 x 8 in."""
    rng = np.random.default_rng(6)
    shapes = {"w": (512, 64, 3, 3), "b": (512,), "mean": (512,)}
    values = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    values |= {"scale": np.full(512, scale, np.float32), "var": np.full(512, 2.0, np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "scale", "b", "mean", "var"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["y"]),
    ]
    weights = [helper.make_tensor(n, TensorProto.FLOAT, v.shape, v.ravel()) for n, v in values.items()]
    inputs = [info("x", "float32", (1, 64, 8, 8)), *(info(n, "float32", v.shape) for n, v in values.items())]
    graph = helper.make_graph(nodes, "g", inputs, [info("y", "float32", (1, 512, 1, 1))], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=ir_version)
    helper.set_model_props(model, {"note": "kept"})
    path.write_bytes(model.SerializeToString())
    return path


def pictures(path: Path, size: int = 32) -> Path:
    """Any number of pictures (NCHW, 3 channels) in, the mean of each one's channels out."""
    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)
    return save(path, [node], [info("x", "float32", ("n", 3, size, size))], [info("y", "float32", ("n", 3))])


def channels(path: Path, order: Sequence[int], size: int = 32) -> Path:
    """A picture in, of each pixel a score for each class out: how much it has of the colour that `order` says."""
    weights = np.eye(3, dtype=np.float32)[list(order)].reshape(3, 3, 1, 1)
    return save(
        path,
        [helper.make_node("Conv", ["x", "w"], ["z"]), helper.make_node("Softmax", ["z"], ["y"], axis=1)],
        [info("x", "float32", (1, 3, size, size))],
        [info("y", "float32", (1, 3, size, size))],
        initializer=[numpy_helper.from_array(weights, "w")],
    )


def mean(path: Path, size: int = 224) -> Path:
    """`x` of 1 x 3 x size x size in, the mean of each channel out."""
    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)
    return save(path, [node], [info("x", "float32", (1, 3, size, size))], [info("y", "float32", (1, 3))])
