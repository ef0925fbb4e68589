"""Proof that an engine is one."""

from __future__ import annotations

import threading

import numpy as np

from edge.data.tensor import Tensors
from edge.errors import SampleError
from edge.plugins import protocols
from edge.plugins.protocols import CouplingEngine, Engine, RememberingEngine, RepairingEngine, ResettableEngine
from edge.testing.checks.parts import assert_whole


def check_engine(engine: Engine, inputs: Tensors) -> None:
    """`engine` is loaded and `inputs` fit it. Raises AssertionError."""
    assert_whole(protocols.Engine, engine)
    assert engine.name, "an engine has a name"
    assert engine.version, "an engine has a version"
    assert {s.name for s in engine.inputs} == set(inputs), "the inputs are those of the specification"
    kept = {n: np.array(a, copy=True) for n, a in inputs.items()}
    first = engine.infer(inputs)
    assert set(first) == {s.name for s in engine.outputs}, "the outputs are those of the specification"
    for name, array in inputs.items():
        assert np.array_equal(array, kept[name]), f"the engine changed its input {name!r}"
    before = {n: np.array(a, copy=True) for n, a in first.items()}
    engine.infer(inputs)
    for name, values in before.items():
        assert np.array_equal(np.asarray(first[name]), values), f"the output {name!r} was overwritten by the next run"
    remembers = isinstance(engine, RememberingEngine) and engine.remembers
    if not remembers:
        _is_safe_from_several_threads(engine, inputs, before)
    if isinstance(engine, ResettableEngine):
        engine.reset()
        assert _same(engine.infer(inputs), before), "after `reset` it answers as at the beginning"
    assert not remembers or isinstance(engine, ResettableEngine), "one that remembers has `reset`"
    if isinstance(engine, RepairingEngine):
        assert all(text and isinstance(text, str) for text in engine.repairs), "`repairs` are words for a user"
    if isinstance(engine, CouplingEngine) and not engine.couples_rows:
        _keeps_rows_apart(engine, inputs, before)
    try:
        engine.infer({"no such input": np.zeros(1, dtype=np.float32)})
    except SampleError:
        return
    raise AssertionError("an input that the model has not is a SampleError")


def _keeps_rows_apart(engine: Engine, inputs: Tensors, alone: Tensors) -> None:
    """Where it takes batches at all."""
    if not all(s.shape and not isinstance(s.shape[0], int) for s in (*engine.inputs, *engine.outputs)):
        return
    others = {n: np.concatenate([a, np.zeros_like(a)]) for n, a in inputs.items() if a.dtype != object}
    if len(others) != len(inputs):
        return
    try:
        together = engine.infer(others)
    except SampleError:  # in truth it takes one row
        return
    for name, values in alone.items():
        beside = np.asarray(together[name])[: len(values)]
        near = beside.dtype.kind != "f" or np.allclose(beside, values, 1e-4, 1e-5, equal_nan=True)
        assert near, f"without `couples_rows` a row beside it changes no output, and {name!r} is another one"


def _same(a: Tensors, b: Tensors) -> bool:
    return all(np.array_equal(np.asarray(a[n]), b[n], equal_nan=b[n].dtype.kind == "f") for n in b)


def _is_safe_from_several_threads(engine: Engine, inputs: Tensors, expected: Tensors) -> None:
    wrong: list[str] = []

    def many() -> None:
        for _ in range(20):
            outputs = engine.infer(inputs)
            wrong.extend(n for n, v in expected.items() if not np.array_equal(np.asarray(outputs[n]), v))

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, f"outputs differ when several threads infer: {sorted(set(wrong))}"
