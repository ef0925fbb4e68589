"""Parts of the rows that a reader would ask about: each value of a column, a quarter of its numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from edge.data.tensor import Array

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


def of_texts(name: str, texts: Array) -> Iterator[Slice]:
    """A slice for each text, [rows]; none where there are too many. One for those that are missing ("")."""
    missing = np.array([not t.strip() for t in texts], dtype=bool)
    values = sorted(set(texts[~missing]))
    if len(values) > MOST_VALUES:
        return
    for value in values:
        yield Slice(f"{name} = {value}", np.asarray(texts == value, dtype=bool))
    if missing.any():
        yield Slice(f"{name} missing", missing)


def of_numbers(name: str, numbers: Array) -> Iterator[Slice]:
    """A slice for each of a few numbers, [rows], or quarter of many. One for those that are missing (NaN)."""
    yield from ranges(name, numbers)
    if (missing := np.isnan(numbers)).any():
        yield Slice(f"{name} missing", missing)


def large_enough(found: list[Slice], rows: int) -> list[Slice]:
    """Those of which something can be said, and that are not all of the rows."""
    return [s for s in found if FEWEST_ROWS <= int(s.rows.sum()) < rows]


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
