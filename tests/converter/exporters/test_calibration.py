"""Calibrated classifiers: the file against the model, also where sigmoids are 0 and 1 in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Perceptron
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC
from support.tables import run, table

import converter
from converter.errors import UnsupportedError

ROWS, NUMBERS = load_iris(return_X_y=True)
CLASSES = np.array(["one", "two", "three"])[NUMBERS]
FAR = (np.concatenate([ROWS * f for f in (1.0, 30.0, -30.0, 1e4, -1e4)])).astype(np.float32)


def answers(model: Any, folder: Path) -> dict[str, np.ndarray]:
    path = converter.convert(model, sample=ROWS[::4]).save(folder / "m.onnx")
    return run(path, table(path, pd.DataFrame(FAR)))


@pytest.mark.parametrize("ensemble", [True, False], ids=["mean of three", "one"])
@pytest.mark.parametrize(
    "inner",
    [
        LogisticRegression(max_iter=5000), Perceptron(), LinearSVC(), OneVsRestClassifier(LogisticRegression()),
        make_pipeline(StandardScaler(), LogisticRegression()), make_pipeline(MinMaxScaler(), SVC()),
        ExtraTreesClassifier(8, random_state=0),
    ],
    ids=["logistic", "perceptrons", "machines", "one against the rest", "pipeline", "pipeline of kernels", "forest"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_calibrated_probabilities_hold_far_away_too(inner: Any, ensemble: bool, tmp_path: Path) -> None:
    model = CalibratedClassifierCV(inner, cv=3, ensemble=ensemble).fit(ROWS, CLASSES)

    got = answers(model, tmp_path)

    np.testing.assert_allclose(got["scores"], model.predict_proba(FAR), atol=1e-5)


@pytest.mark.parametrize("inner", [LogisticRegression(), SVC(), make_pipeline(StandardScaler(), SVC())])
def test_of_two_classes_the_second_is_calibrated(inner: Any, tmp_path: Path) -> None:
    model = CalibratedClassifierCV(inner, cv=3).fit(ROWS, NUMBERS > 1)

    np.testing.assert_allclose(answers(model, tmp_path)["scores"], model.predict_proba(FAR), atol=1e-5)


def test_a_classifier_that_was_frozen_is_calibrated_as_it_is(tmp_path: Path) -> None:
    inner = FrozenEstimator(make_pipeline(StandardScaler(), SVC()).fit(ROWS, CLASSES))
    model = CalibratedClassifierCV(inner).fit(ROWS, CLASSES)

    np.testing.assert_allclose(answers(model, tmp_path)["scores"], model.predict_proba(FAR), atol=1e-5)


def test_a_class_that_a_part_of_the_rows_lacks_has_its_place(tmp_path: Path) -> None:
    model = CalibratedClassifierCV(LogisticRegression(max_iter=5000), cv=3).fit(ROWS, CLASSES)
    for member in model.calibrated_classifiers_[:1]:  # as of rows without the class "two"
        inner = LogisticRegression().fit(ROWS[NUMBERS != 1], CLASSES[NUMBERS != 1])
        member.estimator, member.calibrators = inner, member.calibrators[:1]

    np.testing.assert_allclose(answers(model, tmp_path)["scores"], model.predict_proba(FAR), atol=1e-5)


def test_margins_that_onnx_has_not_are_named(tmp_path: Path) -> None:
    model = CalibratedClassifierCV(QuadraticDiscriminantAnalysis(), cv=3).fit(ROWS, CLASSES)

    with pytest.raises(UnsupportedError, match="margins of QuadraticDiscriminantAnalysis"):
        converter.convert(model, sample=ROWS)
