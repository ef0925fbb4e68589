"""Proof that a preprocessor is one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from edge.data.sample import ModelInput, Payload, Sample
from edge.data.tensor import Tensors, TensorSpec, numpy_dtype
from edge.errors import SampleError
from edge.plugins import protocols
from edge.plugins.protocols import BatchPreprocessor, Preprocessor
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
    model_inputs = [_one(first, payload) for payload in payloads]
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
        model_input = _one(second, payload)
        again.append(
            None if model_input is None else {n: np.array(a, copy=True) for n, a in model_input.tensors.items()}
        )
    same = all(_equal(a, b) for a, b in zip(held, again, strict=True))
    assert same, "a fresh one makes the same, beside bad ones too"
    third = make()
    if isinstance(third, BatchPreprocessor):
        _is_the_same_together(third, payloads, held)


def _one(preprocessor: Preprocessor, payload: Payload) -> ModelInput | None:
    parts = preprocessor.split(payload)
    assert len(parts) > 0, "a payload holds at least one sample"
    model_input = None
    for part in parts:
        model_input = preprocessor(Sample(part, "check", 1, 1))
    return model_input


def _refuses(preprocessor: Preprocessor, payload: Payload) -> None:
    try:
        _one(preprocessor, payload)
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


def _is_the_same_together(
    preprocessor: BatchPreprocessor, payloads: Sequence[Payload], held: Sequence[Tensors | None]
) -> None:
    together = preprocessor.many(list(payloads))
    if together is None:
        return
    assert len(together) == len(payloads), "`many` gives one for each payload, or None where it cannot"
    for model_input, alone in zip(together, held, strict=True):
        assert _equal(model_input.tensors, alone), "`many` makes the same as one by one"


def _equal(a: Tensors | None, b: Tensors | None) -> bool:
    if a is None or b is None:
        return a is b
    return set(a) == set(b) and all(np.array_equal(a[n], b[n], equal_nan=a[n].dtype.kind == "f") for n in a)


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
