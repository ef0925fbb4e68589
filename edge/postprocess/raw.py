"""Outputs as they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge.data.result import Raw
from edge.data.sample import ModelInput
from edge.data.tensor import Tensors, TensorSpec
from edge.model.manifest import Manifest


class AsIs:
    """Every output: name, shape, dtype and the flat values; a value that JSON lacks (NaN) becomes null."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Raw]:
        return [_raw(name, outputs[name]) for name in self._names]


def _raw(name: str, value: Any) -> Raw:
    if isinstance(value, (list, dict)):
        items = value if isinstance(value, list) else [value]
        maps = not any(isinstance(i, np.ndarray) for i in items)
        data = items if maps else [np.asarray(i).tolist() for i in items]
        return Raw(name=name, shape=[len(items)], dtype="map" if maps else "sequence", data=data)
    array = np.asarray(value)
    dtype = "string" if array.dtype.kind in "OUS" else array.dtype.name
    return Raw(name=name, shape=list(array.shape), dtype=dtype, data=array.ravel().tolist())


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> AsIs:
    """All outputs but those that are fed back as a state."""
    fed = {i.state_from for i in manifest.inputs if i.state_from}
    return AsIs(tuple(s.name for s in specs if s.name not in fed))
