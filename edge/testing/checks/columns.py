"""Proofs that a part keeps the promises of `edge.plugins.columns`: a table says the same as its rows one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edge.data.result import Prediction, Regression
from edge.data.sample import ModelInput, Sample
from edge.data.tensor import Array, Tensors
from edge.errors import SampleError
from edge.plugins.columns import Column, ColumnPostprocessor, ColumnPreprocessor, Columns, Words
from edge.plugins.protocols import Postprocessor, Preprocessor


def check_column_preprocessor(make: Callable[[], Preprocessor], columns: Sequence[Array]) -> None:
    """`make()` gives a fresh one, which takes `columns`: one for each feature, as `from_columns` has them, and some of
    whose rows the model takes. Some that it refuses belong among them. Raises AssertionError."""
    made = make()
    assert isinstance(made, ColumnPreprocessor), "it has `from_columns`"
    kept = [np.array(c, copy=True) for c in columns]
    found = made.from_columns(columns)
    assert found is not None, "it takes these columns; None says that it cannot"
    assert all(_equal(a, b) for a, b in zip(columns, kept, strict=True)), "the columns are not changed"
    tensors, taken = found
    rows = len(columns[0])
    assert _form(taken) == f"bool [{rows}]", f"which rows are taken: bool [{rows}], it is {_form(taken)}"
    assert taken.any(), "some of the rows are taken"
    expected = []
    for row in np.flatnonzero(taken).tolist():
        alone = _alone(make(), [_cell(c, row) for c in columns])
        assert alone is not None, f"row {row} is refused by itself, so it is not taken"
        expected.append(alone)
    for alone in expected:
        assert set(alone) == set(tensors), f"the tensors are those of a row by itself: {sorted(alone)}"
    for name, block in tensors.items():
        wanted = np.concatenate([alone[name] for alone in expected])
        assert block.dtype == wanted.dtype, f"{name}: {block.dtype}, where a row by itself gives {wanted.dtype}"
        assert block.shape == wanted.shape, (
            f"{name}: {list(block.shape)}, the rows that are taken: {list(wanted.shape)}"
        )
        assert _equal(block, wanted), f"{name}: the values are those of the rows one by one"
    again = made.from_columns(columns)
    same = again is not None and _equal(again[1], taken) and all(_equal(again[0][n], tensors[n]) for n in tensors)
    assert same, "it keeps nothing: the same columns give the same"


def check_column_postprocessor(decode: Postprocessor, outputs: Tensors, count: int) -> None:
    """`outputs` are those of `count` rows, real values that it can tell by columns. Raises AssertionError."""
    assert isinstance(decode, ColumnPostprocessor), "it has `to_columns`"
    kept = {n: np.array(a, copy=True) for n, a in outputs.items()}
    found = decode.to_columns(outputs, count)
    assert found is not None, "it tells these outputs by columns; None says that it cannot"
    assert all(_equal(outputs[n], kept[n]) for n in kept), "the outputs are not changed"
    assert_same_by_columns(found, decode, outputs, count)


def assert_same_by_columns(found: Columns, decode: Postprocessor, outputs: Tensors, count: int) -> None:
    """Raises AssertionError where columns say otherwise than the rows one by one."""
    for name, column in found.values.items():
        _is_a_column(name, column, count)
    empty = np.zeros(count, dtype=bool) if found.empty is None else found.empty
    assert _form(empty) == f"bool [{count}]", f"`empty` is bool [{count}], it is {_form(empty)}"
    for row in range(count):
        predictions = decode({n: a[row : row + 1] for n, a in outputs.items()}, ModelInput({}))
        assert bool(empty[row]) == (not predictions), f"row {row} is empty where nothing was found, and only there"
        if predictions:
            said = {name: _value(column, row) for name, column in found.values.items()}
            wanted = _best(predictions, said)
            assert said == wanted, f"row {row} says {said}, by itself {wanted}"


def _alone(preprocessor: Preprocessor, row: list[object]) -> Tensors | None:
    try:
        (part,) = preprocessor.split(row)
        model_input = preprocessor(Sample(part, "check", 1, 1))
    except SampleError:
        return None
    return None if model_input is None else model_input.tensors


def _cell(column: Array, row: int) -> object:
    """As a row has it: None where a number is missing."""
    value = column[row]
    plain: object = value.item() if isinstance(value, np.generic) else value
    return None if plain != plain else plain


def _is_a_column(name: str, column: Column, count: int) -> None:
    array = column.codes if isinstance(column, Words) else column
    assert array.shape == (count,), f"the column {name}: one value for each of {count} rows, it is {_form(array)}"
    if isinstance(column, Words):
        inside = array.dtype.kind in "iu" and bool(((array >= 0) & (array < len(column.words))).all())
        assert inside, f"the column {name}: its codes are places among its words"


def _value(column: Column, row: int) -> object:
    if isinstance(column, Words):
        return column.words[column.codes[row]]
    value: object = column[row].item()
    return value


def _best(predictions: Sequence[Prediction], said: dict[str, object]) -> dict[str, object]:
    """What the columns have to say: each number by its name, or of anything else what the first one has."""
    numbers = {p.name: p.value for p in predictions if isinstance(p, Regression)}
    best = predictions[0]
    return {**numbers} if numbers else {name: getattr(best, name, None) for name in said}


def _equal(a: Array, b: Array) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f" and b.dtype.kind == "f")


def _form(array: Array) -> str:
    return f"{array.dtype} {list(array.shape)}"
