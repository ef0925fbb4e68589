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
    found = [_one(first, payload) for payload in payloads]
    assert _same(kept, list(payloads)), "a payload is not changed"
    assert any(made is not None for made in found), "some of the payloads give tensors"
    for made in found:
        if made is not None:
            _fits(made, inputs)
    held = [None if made is None else {n: np.array(a, copy=True) for n, a in made.tensors.items()} for made in found]
    second = make()
    again = []
    for payload in payloads:
        for wrong in bad:
            _refuses(second, wrong)
        made = _one(second, payload)
        again.append(None if made is None else {n: np.array(a, copy=True) for n, a in made.tensors.items()})
    same = all(_equal(a, b) for a, b in zip(held, again, strict=True))
    assert same, "a fresh one makes the same, beside bad ones too"
    third = make()
    if isinstance(third, BatchPreprocessor):
        _is_the_same_together(third, payloads, held)


def _one(preprocessor: Preprocessor, payload: Payload) -> ModelInput | None:
    parts = preprocessor.split(payload)
    assert len(parts) > 0, "a payload holds at least one sample"
    made = None
    for part in parts:
        made = preprocessor(Sample(part, "check", 1, 1))
    return made


def _refuses(preprocessor: Preprocessor, payload: Payload) -> None:
    try:
        _one(preprocessor, payload)
    except SampleError:
        return
    raise AssertionError(f"{str(payload)[:60]!r} is refused with SampleError")


def _fits(made: ModelInput, inputs: Sequence[TensorSpec]) -> None:
    assert set(made.tensors) == {s.name for s in inputs}, "the tensors are those of the engine's inputs"
    for spec in inputs:
        array = made.tensors[spec.name]
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
    for made, alone in zip(together, held, strict=True):
        assert _equal(made.tensors, alone), "`many` makes the same as one by one"


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
