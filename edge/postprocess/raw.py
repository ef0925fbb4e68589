"""Outputs as they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from edge.data.result import Raw
from edge.data.sample import ModelInput
from edge.data.tensor import Tensors, TensorSpec
from edge.describe.head import HeadInfo
from edge.model.manifest import Manifest


class AsIs:
    """Every output: name, shape, dtype and the flat values.

    JSON has neither NaN nor infinity: NaN becomes null, infinity the text "Infinity" or "-Infinity".
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = dict(names)  # the tensor's to the one that is shown

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Raw]:
        return [_raw(shown, outputs[name]) for name, shown in self._names.items()]


def _raw(name: str, value: Any) -> Raw:
    if isinstance(value, (list, dict)):
        items = value if isinstance(value, list) else [value]
        maps = not any(isinstance(i, np.ndarray) for i in items)
        data = _for_json(items if maps else [np.asarray(i).tolist() for i in items])
        return Raw(name=name, shape=[len(items)], dtype="map" if maps else "sequence", data=data)
    array = np.asarray(value)
    dtype = "string" if array.dtype.kind in "OUS" else array.dtype.name
    values = array.ravel().tolist()
    finite = array.dtype.kind not in "fO" or (array.dtype.kind == "f" and not np.isinf(array).any())
    return Raw(name=name, shape=list(array.shape), dtype=dtype, data=values if finite else _for_json(values))


def _for_json(value: Any) -> Any:
    if isinstance(value, float):
        return ("Infinity" if value > 0 else "-Infinity") if math.isinf(value) else value
    if isinstance(value, dict):
        return {key: _for_json(v) for key, v in value.items()}
    return [_for_json(v) for v in value] if isinstance(value, list) else value


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> AsIs:
    """All outputs but those that are fed back as a state."""
    fed = {i.state_from for i in manifest.inputs if i.state_from}
    shown = {o.name: o.key or o.name for o in manifest.outputs}  # the manifest's order is the framework's
    shown |= {s.name: s.name for s in specs if s.name not in shown}
    given = {s.name for s in specs} - fed
    return AsIs({name: key for name, key in shown.items() if name in given})


HEAD = HeadInfo(edge_api=1, create=create)
