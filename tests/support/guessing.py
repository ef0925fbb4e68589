"""ONNX files with made-up outputs, and what is guessed of them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

import edge.describe.describe
from edge.app import loading
from edge.describe.describe import Description, Overrides
from edge.engines import onnxruntime
from edge.plugins.protocols import EngineOptions
from edge.settings import layers

FLOAT = TensorProto.FLOAT


def build(path: Path, inputs, outputs, *, producer: str = "pytorch", metadata=None, nodes=None) -> Path:
    """A model whose outputs are constants of the shapes given, or arrays, or what `nodes` make."""
    made = list(nodes or [])
    initial = []
    for name, value in outputs.items():
        if isinstance(value, np.ndarray):
            initial.append(onnx.numpy_helper.from_array(value, f"{name}_value"))
            made.append(helper.make_node("Identity", [f"{name}_value"], [name]))
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info(n, t, s) for n, (t, s) in inputs.items()],
        [
            helper.make_tensor_value_info(
                n, TensorProto.INT64 if getattr(v, "dtype", None) == np.int64 else FLOAT, getattr(v, "shape", v)
            )
            for n, v in outputs.items()
        ],
        initial,
    )
    model = helper.make_model(graph, producer_name=producer, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path)
    return path


def describe(path: Path, overrides: Overrides | None = None) -> Description:
    return edge.describe.describe.describe(path, onnxruntime.load(path, EngineOptions()), overrides)


def opened(path: Path, *flags: str) -> loading.Loaded:
    """A model as edge-run opens it."""
    environment = {**os.environ, "HOME": str(path.parent)}
    return loading.open_model(layers.read(["--model", str(path), *flags], environment, "0"))


def random(*shape: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    return np.random.default_rng(0).uniform(low, high, shape).astype(np.float32)


def picture(size: int = 96, channels: int = 3) -> dict:
    return {"x": (FLOAT, [1, channels, size, size])}


def boxes(rows: int, columns: int, size: float = 96) -> np.ndarray:
    values = random(1, rows, columns)
    values[..., :4] *= size
    return values


def detections(rows: int, size: float = 96) -> np.ndarray:
    """Corners in order, score, class and a 0 for the batch: what is left after suppression inside a model."""
    values = random(1, rows, 7)
    values[..., :4] = np.concatenate((values[..., :2], values[..., :2] + values[..., 2:4]), axis=2) * size / 2
    values[..., 5] = np.arange(rows) % 3
    values[..., 6] = 0
    return values


def centres(rows: int) -> np.ndarray:
    """Centre and size as shares of the input, score, class: a transformer's."""
    values = random(1, rows, 6)
    values[..., 2:4] *= 0.3
    values[..., 5] = np.arange(rows) % 3
    return values
