"""The pairs that are found are the best ones, by trying all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edge.tracking.assignment import pairs


def best(gain: np.ndarray) -> float:
    """The largest sum that any way to pair rows with columns gives."""
    padded = np.concatenate((np.maximum(gain, 0), np.zeros((len(gain), len(gain)))), axis=1)
    ways = itertools.permutations(range(padded.shape[1]), len(gain))
    return max(sum(padded[row, column] for row, column in enumerate(way)) for way in ways)


@pytest.mark.parametrize("seed", range(40))
def test_the_gains_add_up_to_the_most(seed):
    rng = np.random.default_rng(seed)
    gain = rng.normal(0.2, 0.5, rng.integers(1, 5, 2))
    rows, columns = pairs(gain)
    assert gain[rows, columns].sum() == pytest.approx(best(gain))
    assert len(set(columns.tolist())) == len(columns)
    assert (gain[rows, columns] > 0).all()


def test_one_that_gives_way_lets_two_be_served():
    rows, columns = pairs(np.array([[0.9, 0.8], [0.85, -1.0]]))
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (1, 0)]


def test_nothing_pairs_with_nothing():
    assert [len(found) for found in pairs(np.empty((3, 0)))] == [0, 0]
