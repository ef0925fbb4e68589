"""Rows made up from what a model tells of its ranges, where the user gives none. They prove less than real ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from converter.rows.rows import Rows
from edge.data.tensor import Array
from edge.model.manifest import Feature

COUNT = 256
SEED = 20261123


def made_up(features: Sequence[Feature], thresholds: Sequence[tuple[int, float]]) -> Rows:
    """A table of `COUNT` rows of numbers around the (feature's place, number) pairs at which trees decide."""
    random = np.random.default_rng(SEED)
    centre, spread = spread_of(thresholds, len(features))
    values = random.normal(centre, spread, (COUNT, len(features)))
    return Rows({f.name: values[:, i] for i, f in enumerate(features)}, table=True, source="generated")


def spread_of(pairs: Sequence[tuple[int, float]], count: int) -> tuple[Array, Array]:
    """Centre and spread of each feature from (feature, threshold) pairs of trees; 0 and 1 where there is none."""
    centre, spread = np.zeros(count), np.ones(count)
    for place in range(count):
        values = np.array([t for f, t in pairs if f == place and np.isfinite(t)])
        if values.size:
            centre[place] = values.mean()
            spread[place] = max(float(np.ptp(values)), abs(float(centre[place])) * 0.1, 1e-6)
    return centre, spread
