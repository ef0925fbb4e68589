"""Numbers as texts hold them: cells of a CSV file, and what senders quote."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from edge.data.tensor import EXACT


def read_number(text: str) -> float | int | None:
    """The number that a text says; a whole one beyond 2**53, which a float would round, as an int. None: no number.

    NaN and infinity are numbers here, as `float` reads them; `1_000`, which it reads too, is an identifier.
    """
    if "_" in text:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    if abs(number) < EXACT or not math.isfinite(number):
        return number
    from decimal import Decimal  # for numbers as long as this

    exact = Decimal(text.strip())
    return int(exact) if exact == exact.to_integral_value() else number


_MARKED = re.compile(r"\s*[+-]?\d+([.,])\d+\s*")
_GROUPED = re.compile(r"\s*[+-]?[1-9]\d{0,2}([.,])\d{3}\s*")


def decimal_marks(cells: Iterable[str]) -> frozenset[str]:
    """The marks, a point or a comma, that stand within numbers of a table whose columns semicolons divide."""
    return frozenset(found[1] for found in map(_MARKED.fullmatch, cells) if found is not None)


def two_readings(cell: str, marks: frozenset[str]) -> bool:
    """True for `1.234` in a table that has decimal commas too: 1234 to a person who writes so, else 1.234.

    `marks` are those of the table.
    """
    found = _GROUPED.fullmatch(cell)
    return found is not None and not marks <= {found[1]}


def of_two_readings(cell: str) -> str:
    """Why such a number is refused, for the end of a message that says where it stands."""
    point = cell.strip().replace(",", ".")
    return (
        f"{cell.strip()!r} is {point} or {point.replace('.', '')}, for points and commas stand in numbers of this "
        "file; save it without separators of thousands"
    )


NUMBER_MOST = 64
"""Characters of a number that is sent as text."""


def said(text: str) -> float | int | str:
    """The finite number that a text says, else the text."""
    number = read_number(text) if len(text) <= NUMBER_MOST else None
    return number if number is not None and math.isfinite(number) else text


def shown(value: Any) -> str:
    """A value as a message shows it."""
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 60 else text[:57] + "..."
