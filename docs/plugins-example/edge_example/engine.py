"""`model.linear`: the line LINEAR1, then weights [outputs, inputs] and bias [outputs] as JSON. Runs by numpy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edge.data.tensor import Tensors, TensorSpec
from edge.errors import ModelError, SampleError
from edge.plugins.declarations import EngineInfo
from edge.plugins.protocols import EngineLibrary, EngineOptions

MAGIC = b"LINEAR1\n"


class _Weights(msgspec.Struct):
    weights: list[list[float]]
    bias: list[float]


class LinearEngine:
    name = "linear"
    version = "1.0"

    def __init__(self, weights: _Weights) -> None:
        self._weights = np.array(weights.weights, np.float32)
        self._bias = np.array(weights.bias, np.float32)
        outputs, inputs = self._weights.shape
        self.inputs = (TensorSpec("x", "float32", (None, inputs)),)
        self.outputs = (TensorSpec("y", "float32", (None, outputs)),)
        self.metadata: Mapping[str, str] = {}

    def infer(self, tensors: Tensors) -> dict[str, Any]:
        if set(tensors) != {"x"}:
            raise SampleError(f"the model takes x; it was given {', '.join(tensors) or 'nothing'}")
        return {"y": tensors["x"] @ self._weights.T + self._bias}

    def close(self) -> None:
        """Nothing to release."""


class LinearLibrary(EngineLibrary):
    def load(self, path: Path, options: EngineOptions) -> LinearEngine:
        try:
            return LinearEngine(msgspec.json.decode(path.read_bytes().removeprefix(MAGIC), type=_Weights))
        except (msgspec.MsgspecError, ValueError) as exc:
            raise ModelError(f"{path.name}: not a linear model: {exc}; save it again") from exc

    def version(self) -> str:
        return "1.0"


ENGINE = EngineInfo(
    edge_api=1, library=LinearLibrary, reads=lambda begin: begin.startswith(MAGIC), files="a .linear file"
)
