"""Numbers of trees from float64 to float32, without a row taking another branch."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge.data.tensor import Array


def round_down(thresholds: Any) -> Array:
    """The largest float32 that is not above each float64 threshold, as float64.

    A tree asks x <= t. For an x that a float32 holds the answer stays the same; rounding t to nearest may put
    it above such an x that lay above t, and the row takes the other branch.
    """
    exact = np.asarray(thresholds, dtype=np.float64)
    with np.errstate(over="ignore"):
        nearest = exact.astype(np.float32)
    below = np.where(nearest.astype(np.float64) > exact, np.nextafter(nearest, np.float32(-np.inf)), nearest)
    return np.asarray(below.astype(np.float64))
