"""What counts alone can tell."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from edge.drift import exact


@pytest.mark.parametrize("mean", [0.0, 0.02, 0.5, 3.0, 40.0])
def test_the_limit_is_that_of_poissons_law(mean: float) -> None:
    tail = 1e-6

    limit = exact.poisson_limit(mean, tail)

    assert stats.poisson.sf(limit - 1, mean) <= tail * 1.01
    assert limit <= 1 or stats.poisson.sf(limit - 2, mean) > tail * 0.99


def test_what_was_never_seen_may_still_come_once_but_not_in_one_row_of_two_hundred() -> None:
    seen, month = np.zeros(30), 720 * 168

    assert not exact.too_many(np.full(30, 1), 720, seen, month).any()
    assert exact.too_many(np.full(30, 4), 720, seen, month).all()


def test_what_comes_now_and_then_may_go_on() -> None:
    assert not exact.too_many(np.array([40]), 720, np.array([1000]), 20_000).any()
