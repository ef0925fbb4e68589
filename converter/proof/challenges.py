"""Rows that ask what a sample cannot show: its values mixed, values outside of it, signs, thresholds, ties, neighbours.

A sample of a few rows rarely has a number on a threshold, two classes with the same score or a value that training
never saw; the device will. What the original itself refuses among such rows is left out by parity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from converter.artifact import Challenge, Reference
from converter.errors import REFUSES_ROWS, SampleFileError
from converter.proof.missing import whole_rows
from converter.rows.rows import Rows
from edge.data.tensor import Array
from edge.model.manifest import Feature

COUNT = 192
# Rows among which those with equal scores are looked for, and how many of them are asked.
SEARCHED = 1024
TIES = 64
_SEED = 20261128
# How far the values lie that are far outside, in spans of the sample's.
_FAR = np.array([0.0, 0.0, 30.0, 1e3, 1e5])
_CLIP = "a step before the model that bounds such values makes them no matter: MinMaxScaler(clip=True)"
# LightGBM takes what is closer to zero for zero.
_TINY = 1e-30
# Beyond it float32 does not hold every whole number.
_EXACT_IN_FLOAT32 = 2**24

Draw = Callable[[Array, np.random.Generator, int], Array]
"""The values of a column in the sample, and chance, to so many other values."""


def of_table(
    rows: Rows,
    features: Sequence[Feature],
    reference: Reference,
    thresholds: Sequence[tuple[int, float]] = (),
    texts: Mapping[str, Array] | None = None,
) -> tuple[Challenge, ...]:
    """Challenges for a model of a table.

    `thresholds`: (feature's place, number) pairs at which it decides; `texts`: `COUNT` further texts by column.
    """
    base = whole_rows(rows, features, most=len(rows))
    if base is None:
        return ()
    random = np.random.default_rng(_SEED)
    numbers = [f.name for f in features if f.kind == "number"]
    challenges = [Challenge("the sample's values, mixed", _drawn(base, numbers, _mixed, random))]
    if numbers:
        challenges.append(Challenge("values outside of the sample's", _drawn(base, numbers, _outside, random)))
        far = _drawn(base, numbers, _far, random)
        challenges.append(Challenge("values far outside of the sample's", far, _CLIP))
        challenges.append(
            Challenge("both signs, zeros, small and large numbers", _drawn(base, numbers, _signs, random))
        )
        challenges.append(Challenge("nothing but zeros", _drawn(base, numbers, _zeros, random, 1)))
    if any(_are_large_whole(base.numbers(n)) for n in numbers):
        challenges.append(Challenge("neighbouring whole numbers", _drawn(base, numbers, _neighbours, random)))
    thresholds = [(f, t) for f, t in thresholds if t == 0 or abs(t) > _TINY]
    if thresholds:
        challenges.append(
            Challenge("numbers on a threshold and beside it", _on_thresholds(base, features, thresholds, random))
        )
    challenges += _of_texts(base, [f.name for f in features if f.kind == "text" and not f.values], texts or {}, random)
    tied = _ties(base, numbers, reference, random)
    return (*challenges, Challenge("equal scores", tied)) if tied is not None else tuple(challenges)


def _of_texts(
    base: Rows, names: Sequence[str], texts: Mapping[str, Array], random: np.random.Generator
) -> list[Challenge]:
    """Texts that were never seen, and others of the words that a vectoriser knows."""
    if not names:
        return []
    rows = replace(base.take(random.integers(len(base), size=COUNT)), source="generated")
    unknown = np.array(["a text that was never seen"] * COUNT, dtype=object)
    challenges = [Challenge("unknown texts", replace(rows, arrays={**rows.arrays, **dict.fromkeys(names, unknown)}))]
    if texts:
        challenges.append(Challenge("texts of the known words", replace(rows, arrays={**rows.arrays, **texts})))
    return challenges


def _drawn(base: Rows, numbers: Sequence[str], draw: Draw, random: np.random.Generator, count: int = COUNT) -> Rows:
    """Rows whose numbers are drawn column by column; other columns hold values of the sample."""
    arrays: dict[str, Array] = {}
    for name, column in base.arrays.items():
        if name in numbers:
            arrays[name] = draw(base.numbers(name), random, count)
        else:
            arrays[name] = column[random.integers(len(column), size=count)]
    return Rows(arrays, table=True, source="generated")


def _mixed(values: Array, random: np.random.Generator, count: int) -> Array:
    return np.asarray(random.choice(values, count))


def _outside(values: Array, random: np.random.Generator, count: int) -> Array:
    low, high = float(values.min()), float(values.max())
    span = (high - low) or abs(high) or 1.0
    drawn = random.uniform(low - 3 * span, high + 3 * span, count)
    return np.rint(drawn) if np.all(values == np.rint(values)) else drawn


def _far(values: Array, random: np.random.Generator, count: int) -> Array:
    """Values of the sample beside such as a sensor sends that has failed: float32 rounds those, and probabilities."""
    span = float(np.ptp(values)) or abs(float(values[0])) or 1.0
    drawn = random.choice(values, count) + random.choice(_FAR, count) * span * random.normal(size=count)
    return np.rint(drawn) if np.all(values == np.rint(values)) else drawn


def _signs(values: Array, random: np.random.Generator, count: int) -> Array:
    sizes = random.choice(np.array([0.0, 1e-6, 1e-3, 1.0, 1.0, 1.0, 100.0]), count)
    return np.asarray(random.choice(values, count) * sizes * random.choice(np.array([-1.0, 1.0]), count))


def _zeros(values: Array, random: np.random.Generator, count: int) -> Array:
    return np.zeros(count)


def _are_large_whole(values: Array) -> bool:
    return bool(np.all(values == np.rint(values)) and np.max(np.abs(values), initial=0.0) > _EXACT_IN_FLOAT32)


def _neighbours(values: Array, random: np.random.Generator, count: int) -> Array:
    chosen = random.choice(values, count)
    return np.asarray(chosen + random.integers(-1, 2, count) if _are_large_whole(values) else chosen)


def _on_thresholds(
    base: Rows, features: Sequence[Feature], thresholds: Sequence[tuple[int, float]], random: np.random.Generator
) -> Rows:
    """Rows of the sample in which one number lies on a threshold, or on the next float64 or float32 beside it."""
    rows = base.take(random.integers(len(base), size=COUNT))
    arrays = {f.name: rows.numbers(f.name) if f.kind == "number" else rows.arrays[f.name] for f in features}
    chosen = random.integers(len(thresholds), size=COUNT)
    for row, (place, exact) in enumerate(thresholds[i] for i in chosen):
        single = np.float32(exact)
        beside = (
            exact, np.nextafter(exact, np.inf), np.nextafter(exact, -np.inf), float(single),
            float(np.nextafter(single, np.float32(np.inf))), float(np.nextafter(single, np.float32(-np.inf))),
        )  # fmt: skip
        if place < len(features) and features[place].kind == "number":
            arrays[features[place].name][row] = beside[row % len(beside)]
    return Rows(arrays, table=True, source="generated")


def _ties(base: Rows, numbers: Sequence[str], reference: Reference, random: np.random.Generator) -> Rows | None:
    """Rows for which the original gives two classes the same, highest score; None where none was found."""
    searched = _drawn(base, numbers, _mixed, random, SEARCHED)
    try:
        answers = reference(searched)
    except (*REFUSES_ROWS, SampleFileError):
        return None
    scores = answers.get("scores")
    if scores is None or scores.ndim != 2 or scores.shape[1] < 2:
        return None
    two = np.sort(scores.astype(np.float64), axis=1)[:, -2:]
    tied = np.flatnonzero(two[:, 1] - two[:, 0] <= 1e-12)[:TIES]
    return searched.take(tied) if len(tied) else None
