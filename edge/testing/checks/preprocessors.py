"""Proof that a preprocessor is one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from edge.data.sample import ModelInput, Payload
from edge.data.tensor import TensorSpec, numpy_dtype
from edge.errors import SampleError
from edge.plugins import protocols
from edge.plugins.protocols import Preprocessor
from edge.testing.checks.abilities import check_abilities, equal, last_of
from edge.testing.checks.parts import assert_whole


def check_preprocessor(
    make: Callable[[], Preprocessor],
    payloads: Sequence[Payload],
    inputs: Sequence[TensorSpec],
    *,
    bad: Sequence[Payload] = (),
) -> None:
    """`make()` gives a fresh one; of each of `payloads` it makes tensors that fit `inputs` (None while a window fills).

    Each of `bad` is refused with SampleError, and harms none behind it. Raises AssertionError.
    """
    first = make()
    assert_whole(protocols.Preprocessor, first)
    kept = copy.deepcopy(list(payloads))
    model_inputs = [last_of(first, payload) for payload in payloads]
    assert _same(kept, list(payloads)), "a payload is not changed"
    assert any(model_input is not None for model_input in model_inputs), "some of the payloads give tensors"
    for model_input in model_inputs:
        if model_input is not None:
            _fits(model_input, inputs)
    held = [
        None if model_input is None else {n: np.array(a, copy=True) for n, a in model_input.tensors.items()}
        for model_input in model_inputs
    ]
    second = make()
    again = []
    for payload in payloads:
        for wrong in bad:
            _refuses(second, wrong)
        model_input = last_of(second, payload)
        again.append(
            None if model_input is None else {n: np.array(a, copy=True) for n, a in model_input.tensors.items()}
        )
    same = all(equal(a, b) for a, b in zip(held, again, strict=True))
    assert same, "a fresh one makes the same, beside bad ones too"
    check_abilities(make, payloads, held)


def _refuses(preprocessor: Preprocessor, payload: Payload) -> None:
    try:
        last_of(preprocessor, payload)
    except SampleError:
        return
    raise AssertionError(f"{str(payload)[:60]!r} is refused with SampleError")


def _fits(model_input: ModelInput, inputs: Sequence[TensorSpec]) -> None:
    assert set(model_input.tensors) == {s.name for s in inputs}, "the tensors are those of the engine's inputs"
    for spec in inputs:
        array = model_input.tensors[spec.name]
        assert array.dtype == numpy_dtype(spec.dtype), f"{spec.name}: {array.dtype}, where {spec.dtype} belongs"
        wanted = spec.shape
        assert wanted is None or (
            len(wanted) == array.ndim
            and all(not isinstance(w, int) or w == d for w, d in zip(wanted, array.shape, strict=True))
        ), f"{spec.name}: shape {list(array.shape)} does not fit {list(wanted or ())}"


def _same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(np.asarray(a), np.asarray(b))
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, msgspec.Struct) and isinstance(b, msgspec.Struct):
        return type(a) is type(b) and _same(list(msgspec.structs.astuple(a)), list(msgspec.structs.astuple(b)))
    return type(a) is type(b) and a == b
