"""Probabilities: made of what a model gives, and watched that they are some."""

from __future__ import annotations

import numpy as np
import pytest

from edge.data.scores import Watch, activate


@pytest.mark.parametrize(
    ("activation", "expected"), [("", [0.0, 0.0]), ("sigmoid", [0.5, 0.5]), ("softmax", [0.5, 0.5])]
)
def test_scores_become_probabilities_as_the_model_means_them(activation, expected):
    assert activate(np.zeros(2, np.float32), activation).tolist() == expected


def test_what_lies_beside_by_rounding_is_set_to_the_end_without_a_word(caplog):
    seen = Watch("m")(np.array([-1e-7, 0.5, 1 + 1e-7]))
    assert (seen.min(), seen.max()) == (0.0, 1.0)
    assert caplog.records == []


def test_scores_that_are_no_probabilities_are_told_once_and_left_as_they_are(caplog):
    watch = Watch("m")
    for scores in ([-3.0, 4.0], [7.0]):
        assert watch(np.array(scores)).tolist() == scores
    (record,) = caplog.records
    assert (record.model, record.seen) == ("m", "-3 to 4")
    assert "--activation softmax" in record.fix


@pytest.mark.parametrize("scores", [[], [np.nan], [np.inf, 0.5]])
def test_no_scores_and_scores_that_are_no_numbers_are_told_by_others(scores, caplog):
    found = Watch("")(np.array(scores))
    np.testing.assert_array_equal(found, scores)
    assert caplog.records == []
