"""Neighbours that are equally far: the file may take others than scikit-learn, and nothing else passes for that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_iris
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

import converter
from converter.exporters.sklearn import neighbours
from converter.options import Options
from converter.proof import parity
from converter.proof.parity import ParityError

ROWS, CLASSES = load_iris(return_X_y=True)
TIED, APART = ROWS[77:78], ROWS[78:79]
"""Two neighbours of the one, of classes 1 and 2, are equally far; those of the other, all of class 1, are not."""


@pytest.mark.parametrize(
    "model",
    [
        KNeighborsClassifier(), KNeighborsClassifier(algorithm="brute"), KNeighborsClassifier(metric="manhattan"),
        KNeighborsRegressor(), TransformedTargetRegressor(KNeighborsRegressor(), transformer=StandardScaler()),
        make_pipeline(KBinsDiscretizer(encode="ordinal"), KNeighborsClassifier()),
    ],
    ids=["by tree", "by brute force", "by steps", "numbers", "turned back", "behind a step that makes many alike"],
)  # fmt: skip
def test_a_model_that_leaves_neighbours_open_is_converted_and_the_report_counts_the_rows(model: Any) -> None:
    artifact = converter.convert(model.fit(ROWS, CLASSES), sample=ROWS)

    assert artifact.comparison is not None
    assert 0 < artifact.comparison.settled < 20
    assert any(n.startswith(f"{artifact.comparison.settled} of 150 rows: the model leaves") for n in artifact.notes)


@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_only_what_a_choice_among_the_equally_far_gives_is_right_too(weights: str) -> None:
    """Three neighbours of the row, of classes 1, 1 and 2, are certain; the fourth is of class 1 or of class 2."""
    model = KNeighborsClassifier(4, weights=weights).fit(np.delete(ROWS, 77, axis=0), np.delete(CLASSES, 77))
    distances = model.kneighbors(TIED)[0][0]
    shares = np.full(4, 0.25) if weights == "uniform" else 1 / distances / np.sum(1 / distances)
    least, most = shares[2], shares[2] + shares[3]

    def right(rows: np.ndarray, second: float, label: int) -> bool:
        given = {"scores": np.array([[0.0, 1.0 - second, second]]), "label": np.array([label])}
        return bool(neighbours.also_right(model, rows, given)[0])

    assert right(TIED, least, label=1)
    assert right(TIED, most, label=1)
    assert not right(TIED, least, label=2)
    assert not right(TIED, least - 0.01, label=1)
    assert not right(TIED, most + 0.01, label=2)
    assert not right(APART, 0.25, label=1)


@pytest.mark.parametrize(
    "model",
    [
        VotingClassifier([("near", KNeighborsClassifier()), ("tree", DecisionTreeClassifier())], voting="soft"),
        StackingClassifier([("near", KNeighborsClassifier()), ("other", LogisticRegression(max_iter=1000))], cv=3),
    ],
    ids=["voting", "stacking"],
)  # fmt: skip
def test_neighbours_inside_of_others_are_left_open_too(model: Any) -> None:
    artifact = converter.convert(model.fit(ROWS, CLASSES), sample=ROWS)

    assert artifact.comparison is not None
    assert 0 < artifact.comparison.settled < 20


def test_another_number_of_neighbours_is_no_other_choice_among_them() -> None:
    artifact = converter.convert(KNeighborsClassifier().fit(ROWS, CLASSES), sample=ROWS)
    seven = converter.convert(KNeighborsClassifier(7).fit(ROWS, CLASSES), sample=ROWS)

    with pytest.raises(ParityError, match="of 150 rows differ"):
        parity.prove(replace(artifact, reference=seven.reference), Options())
