"""Whether the rows of a batch leave one another alone: only then may samples of several senders run together.

A free batch dimension does not promise it. Dynamic quantisation takes one scale from the whole batch, so a neighbour
with large values takes the digits of all others; a normalisation or a softmax may run over the wrong axis. The engine
is asked what its file says of itself, and the model is tried with neighbours that are as unlike as can be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edge.data.tensor import Array, Tensors
from edge.errors import SampleError
from edge.plugins.protocols import CouplingEngine, Engine

RELATIVE, ABSOLUTE = 1e-4, 1e-5
"""Rows that differ by more are not kept apart. Less is rounding: sums are added up in another order."""


def may_join(engine: Engine) -> bool:
    """True where every input and output begins with a free dimension, and the file says nothing against it."""
    specs = (*engine.inputs, *engine.outputs)
    coupled = isinstance(engine, CouplingEngine) and engine.couples_rows
    return bool(engine.inputs) and all(s.free_batch for s in specs) and not coupled


def keeps_apart(infer: Callable[[Tensors], dict[str, Any]], sample: Tensors, alone: Tensors | None = None) -> bool:
    """Whether the outputs of `sample`, of one row, stay the same beside rows with far larger and far smaller numbers.

    `alone`: its outputs, where they are known. Where there is nothing to vary, or the model refuses it, it is yes.
    """
    beside = {name: _beside(values) for name, values in sample.items()}
    if all(values is None for values in beside.values()):
        return True
    joined = {n: np.concatenate([v, *(beside[n] or (v, v))]) for n, v in sample.items()}
    try:
        alone = infer(sample) if alone is None else alone
        outputs = infer(joined)
    except (SampleError, ValueError):
        return True
    return same({name: values[:1] for name, values in outputs.items() if isinstance(values, np.ndarray)}, alone)


def _beside(values: Array) -> tuple[Array, Array] | None:
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            far = np.nan_to_num(np.abs(values) * values.dtype.type(1000) + values.dtype.type(1000))
        return far, -far / 7  # not of one size: what is added up must not vanish
    # Other integers may be places in a table: what is not there ends the run.
    return (np.invert(values), np.zeros_like(values)) if values.dtype in (np.uint8, np.int8) else None


def same(one: Tensors, other: Tensors) -> bool:
    """Whether two sets of outputs tell the same, but for rounding."""
    for name, values in one.items():
        a, b = np.asarray(values), np.asarray(other[name])
        if a.shape != b.shape:
            return False
        if a.dtype.kind in "fc":
            if not np.allclose(a, b, RELATIVE, ABSOLUTE, equal_nan=True):
                return False
        elif not np.array_equal(a, b):
            return False
    return True
