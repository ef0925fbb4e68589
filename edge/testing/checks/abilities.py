"""Proofs of what a preprocessor says it can do beside its seam."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from edge.data import codec
from edge.data.sample import ModelInput, Payload, Sample
from edge.data.tensor import Array, Tensors
from edge.errors import SampleError
from edge.plugins.protocols import (
    AheadPreprocessor,
    BatchPreprocessor,
    FreePreprocessor,
    LookingPreprocessor,
    PicturePreprocessor,
    Preprocessor,
)
from edge.plugins.rows import RowPreprocessor, RowRules


def check_abilities(
    make: Callable[[], Preprocessor], payloads: Sequence[Payload], held: Sequence[Tensors | None]
) -> None:
    """`held` are the tensors that one made of `payloads`, one after the other. Raises AssertionError."""
    part = make()
    if isinstance(part, BatchPreprocessor):
        _is_the_same_together(part, payloads, held)
    if isinstance(part, AheadPreprocessor) and part.ahead:
        _keeps_nothing(make, payloads, held, "one that prepares ahead")
    if isinstance(part, FreePreprocessor):
        _keeps_nothing(make, payloads, held, "a free one")
        if part.by_row:
            _splits_by_row(part, payloads)
    if isinstance(part, PicturePreprocessor):
        _keeps_pictures(make, payloads, held)
    if isinstance(part, LookingPreprocessor):
        _shows_pictures(make, payloads, held)
    if isinstance(part, RowPreprocessor):
        _goes_by_rules(make, payloads, held)


def last_of(preprocessor: Preprocessor, payload: Payload) -> ModelInput | None:
    """Of the last sample that a payload holds."""
    parts = preprocessor.split(payload)
    assert len(parts) > 0, "a payload holds at least one sample"
    model_input = None
    for part in parts:
        model_input = preprocessor(Sample(part, "check", 1, 1))
    return model_input


def equal(a: Tensors | None, b: Tensors | None) -> bool:
    """The same names and values, NaN too."""
    if a is None or b is None:
        return a is b
    return set(a) == set(b) and all(np.array_equal(a[n], b[n], equal_nan=a[n].dtype.kind == "f") for n in a)


def _tensors(model_input: ModelInput | None) -> Tensors | None:
    return None if model_input is None else model_input.tensors


def _is_the_same_together(
    preprocessor: BatchPreprocessor, payloads: Sequence[Payload], held: Sequence[Tensors | None]
) -> None:
    together = preprocessor.many(list(payloads))
    if together is None:
        return
    assert len(together) == len(payloads), "`many` gives one for each payload, or None where it cannot"
    for model_input, alone in zip(together, held, strict=True):
        assert equal(model_input.tensors, alone), "`many` makes the same as one by one"


def _keeps_nothing(
    make: Callable[[], Preprocessor], payloads: Sequence[Payload], held: Sequence[Tensors | None], which: str
) -> None:
    for payload, after_others in zip(payloads, held, strict=True):
        alone = _tensors(last_of(make(), payload))
        assert equal(alone, after_others), f"{which} keeps nothing from sample to sample"


def _splits_by_row(preprocessor: Preprocessor, payloads: Sequence[Payload]) -> None:
    for payload in payloads:
        rows = _json(payload)
        if isinstance(rows, list) and rows and all(isinstance(row, (list, dict)) for row in rows):
            assert list(preprocessor.split(rows)) == rows, "with `by_row` each element of an array of rows is a sample"


def _keeps_pictures(
    make: Callable[[], Preprocessor], payloads: Sequence[Payload], held: Sequence[Tensors | None]
) -> None:
    for payload, before in zip(payloads, held, strict=True):
        part = make()
        assert isinstance(part, PicturePreprocessor)
        part.keeps_pictures = True
        model_input = last_of(part, payload)
        assert equal(_tensors(model_input), before), "to keep pictures changes no tensor"
        assert model_input is None or _is_picture(model_input.picture), "with `keeps_pictures` the picture is there"


def _shows_pictures(
    make: Callable[[], Preprocessor], payloads: Sequence[Payload], held: Sequence[Tensors | None]
) -> None:
    for payload, before in zip(payloads, held, strict=True):
        part, seen, told = make(), list[Array](), np.arange(3)

        def look(picture: Array, seen: list[Array] = seen, told: Array = told) -> Array:
            seen.append(picture)
            return told

        assert isinstance(part, LookingPreprocessor)
        part.look = look
        model_input = last_of(part, payload)
        assert equal(_tensors(model_input), before), "to look changes no tensor"
        assert seen, "`look` is shown each picture"
        assert all(_is_picture(p) for p in seen), "`look` is shown each picture"
        assert model_input is None or model_input.look is told, "what `look` returns goes with the tensors"


def _goes_by_rules(
    make: Callable[[], Preprocessor], payloads: Sequence[Payload], held: Sequence[Tensors | None]
) -> None:
    for payload, before in zip(payloads, held, strict=True):
        row = _json(payload)
        if not isinstance(row, Mapping):
            continue
        more = {**row, "no such feature": 1}
        strict, loose, left_out = make(), make(), list[str]()
        assert isinstance(loose, RowPreprocessor)
        loose.rules = RowRules(ignore_unknown=True, left_out=left_out.append)
        assert equal(_tensors(last_of(loose, more)), before), "with `ignore_unknown` a further key changes nothing"
        assert left_out == ["no such feature"], "a key that is left out is told"
        try:
            last_of(strict, more)
        except SampleError:
            continue
        raise AssertionError("a key that is no feature is refused, where the rules say nothing of it")


def _json(payload: Payload) -> object:
    if not isinstance(payload, bytes):
        return payload
    try:
        return codec.decode(payload)
    except SampleError:
        return None


def _is_picture(picture: Array | None) -> bool:
    return picture is not None and picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8
