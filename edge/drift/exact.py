"""What needs no statistics of windows: values that stand still, are missing or unknown. Pure."""

from __future__ import annotations

import math

import numpy as np

from edge.data.tensor import Array
from edge.drift.rule import MONTH

MONTHS = 100
"""For one false alarm of what is counted, over all features."""
STUCK_FEWEST = 30
STUCK_TIMES = 3
RARE_ROWS = 3
"""What was seen in no row of n may come in 3 of n: with 95 % it comes no more often."""
FAR = 0.26
"""Of a place: as far from the middle of the reference as the mean of values that are one deviation off."""
STILL = 0.98
"""The share of one bin from which a number of many bins counts as standing still."""


def run_limits(longest: Array) -> Array:
    """Runs that are longer than these are no chance, by the longest ones that were seen before."""
    return np.asarray(np.maximum(STUCK_FEWEST, STUCK_TIMES * longest))


def too_many(counts: Array, rows: int, seen: Array, seen_rows: int) -> Array:
    """bool [features]: whether so many in `rows` are more than chance where `seen` were in `seen_rows` before."""
    tail = 1 / (MONTH * MONTHS * max(1, len(counts)))
    rates = rows * (seen + RARE_ROWS) / max(1, seen_rows)
    return np.asarray([n > 0 and n >= poisson_limit(float(m), tail) for n, m in zip(counts, rates, strict=True)])


def poisson_limit(mean: float, tail: float) -> int:
    """The least count that comes with less than `tail` where `mean` are to be expected."""
    if mean > 1000:  # the normal law: exact enough, and no exponential of so much
        return math.ceil(mean + 6 * math.sqrt(mean))
    term = below = math.exp(-mean)
    count = 0
    while 1.0 - below > tail:
        count += 1
        term *= mean / count
        below += term
    return count + 1
