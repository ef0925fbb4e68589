"""Proof that an engine is one."""

from __future__ import annotations

import threading

import numpy as np

from edge.data.tensor import Tensors
from edge.errors import SampleError
from edge.plugins import protocols
from edge.plugins.protocols import Engine, ResettableEngine
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
    _is_safe_from_several_threads(engine, inputs, before)
    if isinstance(engine, ResettableEngine):
        engine.reset()
    try:
        engine.infer({"no such input": np.zeros(1, dtype=np.float32)})
    except SampleError:
        return
    raise AssertionError("an input that the model has not is a SampleError")


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
