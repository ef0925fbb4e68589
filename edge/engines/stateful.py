"""A model that remembers: outputs that are fed back as the next inputs, held here for one stream.

To the pipeline it looks like an engine without the state: neither its inputs nor its outputs are seen, and its
batch dimension is fixed at 1, since samples of one stream follow one another.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from edge.data.tensor import Array, Tensors, TensorSpec, numpy_dtype
from edge.errors import ModelError
from edge.model.manifest import Manifest
from edge.plugins.protocols import Engine


class Stateful:
    """Begins with zeros. One for each stream: wrap the same engine again for the next."""

    remembers = True

    def __init__(self, engine: Engine, states: Mapping[str, str]) -> None:
        """`states`: input name to output name."""
        self._engine, self._states = engine, dict(states)
        self.name, self.version, self.metadata = engine.name, engine.version, engine.metadata
        self.inputs = tuple(_alone(s) for s in engine.inputs if s.name not in states)
        self.outputs = tuple(_alone(s) for s in engine.outputs if s.name not in states.values())
        self._lock = threading.Lock()
        specs = {s.name: s for s in engine.inputs}
        self._zeros = {n: np.zeros(specs[n].fixed(), numpy_dtype(specs[n].dtype)) for n in states}
        self._held: dict[str, Array] = dict(self._zeros)

    def infer(self, tensors: Tensors) -> dict[str, Any]:
        """One step. Where the model refuses the input the state stays as it was. Raises SampleError."""
        with self._lock:
            outputs = self._engine.infer({**tensors, **self._held})
            self._held = {i: outputs.pop(o) for i, o in self._states.items()}
        return outputs

    def reset(self) -> None:
        """Zeros again: another stream begins."""
        with self._lock:
            self._held = dict(self._zeros)

    def close(self) -> None:
        """The engine belongs to who made it."""


def _alone(spec: TensorSpec) -> TensorSpec:
    if not spec.free_batch or spec.shape is None:
        return spec
    return msgspec.structs.replace(spec, shape=(1, *spec.shape[1:]))


def wrap(engine: Engine, manifest: Manifest) -> Engine:
    """The engine with the states of its manifest, or the engine itself where there are none.

    Raises ModelError where the manifest names a state that the file has not.
    """
    states = {i.name: i.state_from for i in manifest.inputs if i.state_from}
    if not states:
        return engine
    inputs, outputs = {s.name for s in engine.inputs}, {s.name for s in engine.outputs}
    for given, fed in states.items():
        if given not in inputs or fed not in outputs:
            raise ModelError(
                f"{manifest.name}: the manifest feeds the output {fed!r} back to the input {given!r}; the file has "
                f"the inputs {sorted(inputs)} and the outputs {sorted(outputs)}: re-run edge-convert"
            )
    return Stateful(engine, states)
