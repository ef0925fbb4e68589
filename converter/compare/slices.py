"""Parts of a sample that a reader would ask about: each value of a column, a quarter of its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from converter.errors import SampleFileError
from converter.rows.rows import Rows
from converter.rows.tensors import check_columns
from edge.data.tensor import Array
from edge.model.manifest import Feature

MOST_VALUES = 20
"""A column of more texts than this names rows, it does not group them."""
MOST_NUMBERS = 8
"""A column of no more different numbers than this is a choice: a slice each, not quarters."""
FEWEST_ROWS = 5
"""A slice of fewer rows is left out: nothing can be said of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """Some of the rows. `rows` is bool [rows]."""

    name: str
    rows: Array


def slices(rows: Rows, features: Sequence[Feature], asked: Sequence[str]) -> list[Slice]:
    """By every column, or by those `asked` for. Raises SampleFileError for a column that there is not."""
    table = _table(rows, features)
    if asked and not table.table:
        raise SampleFileError("--slice: the sample has no named columns; give a .csv or .jsonl")
    check_columns(table, asked)
    found: list[Slice] = []
    for name in asked or (table.names if table.table else ()):
        made = list(_of(table, name))
        if asked and not made:
            raise SampleFileError(
                f"--slice {name}: its {len(set(table.texts(name)))} texts are too many to look at, or all the same; "
                f"at most {MOST_VALUES}"
            )
        found += made
    return [s for s in found if FEWEST_ROWS <= int(s.rows.sum()) < len(rows)]


def _table(rows: Rows, features: Sequence[Feature]) -> Rows:
    """The rows with a column each, by the names of the model's features where the rows have none."""
    if rows.table or len(rows.arrays) != 1:
        return rows
    array = rows.array
    if array.ndim != 2 or array.shape[1] != len(features) or array.dtype.kind not in "biuf":
        return rows
    return Rows({f.name: array[:, i] for i, f in enumerate(features)}, table=True)


def _of(rows: Rows, name: str) -> Iterator[Slice]:
    texts = rows.texts(name)
    missing = np.array([not t.strip() for t in texts], dtype=bool)
    if rows.is_number(name):
        numbers = rows.numbers(name)
        missing = np.isnan(numbers)
        yield from ranges(name, numbers)
    else:
        values = sorted(set(texts[~missing]))
        if len(values) > MOST_VALUES:
            return
        for value in values:
            yield Slice(f"{name} = {value}", np.asarray(texts == value, dtype=bool))
    if missing.any():
        yield Slice(f"{name} missing", missing)


def ranges(name: str, numbers: Array) -> Iterator[Slice]:
    """A slice for each of a few different numbers, else for each quarter; missing ones belong to none."""
    known = numbers[np.isfinite(numbers)]
    values = np.unique(known)
    if len(values) <= MOST_NUMBERS:
        for value in values:
            yield Slice(f"{name} = {value:g}", np.asarray(numbers == value))
        return
    edges = np.unique(np.quantile(known, (0.0, 0.25, 0.5, 0.75, 1.0)))
    for at, (low, high) in enumerate(pairwise(edges)):
        last = at == len(edges) - 2
        inside = (numbers >= low) & ((numbers <= high) if last else (numbers < high))
        yield Slice(f"{name} {low:.4g} to {high:.4g}", np.asarray(inside))
