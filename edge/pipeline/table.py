"""What is found in the rows of a table, all at once: a result of its own for a row is made when it is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import overload

import msgspec
import numpy as np

from edge.data.result import Result
from edge.data.tensor import Array, Tensors
from edge.plugins.columns import Column, Columns, Table, Words

PREPARED = 130_000
"""Numbers of a table that are prepared at once, about: more would leave the processor's cache before the model sees
them."""
BLOCK = 64
"""Results that are made in one go."""


def pieces(columns: Table, most: int) -> Iterator[Table]:
    """Of a table, some inferences of `most` rows each."""
    rows = max(1, PREPARED // max(1, len(columns)) // most) * most
    for start in range(0, len(columns[0]), rows):
        end = start + rows
        yield columns[:, start:end] if isinstance(columns, np.ndarray) else [column[start:end] for column in columns]


class FoundTable(msgspec.Struct, frozen=True):
    """`taken`: which rows the model takes, bool [rows]; `outputs` and `found` are of these alone, in their order.
    Nanoseconds are of one row."""

    found: Columns
    taken: Array
    outputs: Tensors
    preprocess_ns: int
    infer_ns: int


class TableResults(Sequence[Result]):
    """Results in the order of the rows. One thread at a time."""

    def __init__(self, found: Columns, count: int, make: Callable[[int, int], list[Result]]) -> None:
        """`make` gives the results of the rows from a place to another."""
        self._found = found
        self._count = count
        self._make = make
        self._made: dict[int, list[Result]] = {}

    @property
    def columns(self) -> dict[str, Array]:
        """What each result says first, by name, an array [rows] each: numbers, bool, or objects that are str. Where
        nothing was found it is NaN or None."""
        return {name: _array(column, self._found.empty) for name, column in self._found.values.items()}

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> Result: ...
    @overload
    def __getitem__(self, at: slice) -> list[Result]: ...
    def __getitem__(self, at: int | slice) -> Result | list[Result]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(self._count))]
        place = range(self._count)[at]  # IndexError as of a list
        return self._block(place // BLOCK)[place % BLOCK]

    def __iter__(self) -> Iterator[Result]:
        for number in range(-(-self._count // BLOCK)):
            yield from self._block(number)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (list, TableResults)) and len(other) == self._count and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # as a list

    def __repr__(self) -> str:
        return repr(list(self))

    def _block(self, number: int) -> list[Result]:
        made = self._made.get(number)
        if made is None:
            made = self._made[number] = self._make(number * BLOCK, min(self._count, (number + 1) * BLOCK))
        return made


def _array(column: Column, empty: Array | None) -> Array:
    array = np.array(column.words, dtype=object)[column.codes] if isinstance(column, Words) else column
    if empty is None or not empty.any():
        return array
    if array.dtype.kind == "f":
        return np.where(empty, np.nan, array)
    objects = array.astype(object)
    objects[empty] = None
    return objects
