"""Counts in places: they are those of the reference, nothing is lost, and they add up."""

from __future__ import annotations

import numpy as np
import pytest

from edge.drift import reference
from edge.drift.places import Places, Runs

SAMPLE = np.random.default_rng(1).normal(20, 2, 3000)
TEXTS = ["open"] * 60 + ["shut"] * 40


def places() -> Places:
    return Places([reference.of_numbers("temperature", SAMPLE), reference.of_texts("door", TEXTS)])


def column(*values: float) -> np.ndarray:
    return np.asarray([values], dtype=np.float32)


def test_numbers_fall_where_the_conversion_counted_them() -> None:
    values = SAMPLE.astype(np.float32)

    counts = places().of(places().count_numbers(values[None]), 0)

    assert counts[:-1].tolist() == reference.binned(places().edges(0), values).tolist()


def test_what_lies_outside_and_what_is_missing_has_places_of_its_own() -> None:
    counts = places().of(places().count_numbers(column(-1000, 1000, np.inf, np.nan, np.nan)), 0)

    assert (counts[0], counts[-2], counts[-1]) == (1, 2, 2)


def test_the_smallest_and_the_largest_value_of_the_sample_are_within_it() -> None:
    edges = places().edges(0)

    counts = places().of(places().count_numbers(column(float(edges[0]), float(edges[-1]))), 0)

    assert (counts[0], counts[1], counts[-3], counts[-2]) == (0, 1, 1, 0)


def test_texts_are_known_unknown_or_missing() -> None:
    counts = places().of(places().count_texts(1, ["open", "open", "ajar", ""]), 1)

    assert counts.tolist() == [2, 0, 1, 1]


def test_the_sample_itself_lies_in_the_middle_and_a_shift_moves_its_place() -> None:
    own, moved = (places().count_numbers((SAMPLE + by).astype(np.float32)[None]) for by in (0, 2))

    assert places().judged(own)[0] == pytest.approx(0.5, abs=0.01)
    assert places().judged(own)[1] == pytest.approx(0.25, abs=0.01)
    assert places().judged(moved)[0] == pytest.approx(0.76, abs=0.02)  # one deviation: the normal law's own figure


def test_a_feature_that_is_missing_altogether_is_judged_as_nothing_new() -> None:
    assert places().judged(places().count_numbers(column(np.nan)))[0] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("block", [1, 7, 256])
def test_a_run_is_as_long_however_the_rows_are_cut(block: int) -> None:
    values = np.random.default_rng(3).integers(0, 2, 1000).astype(np.float32)
    runs, longest = Runs(1), 0

    for at in range(0, len(values), block):
        longest = max(longest, int(runs.longest(values[None, at : at + block])[0][0]))

    assert longest == reference.longest_run(values)


def test_a_run_of_missing_values_is_no_run_of_a_value() -> None:
    runs = Runs(1)
    runs.longest(column(1, np.nan, np.nan))

    values, missing = runs.longest(column(np.nan, 2, 2))

    assert (values[0], missing[0]) == (2, 3)


def test_what_is_said_of_objects_is_known_less_exactly_where_there_are_few() -> None:
    found = Places(
        [reference.of_classes({"person": 60, "car": 40}), reference.of_objects([1, 2]), reference.of_scores([0.5, 0.9])]
    )

    def window(objects: int) -> np.ndarray:
        scores = np.full(objects, 0.9, np.float32)
        return (
            found.count_texts(0, ["car"] * objects)
            + found.count_number(1, np.full(360, 1, np.float32))
            + found.count_number(2, scores)
        )

    whats = [(score.feature, score.what) for score in found.scores]
    few, many, usual = window(4), window(400), window(100)
    of_objects = np.array([feature != 1 for feature, _ in whats])

    assert found.wider(few, 24 * usual, 24)[of_objects].tolist() == [5.0] * 4
    assert found.wider(few, 24 * usual, 24)[~of_objects].tolist() == [1.0] * 2
    assert found.wider(many, 24 * usual, 24).tolist() == [1.0] * 6  # never more exactly than was learnt
    assert found.wider(few, few, 0).tolist() == [1.0] * 6
    assert found.floor(360, few)[of_objects].min() > 0.14
    assert found.floor(360, window(0))[~of_objects].max() < 0.01
