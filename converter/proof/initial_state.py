"""Inputs that no row supplies: a state, which begins with zeros, and constants of the manifest.

Conversion looks at single rows, so a model with a state is judged by its first step, one row at a time.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec
import numpy as np

from edge.data.tensor import Array, Tensors, TensorSpec, numpy_dtype
from edge.model.manifest import Manifest
from edge.plugins.protocols import Engine


def _supplied(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> dict[str, Array]:
    """The tensors that go in with every row, by input name."""
    by_name = {s.name: s for s in specs}
    arrays: dict[str, Array] = {}
    for one in manifest.inputs:
        spec = by_name.get(one.name)
        if spec is None or not (one.state_from or one.kind == "constant"):
            continue
        shape, dtype = spec.fixed(), numpy_dtype(spec.dtype)
        arrays[one.name] = np.zeros(shape, dtype) if one.state_from else np.asarray(one.value, dtype).reshape(shape)
    return arrays


class FirstStep:
    """An engine that is given the inputs of rows only. `supplied` are the others, which golden samples hold too.

    The outputs that are fed back (`states`) have no row axis, and are left out.
    """

    def __init__(self, engine: Engine, supplied: Tensors, states: Collection[str]) -> None:
        self._engine, self.supplied, self._states = engine, dict(supplied), states
        self.name, self.version, self.metadata = engine.name, engine.version, engine.metadata
        self.inputs = tuple(_alone(s) for s in engine.inputs if s.name not in supplied)
        self.outputs = tuple(s for s in engine.outputs if s.name not in states)

    def infer(self, tensors: Tensors) -> dict[str, Array]:
        """One row, the state at its beginning. Raises SampleError."""
        outputs = self._engine.infer({**tensors, **self.supplied})
        return {n: a for n, a in outputs.items() if n not in self._states}

    def close(self) -> None:
        """Closes the engine."""
        self._engine.close()


def _alone(spec: TensorSpec) -> TensorSpec:
    return msgspec.structs.replace(spec, shape=(1, *spec.shape[1:])) if spec.free_batch and spec.shape else spec


def supplied(engine: Engine) -> dict[str, Array]:
    """What goes into an engine from `of` with every row, by input name."""
    return dict(engine.supplied) if isinstance(engine, FirstStep) else {}


def of(engine: Engine, manifest: Manifest) -> Engine:
    """The engine as rows feed it: itself where they supply every input."""
    more = _supplied(manifest, engine.inputs)
    states = {i.state_from for i in manifest.inputs if i.state_from}
    return FirstStep(engine, more, states) if more else engine
