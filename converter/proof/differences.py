"""How far the file's answers are from the original's, row by row."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from converter.proof.answers import roles
from converter.rows.rows import Rows
from edge.compare.answers import plain
from edge.data.tensor import Array, Tensors
from edge.errors import ModelError
from edge.model.manifest import Manifest

# Answers that lie closer together, in shares of their size, are one and the same.
_ROUNDING = {"e": 1e-2, "f": 1e-6}


def differences(before: Tensors, after: Tensors, manifest: Manifest, spans: Tensors) -> tuple[Array, tuple[str, ...]]:
    """The largest difference of each row, and what else is wrong. One without a row axis counts for every row."""
    rows = len(next(iter(before.values())))
    worst = np.zeros(rows)
    reasons: list[str] = []
    labels = roles(manifest, "label")
    for name, wanted in before.items():
        if name not in after:
            raise ModelError(f"the converted model has no output {name!r}; it has {', '.join(after)}")
        if name in labels or wanted.dtype.kind in "OUS":
            continue
        got = after[name]
        if got.shape != wanted.shape and got.size == wanted.size and len(got) == len(wanted):
            got = got.reshape(wanted.shape)  # [rows] and [rows, 1] say the same
        if got.shape != wanted.shape:
            reasons.append(f"output {name!r} has the shape {list(got.shape)}, the original's is {list(wanted.shape)}")
            continue
        bad = np.isfinite(wanted.astype(np.float64)) & ~np.isfinite(got.astype(np.float64))
        if bad.any():
            reasons.append(
                f"output {name!r} is not finite in {int(bad.reshape(len(bad), -1).any(axis=1).sum())} of {rows} rows"
            )
        if name in roles(manifest, "scores"):
            scale = np.maximum(1.0, np.max(np.abs(flat(wanted)), axis=1, keepdims=True))
        else:
            scale = _scale(spans[name], flat(wanted), each=manifest.task == "regress")
        apart = _apart(flat(wanted), flat(got), scale)
        worst = np.maximum(worst, apart if len(apart) == rows else np.max(apart, initial=0.0))
    return worst, tuple(reasons)


def flat(values: Array) -> Array:
    """[rows, numbers], float64."""
    return values.astype(np.float64).reshape(len(values), -1)


def _scale(answers: Array, wanted: Array, *, each: bool) -> Array:
    """What a difference of numbers is measured in: the span of the answers, of `each` column or of all of them.

    A pressure of 101325 that moves by 330 is wrong by a hundredth where it is off by 3. Numbers that lie outside of
    the answers are measured by how far outside; where all answers are one and the same but for the rounding of their
    own type, by their size.
    """
    rounding = _ROUNDING.get(answers.dtype.char, 1e-12)
    answers = flat(answers)
    known = np.where(np.isfinite(answers), answers, np.nan)
    if not known.size or np.isnan(known).all():
        return np.ones_like(wanted)
    axis = 0 if each else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column without a finite number
        low, high = np.nan_to_num(np.nanmin(known, axis=axis)), np.nan_to_num(np.nanmax(known, axis=axis))
    size = np.maximum(np.abs(low), np.abs(high))
    span = np.where(high - low > rounding * size, high - low, np.where(size > 0, size, 1.0))
    outside = np.maximum(np.maximum(wanted - high, low - wanted), 0.0)
    return np.maximum(span, np.where(np.isfinite(outside), outside, 0.0))


def far_from_zero(answers: Array) -> bool:
    """Whether numbers vary by so little around what they are that float32 hardly tells them apart."""
    numbers = flat(answers)
    size, span = np.max(np.abs(numbers), axis=0), np.ptp(numbers, axis=0)
    return bool(np.any((span > 0) & (span < 1e-4 * size)))


def _apart(before: Array, after: Array, scale: Array) -> Array:
    """The largest difference of each row, [rows]; of numbers that are no numbers on one side only, infinite."""
    if before.size == 0:
        return np.zeros(len(before))
    same = (before == after) | (np.isnan(before) & np.isnan(after))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(before - after) / scale)
    return np.asarray(np.max(np.where(np.isnan(apart), np.inf, apart), axis=1))


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
            found = float(apart[at]), _two(new[at], old[at])
    return found[1] if found else ""


def _two(new: float, old: float) -> str:
    """Both numbers, with the digits that tell them apart."""
    shown = next((d for d in (6, 9, 12) if f"{new:.{d}g}" != f"{old:.{d}g}"), 17)
    return f"{new:.{shown}g} instead of {old:.{shown}g}"


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
