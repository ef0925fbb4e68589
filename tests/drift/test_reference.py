"""The reference: bins, shares and categories of a sample, small, and nothing of a single row."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edge.drift import reference
from edge.drift.reference import Reference

NUMBERS = arrays.arrays(np.float64, st.integers(1, 200), elements=st.floats(-1e30, 1e30) | st.just(float("nan")))


@given(NUMBERS)
@settings(deadline=None)
def test_any_column_makes_bins_that_hold_it(values: np.ndarray) -> None:
    made = reference.of_numbers("t", values)

    known = values[np.isfinite(values)]
    assert made.missing == pytest.approx(1 - len(known) / len(values), abs=1e-6)
    if len(known):
        edges = made.edges()
        assert edges[0] <= known.astype(np.float32).min()
        assert known.astype(np.float32).max() <= edges[-1]
        assert made.bin_shares().sum() == pytest.approx(1, abs=0.001)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_a_bin_set_takes_at_most_a_hundred_bytes(scale: float) -> None:
    made = reference.of_numbers("t", np.random.default_rng(0).normal(0, scale, 5000))

    assert len(made.bins) + len(made.shares) <= 100


def test_the_bins_have_equal_shares_where_values_do_not_repeat() -> None:
    made = reference.of_numbers("t", np.random.default_rng(0).exponential(size=5000))

    assert made.bin_shares() == pytest.approx(np.full(10, 0.1), abs=0.002)


def test_a_few_values_have_a_bin_each() -> None:
    made = reference.of_numbers("door", np.array([0.0] * 75 + [1.0] * 25))

    assert made.bin_shares() == pytest.approx([0.75, 0.25], abs=1e-4)
    assert reference.binned(made.edges(), np.array([2.0, -1.0, 0.0, 1.0, 1.0])).tolist() == [1, 1, 2, 1]


def test_an_edge_belongs_to_the_bin_above_it_and_the_largest_value_to_the_last() -> None:
    edges = np.array([1.0, 2.0, 3.0])

    assert reference.binned(edges, np.array([0.9, 1.0, 1.9, 2.0, 3.0, 3.1])).tolist() == [1, 2, 2, 1]
    assert reference.binned(edges, np.array([])).tolist() == [0, 0, 0, 0]


def test_a_column_that_never_changes_has_one_bin() -> None:
    made = reference.of_numbers("c", np.full(60, 21.5))

    assert made.bin_shares() == pytest.approx([1.0])


def test_the_extremes_are_rounded_outward_for_they_are_somebodys() -> None:
    values = np.append(np.random.default_rng(0).normal(50, 1, 500), [12.3456, 98.7654])

    edges = reference.of_numbers("age", values).edges()

    assert (edges[0], edges[-1]) == pytest.approx((12.3, 98.8))


def test_rare_texts_are_not_told() -> None:
    made = reference.of_texts("city", ["Bern"] * 60 + ["Oslo"] * 30 + ["Ann's farm"] * 4 + [""] * 6)

    assert made.categories == {"Bern": 0.6, "Oslo": 0.3}
    assert made.missing == pytest.approx(0.06)


def test_a_column_of_names_tells_none_of_them() -> None:
    assert reference.of_texts("name", [f"person {i}" for i in range(500)]).categories == {}


def test_the_longest_run_is_counted_in_rows() -> None:
    values = np.array([1, 1, 2, 2, 2, 3, float("nan"), float("nan"), float("nan"), float("nan")])

    assert reference.longest_run(values) == 3


def test_neighbours_of_a_series_go_together_and_shuffled_ones_do_not() -> None:
    random = np.random.default_rng(0)
    series = np.cumsum(random.normal(size=500))

    assert reference.lag_correlation(series) > 0.9
    assert abs(reference.lag_correlation(random.permutation(series))) < 0.2


def sample(**changes: object) -> object:
    made = Reference(
        rows=90, features=(reference.of_numbers("t", np.arange(90.0)), reference.of_texts("c", ["a"] * 90))
    )
    return {**msgspec.to_builtins(made), **changes}


def test_what_was_made_is_read_again() -> None:
    assert reference.read(sample(), ["t", "c"]).features[1].categories == {"a": 1.0}


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ("text", "Expected `object`"),
        ({"features": []}, "rows"),
        (sample(features=[{"name": "t", "bins": "AAAA", "shares": "AAA="}, {"name": "c"}]), "hold 3 bytes"),
        (sample(features=[{"name": "t", "bins": "*", "shares": ""}, {"name": "c"}]), "the bins of 't'"),
        (sample(features=[{"name": "t", "bins": "AACAPwAAAAA=", "shares": "//8="}, {"name": "c"}]), "no ascending"),
        (sample(features=[{"name": "t", "bins": "AAAAAAAAgD8=", "shares": "AQA="}, {"name": "c"}]), "do not fit"),
        (sample(features=[{"name": "t"}, {"name": "c", "missing": 2.0}]), "not between 0 and 1"),
        (sample(features=[{"name": "t"}, {"name": "d"}]), "of other features"),
        (sample(features=[{"name": "t"}]), "of other features"),
    ],
)  # fmt: skip
def test_a_damaged_or_foreign_one_is_told(found: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        reference.read(found, ["t", "c"])
