"""Rows: the inputs that parity, calibration and golden samples are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from converter.errors import SampleFileError
from edge.data.numbers import decimal_marks, of_two_readings, two_readings
from edge.data.tensor import Array

UNNAMED = ""
# What stands for a number in a column of numbers, as edge-run reads a .csv.
_WORDS = {"true": 1.0, "false": 0.0, **dict.fromkeys(("na", "n/a", "nan", "null", "none"), float("nan"))}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Rows:
    """Inputs, the first axis of every array being the row.

    A table holds a column each under its name: numbers, or objects that are text, numbers or None. Anything
    else holds tensors by name, or one under the name "". `expected` are the answers that a person gave.
    """

    arrays: Mapping[str, Array]
    table: bool = False
    expected: Array | None = None
    source: Literal["sample", "generated"] = "sample"
    looks: Array | None = None
    """Of pictures that were read: `edge.drift.look` of each, float [rows, SIZE]."""
    classes: tuple[str, ...] = ()
    """The names of the folders that a sample of pictures was sorted into."""
    written: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The cells of each column as they stand in a .csv file with semicolons, where a comma may be the decimal point."""

    def __repr__(self) -> str:
        """`<Rows: 360 of 64 columns>`."""
        arrays = f"{len(self.arrays)} columns" if self.table else f"{len(self.arrays)} tensors"
        return f"<Rows: {len(self)} of {arrays}>"

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values()), ()))

    @property
    def names(self) -> tuple[str, ...]:
        """The column or tensor names; none for a single array without a name."""
        return tuple(n for n in self.arrays if n != UNNAMED)

    @property
    def array(self) -> Array:
        """The only tensor. Raises SampleFileError where there are several or columns."""
        if self.table or len(self.arrays) != 1:
            raise SampleFileError(f"the sample holds {len(self.arrays)} arrays ({', '.join(self.names)}), one belongs")
        return next(iter(self.arrays.values()))

    def require_one_reading(self, names: Sequence[str]) -> None:
        """Raises SampleFileError for `1.234` in one of these columns, all numbers, where they have decimal commas."""
        one_reading([cell for n in names for cell in self.written.get(n, ())])

    def take(self, indices: Sequence[int] | Array) -> Rows:
        """Some of the rows, in that order."""
        at = np.asarray(indices, dtype=np.intp)
        expected = None if self.expected is None else self.expected[at]
        looks = None if self.looks is None else self.looks[at]
        return replace(self, arrays={n: a[at] for n, a in self.arrays.items()}, expected=expected, looks=looks)

    def is_number(self, name: str) -> bool:
        """True where every value of the column that is there is a number."""
        try:
            self.numbers(name)
        except SampleFileError:
            return False
        return True

    def numbers(self, name: str) -> Array:
        """A column as float64, a missing value as NaN. Raises SampleFileError for text."""
        column = self.arrays[name]
        if column.dtype.kind in "biuf":
            return column.astype(np.float64)
        return np.array([_number(v, name, i) for i, v in enumerate(column)], dtype=np.float64)

    def texts(self, name: str) -> Array:
        """A column as text, a missing value as ""."""
        return np.array(["" if is_missing(v) else str(v) for v in self.arrays[name]], dtype=object)

    def without(self, name: str) -> Rows:
        """The rows without a column."""
        return replace(self, arrays={n: a for n, a in self.arrays.items() if n != name})


def one_reading(cells: Sequence[str]) -> None:
    """Raises SampleFileError for a number that is one with a decimal point and another with a decimal comma."""
    marks = decimal_marks(cells)
    for cell in cells if len(marks) > 1 else ():
        if two_readings(cell, marks):
            raise SampleFileError(f"--sample: {of_two_readings(cell)}")


def is_missing(value: Any) -> bool:
    """True for None, "" and NaN."""
    return value is None or (isinstance(value, str) and not value.strip()) or bool(value != value)


def _number(value: Any, name: str, row: int) -> float:
    if is_missing(value):
        return float("nan")
    word = value.strip().lower() if isinstance(value, str) else value
    try:
        return _WORDS[word] if word in _WORDS else float(value)
    except (TypeError, ValueError):
        raise SampleFileError(f"sample row {row + 1}, column {name!r}: {value!r} is not a number") from None
