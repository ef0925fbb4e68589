"""One row that shows what is wrong with a file, in a few words: for whoever has to find out why it is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from converter.rows.rows import Rows
from edge.compare.answers import plain
from edge.data.tensor import Array, Tensors

_FEATURES = 4
_TEXT = 24


def numbers_apart(before: Tensors, after: Tensors, row: int) -> str:
    """What both say where they differ most in a row: `0.31 instead of 0.38`; "" where no number can be shown."""
    found: tuple[float, str] | None = None
    for name, wanted in before.items():
        if wanted.dtype.kind not in "biuf" or name not in after or len(wanted) <= row:
            continue
        old, new = (np.asarray(a[row], dtype=np.float64).reshape(-1) for a in (wanted, after[name]))
        if not old.size or old.shape != new.shape:
            continue
        apart = np.where(old == new, 0.0, np.nan_to_num(np.abs(new - old), nan=np.inf))
        at = int(np.argmax(apart))
        if found is None or apart[at] > found[0]:
            found = float(apart[at]), f"{new[at]:.6g} instead of {old[at]:.6g}"
    return found[1] if found else ""


def row_of(rows: Rows, row: int) -> str:
    """The place of a row in the sample; of a row that was made up, its first values."""
    if rows.source == "sample":
        return f"row {row + 1}"
    if not rows.table:
        return f"made-up row {row + 1}"
    values = [f"{name}={_short(column[row])}" for name, column in list(rows.arrays.items())[:_FEATURES]]
    return ", ".join([*values, "..."] if len(rows.arrays) > _FEATURES else values)


def _short(value: object) -> str:
    return f"{value:.9g}" if isinstance(value, (float, np.floating)) else plain(value)[:_TEXT]


def class_apart(old: Sequence[str] | Array, new: Sequence[str] | Array, row: int) -> str:
    """What both say of a row: `cat instead of dog`."""
    return f"{str(new[row])[:_TEXT]} instead of {str(old[row])[:_TEXT]}"
