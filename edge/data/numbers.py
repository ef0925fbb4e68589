"""Numbers as texts hold them: cells of a CSV file."""

from __future__ import annotations

import math

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
