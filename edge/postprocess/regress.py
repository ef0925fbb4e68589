"""Numbers: every value of every float output, by name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from msgspec import UNSET

from edge.data.result import Regression
from edge.data.sample import ModelInput
from edge.data.tensor import EXACT, Array, Tensors, TensorSpec
from edge.describe.head import HeadInfo
from edge.errors import ModelError, SampleError
from edge.model.manifest import Manifest, Output
from edge.plugins.columns import Columns


class Regressor:
    """Names come from the manifest's output, else the output's own name, numbered where it holds several."""

    def __init__(self, outputs: tuple[Output, ...]) -> None:
        self.outputs = outputs

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Regression]:
        predictions: list[Regression] = []
        for output in self.outputs:
            values = _exact(outputs[output.name]).ravel()
            if not np.isfinite(values).all():
                raise SampleError(f"the model's output {output.name!r} is not finite")
            for i, value in enumerate(values.tolist()):
                predictions.append(
                    Regression(name=_name(output, i, values.size), value=value, unit=output.unit or UNSET)
                )
        return predictions

    def many(self, outputs: Tensors, count: int) -> list[list[Regression]] | None:
        """Where all values are finite."""
        predictions: list[list[Regression]] = [[] for _ in range(count)]
        for output in self.outputs:
            values = _exact(outputs[output.name]).reshape(count, -1)
            if not np.isfinite(values).all():
                return None
            names = [_name(output, i, values.shape[1]) for i in range(values.shape[1])]
            for row, numbers in zip(predictions, values.tolist(), strict=True):
                row += [Regression(n, v, output.unit or UNSET) for n, v in zip(names, numbers, strict=True)]
        return predictions

    def to_columns(self, outputs: Tensors, count: int) -> Columns | None:
        """A column for each value, by its name; None where two have one name."""
        columns: dict[str, Array] = {}
        for output in self.outputs:
            values = _exact(outputs[output.name]).reshape(count, -1)
            if not np.isfinite(values).all():
                return None
            names = [_name(output, i, values.shape[1]) for i in range(values.shape[1])]
            if len({*columns, *names}) != len(columns) + len(names):
                return None
            columns |= {name: values[:, i] for i, name in enumerate(names)}
        return Columns(columns)


def _exact(output: Any) -> Array:
    """As float64, but for whole numbers that it would round: those stay what they are."""
    array = np.asarray(output)
    if array.dtype.kind in "iu" and array.size and max(-int(array.min()), int(array.max())) > EXACT:
        return array
    return array.astype(np.float64)


def _name(output: Output, index: int, count: int) -> str:
    if index < len(output.names):
        return output.names[index]
    name = output.key or output.name
    return name if count == 1 else f"{name}[{index}]"


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> Regressor:
    """Takes the outputs of role "value", else every numeric one. Raises ModelError where there is none."""
    known = {s.name: s for s in specs}
    named = tuple(o for o in manifest.outputs if o.role == "value") or tuple(
        o for o in manifest.outputs if not o.role and o.name in known
    )
    missing = [o.name for o in named if o.name not in known]
    if missing:
        raise ModelError(
            f"the manifest names the output {missing[0]!r}, the file has {sorted(known)}; re-run edge-convert"
        )
    outputs = named or tuple(Output(name=s.name) for s in specs if s.dtype != "string" and s.shape is not None)
    if not outputs:
        raise ModelError(f"no output of {sorted(known)} is a number; try --task raw")
    return Regressor(outputs)


def named(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> tuple[tuple[str, str], ...]:
    """Name and unit of each value that a result will hold, in order; "" where there is no unit. Raises ModelError."""
    shapes = {s.name: s.shape or () for s in specs}
    pairs: list[tuple[str, str]] = []
    for output in create(manifest, specs).outputs:
        size = math.prod(d if isinstance(d, int) else 1 for d in shapes[output.name])
        pairs += [(_name(output, i, size), output.unit) for i in range(size)]
    return tuple(pairs)


HEAD = HeadInfo(edge_api=1, create=create)
