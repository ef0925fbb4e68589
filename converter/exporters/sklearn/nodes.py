"""Nodes and constants for our own converters, with the names and versions that skl2onnx's containers ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edge.data.tensor import Array

BOOL, DOUBLE, FLOAT, INT64, STRING = 9, 11, 1, 7, 8
"""Of onnx.TensorProto."""
_VERSIONS = {
    "Not": 1,
    "Where": 9,
    "IsInf": 10,
    "TopK": 11,
    "GreaterOrEqual": 12,
    "Add": 14,
    "Sub": 14,
    "Mul": 14,
    "Div": 14,
}
_VERSION = 13
"""Of every other operator here."""


class Nodes:
    """What a converter adds to a graph; each method returns the name of what it made."""

    def __init__(self, scope: Any, container: Any) -> None:
        self._scope, self._container = scope, container

    def node(
        self, kind: str, inputs: str | Sequence[str], output: str = "", *, version: int = 0, **attributes: Any
    ) -> str:
        """`output` is for one that has its name, `version` for an operator of another domain."""
        name = output or str(self._scope.get_unique_variable_name(kind.lower()))
        inputs = [inputs] if isinstance(inputs, str) else list(inputs)
        self._container.add_node(kind, inputs, name, op_version=version or _VERSIONS.get(kind, _VERSION), **attributes)
        return name

    def nodes(self, kind: str, inputs: Sequence[str], count: int, **attributes: Any) -> list[str]:
        """One node with several outputs."""
        names = [str(self._scope.get_unique_variable_name(kind.lower())) for _ in range(count)]
        version = _VERSIONS.get(kind, _VERSION)
        self._container.add_node(kind, list(inputs), names, op_version=version, **attributes)
        return names

    def constant(self, value: Array | int) -> str:
        """float64 and float32 as they are, whole numbers as int64."""
        array = np.asarray(value)
        kind = {"d": DOUBLE, "f": FLOAT}.get(array.dtype.char, INT64)
        name = str(self._scope.get_unique_variable_name("constant"))
        self._container.add_initializer(name, kind, list(array.shape), array.ravel().tolist())
        return name

    def names(self, classes: Array) -> str:
        """The classes of a classifier as its label gives them: text, or whole numbers."""
        if classes.dtype.kind in "iub":
            return self.constant(classes.astype(np.int64))
        name = str(self._scope.get_unique_variable_name("classes"))
        self._container.add_initializer(name, STRING, [len(classes)], [str(c).encode() for c in classes])
        return name


def numbers_of(variable: Any) -> type[np.float64] | type[np.float32]:
    """What our nodes compute in, for an input of skl2onnx."""
    from skl2onnx.common.data_types import guess_numpy_type

    return np.float64 if guess_numpy_type(variable.type) == np.float64 else np.float32
