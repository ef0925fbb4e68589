"""Imputers: rows with gaps are answered as the model answers them, whatever it was trained with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

import converter
import edge
from converter.errors import UnsupportedError
from converter.exporters.sklearn import neighbours

RANDOM = np.random.default_rng(3)
ROWS = RANDOM.normal(size=(200, 5))
ANSWERS = ROWS @ np.arange(5.0)


def with_gaps(rows: np.ndarray, share: float = 0.2, seed: int = 1) -> np.ndarray:
    return np.where(np.random.default_rng(seed).random(rows.shape) < share, np.nan, rows)


def served(model: Any, rows: np.ndarray, path: Path, sample: np.ndarray) -> np.ndarray:
    """What the file answers to rows one at a time, `None` in the place of a gap."""
    device = edge.load(converter.convert(model, sample=sample).save(path))
    given = [[None if np.isnan(v) else float(v) for v in row] for row in rows]
    return np.array([device.predict(row).predictions[0].value for row in given])


GAPS = with_gaps(ROWS)
NEVER = np.where(np.arange(5) == 2, np.nan, GAPS)
"""Nobody ever had the third feature."""


@pytest.mark.parametrize(
    ("imputer", "trained"),
    [
        (KNNImputer(), GAPS), (KNNImputer(), ROWS), (KNNImputer(n_neighbors=3, weights="distance"), GAPS),
        (KNNImputer(n_neighbors=500), GAPS), (KNNImputer(add_indicator=True), GAPS), (KNNImputer(), NEVER),
        (KNNImputer(keep_empty_features=True, add_indicator=True), NEVER), (SimpleImputer(add_indicator=True), GAPS),
        (SimpleImputer(), NEVER), (SimpleImputer(keep_empty_features=True), NEVER),
    ],
    ids=[
        "near", "trained without gaps", "by distance", "more than there are", "told", "of a feature nobody had",
        "all kept and told", "means told", "means", "means kept",
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Skipping features without any observed")
def test_rows_with_gaps_are_answered_as_the_model_answers_them(
    imputer: Any, trained: np.ndarray, tmp_path: Path
) -> None:
    model = make_pipeline(imputer, Ridge()).fit(trained, ANSWERS)
    held = np.vstack([with_gaps(ROWS[:20], 0.4, seed=7), np.full((1, 5), np.nan)])

    np.testing.assert_allclose(served(model, held, tmp_path / "m.onnx", trained), model.predict(held), atol=1e-3)


@pytest.mark.filterwarnings("ignore:Skipping features without any observed")
def test_a_feature_that_nobody_had_is_filled_with_0_also_where_a_row_has_it(tmp_path: Path) -> None:
    model = make_pipeline(KNNImputer(keep_empty_features=True), SVR()).fit(NEVER, ANSWERS)
    held = ROWS[:20] + np.array([0.0, 0.0, 100.0, 0.0, 0.0])

    np.testing.assert_allclose(served(model, held, tmp_path / "m.onnx", NEVER), model.predict(held), atol=1e-3)


def test_a_number_that_stands_for_a_gap_is_one(tmp_path: Path) -> None:
    trained, held = np.nan_to_num(GAPS, nan=-999.0), np.nan_to_num(with_gaps(ROWS[:20], seed=7), nan=-999.0)
    model = make_pipeline(KNNImputer(missing_values=-999), Ridge()).fit(trained, ANSWERS)

    np.testing.assert_allclose(served(model, held, tmp_path / "m.onnx", trained), model.predict(held), atol=1e-4)


IRIS, CLASSES = load_iris(return_X_y=True)
IRIS_GAPS = with_gaps(IRIS)


@pytest.mark.parametrize(
    "last", [LogisticRegression(max_iter=1000), KNeighborsClassifier(), HistGradientBoostingRegressor(max_iter=5)]
)
def test_rows_that_are_equally_far_do_not_make_a_model_refuse_gaps(last: Any) -> None:
    model = make_pipeline(KNNImputer(), last).fit(IRIS_GAPS, CLASSES)

    artifact = converter.convert(model, sample=IRIS_GAPS)

    assert all(f.missing for f in artifact.manifest.features)
    assert artifact.comparison is not None
    assert 0 < artifact.comparison.settled < 50


def test_neighbours_of_a_choice_of_columns_take_gaps_too() -> None:
    table = pd.DataFrame(IRIS_GAPS, columns=list("abcd"))
    columns = [
        ("near", make_pipeline(KNNImputer(), StandardScaler()), ["a", "b"]),
        ("mean", SimpleImputer(), ["c", "d"]),
    ]
    model = make_pipeline(ColumnTransformer(columns), LogisticRegression(max_iter=1000)).fit(table, CLASSES)

    assert all(f.missing for f in converter.convert(model, sample=table).manifest.features)


def test_only_what_a_choice_of_neighbours_gives_may_be_filled_in() -> None:
    """Of the two nearest rows one is certain, with 1; of the next three, at the same distance, one is taken."""
    trained = np.array([[1.0, 1.0], [2.0, 2.0], [2.0, 4.0], [2.0, 6.0], [9.0, 9.0]])
    imputer = KNNImputer(n_neighbors=2).fit(trained)

    def other(filled: float) -> float:
        changed = neighbours.as_in_a_file(
            make_pipeline(imputer, Ridge()).fit(trained, trained[:, 0]),
            lambda part: lambda rows: {"output": np.array([[1.0, filled]])},
        )
        return float(changed[0].transform(np.array([[1.0, np.nan]]))[0, 1])

    own = float(imputer.transform(np.array([[1.0, np.nan]]))[0, 1])
    assert [other(v) for v in (1.5, 2.5, 3.5)] == [1.5, 2.5, 3.5]
    assert other(3.7) == own
    assert other(1.3) == own


def test_a_metric_of_ones_own_is_refused() -> None:
    model = make_pipeline(KNNImputer(weights=lambda distances: distances), Ridge()).fit(GAPS, ANSWERS)

    with pytest.raises(UnsupportedError, match="take weights='distance'"):
        converter.convert(model, sample=GAPS)
