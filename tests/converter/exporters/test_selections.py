"""Choices of features, and edges that numbers are compared with: the file against the model, on rows held back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.feature_selection import (
    GenericUnivariateSelect,
    SelectFdr,
    SelectFpr,
    SelectFromModel,
    SelectFwe,
    SelectKBest,
    SelectPercentile,
    VarianceThreshold,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import Binarizer, KBinsDiscretizer, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from support.tables import run, table

import converter
from converter.errors import UnsupportedError

ROWS = np.random.default_rng(0).normal(size=(300, 3)) * [3.0, 0.1, 0.1]
CLASSES = np.where(ROWS[:, 0] > 0.2, "yes", "no")


def labels(model: Any, rows: np.ndarray, folder: Path) -> list[str]:
    """What the file says of rows, of which it has seen the first forty."""
    path = converter.convert(model, sample=rows[:40]).save(folder / "m.onnx")
    return run(path, table(path, pd.DataFrame(rows)))["label"].tolist()


@pytest.mark.parametrize(
    "selection",
    [
        SelectKBest(k=1), SelectPercentile(percentile=34), SelectFpr(), SelectFdr(), SelectFwe(),
        GenericUnivariateSelect(mode="k_best", param=1), VarianceThreshold(1.0),
        SelectFromModel(DecisionTreeClassifier(max_depth=1), max_features=1),
    ],
    ids=lambda s: type(s).__name__,
)  # fmt: skip
@pytest.mark.parametrize(
    "classifier", [GaussianNB(), LogisticRegression(), KNeighborsClassifier(3)], ids=lambda c: type(c).__name__
)
def test_the_first_feature_alone_may_be_chosen(selection: Any, classifier: Any, tmp_path: Path) -> None:
    model = make_pipeline(selection, classifier).fit(ROWS, CLASSES)
    assert model[0].get_support(indices=True).tolist()[0] == 0

    assert labels(model, ROWS, tmp_path) == model.predict(ROWS).tolist()


def test_a_choice_of_nothing_is_refused() -> None:
    model = make_pipeline(StandardScaler(), SelectFpr(alpha=1e-12), GaussianNB()).fit(ROWS, CLASSES)
    model[1].pvalues_[:] = 1.0

    with pytest.raises(UnsupportedError, match="selected no feature at all"):
        converter.convert(model, sample=ROWS)


@pytest.mark.parametrize("encode", ["ordinal", "onehot", "onehot-dense"])
@pytest.mark.filterwarnings("ignore:Bins whose width:UserWarning")
@pytest.mark.parametrize("scaled", [False, True], ids=["as they come", "behind a scaler"])
def test_edges_of_bins_are_those_of_the_original(encode: str, scaled: bool, tmp_path: Path) -> None:
    rows = np.round(ROWS, 1)  # so that a number lies on an edge, where float32 is beside it
    bins = KBinsDiscretizer(8, encode=encode)
    steps = [StandardScaler(), bins] if scaled else [bins]
    model = make_pipeline(*steps, Ridge()).fit(rows, rows @ [1.0, 20.0, 300.0])

    path = converter.convert(model, sample=rows[:10]).save(tmp_path / "m.onnx")

    got = run(path, table(path, pd.DataFrame(rows)))["value"].ravel()
    np.testing.assert_allclose(got, model.predict(rows), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "model",
    [BernoulliNB(binarize=0.7), make_pipeline(Binarizer(threshold=0.7), LogisticRegression())],
    ids=["BernoulliNB", "Binarizer"],
)
def test_a_number_on_the_border_of_two_is_on_its_side(model: Any, tmp_path: Path) -> None:
    rows = np.round(ROWS, 1)
    model.fit(rows, CLASSES)
    border = np.array([[0.7, 0.0, 0.0], [0.8, 0.0, 0.0]])

    path = converter.convert(model, sample=rows[:10]).save(tmp_path / "m.onnx")

    scores = run(path, table(path, pd.DataFrame(border)))["scores"]
    np.testing.assert_allclose(scores, model.predict_proba(border), atol=1e-5)


THREE = np.digitize(ROWS[:, 0] + np.random.default_rng(1).normal(size=300), [-1.0, 1.0])


@pytest.mark.parametrize(
    ("model", "way_out"),
    [
        (OneVsRestClassifier(make_pipeline(make_union(StandardScaler()), SVC())), "let the steps stand before it"),
        (OneVsRestClassifier(SVC(probability=True)), "margins of SVC.*CalibratedClassifierCV"),
        (OneVsOneClassifier(SVC(probability=True)), "margins of SVC"),
        (OneVsRestClassifier(make_pipeline(StandardScaler(), SVC(probability=True))), "margins of SVC"),
        (OneVsRestClassifier(QuadraticDiscriminantAnalysis()), "several classes by itself: train it without OneVsRest"),
        (OneVsOneClassifier(QuadraticDiscriminantAnalysis()), "several classes by itself: train it without OneVsOne"),
    ],
    ids=["pipelines", "probabilities", "pairs", "pipelines with probabilities", "quadratic", "quadratic pairs"],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_members_that_decide_by_what_the_file_has_not_are_refused(model: Any, way_out: str) -> None:
    with pytest.raises(UnsupportedError, match=way_out):
        converter.convert(model.fit(ROWS, THREE), sample=ROWS[:40])


@pytest.mark.parametrize("members", [SVC(), LinearDiscriminantAnalysis()], ids=["margins", "probabilities"])
def test_the_ways_out_are_ways(members: Any, tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), OneVsRestClassifier(members)).fit(ROWS, THREE)

    assert labels(model, ROWS, tmp_path) == model.predict(ROWS).tolist()
