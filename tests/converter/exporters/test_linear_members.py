"""Classifiers that decide by linear margins, alone, by class or by pairs: the file against the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    GradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression, Perceptron, RidgeClassifier, SGDClassifier
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC, NuSVC
from sklearn.tree import DecisionTreeClassifier
from support.tables import run, table

import converter
from converter.errors import UnsupportedError
from converter.rows import files
from converter.rows.tensors import feed

MEMBERS = [
    LogisticRegression(max_iter=5000), LinearDiscriminantAnalysis(), LinearSVC(), LinearSVC(fit_intercept=False),
    Perceptron(), RidgeClassifier(), SGDClassifier(loss="log_loss", random_state=0),
    SGDClassifier(loss="modified_huber", random_state=0), make_pipeline(StandardScaler(), LogisticRegression()),
    make_pipeline(StandardScaler(), LinearSVC()),
]  # fmt: skip
NAMES = [
    "logistic", "discriminant", "machines", "machines without offset", "perceptrons", "ridge", "log_loss",
    "modified_huber", "pipelines", "pipelines of margins",
]  # fmt: skip
FAR = np.float32([0.01, 1.0, -30.0, 300.0])


def answers(model: Any, rows: np.ndarray, folder: Path) -> dict[str, np.ndarray]:
    """What the file says of rows, of which it has seen the first twenty."""
    path = converter.convert(model, sample=rows[:20]).save(folder / "m.onnx")
    return run(path, table(path, pd.DataFrame(rows)))


def rows_far_and_near(rows: np.ndarray) -> np.ndarray:
    """The rows, and the same far away, where probabilities round to 0 and 1; float32 [4 x rows, features]."""
    near = rows.astype(np.float32)
    return np.concatenate([(near * far).astype(np.float32) for far in FAR])


@pytest.mark.parametrize("kind", [OneVsRestClassifier, OneVsOneClassifier])
@pytest.mark.parametrize("member", MEMBERS, ids=NAMES)
@pytest.mark.parametrize("load", [load_iris, load_wine], ids=["iris", "wine"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_linear_members_decide_by_their_margins(kind: Any, member: Any, load: Any, tmp_path: Path) -> None:
    rows, numbers = load(return_X_y=True)
    model = kind(member).fit(rows[::2], np.array(["one", "two", "three"])[numbers][::2])
    held = rows_far_and_near(rows[1::2])

    got = answers(model, held, tmp_path)

    assert got["label"].tolist() == model.predict(held).tolist()
    expected = getattr(model, "predict_proba", model.decision_function)(held)
    np.testing.assert_allclose(got["scores"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", ["log_loss", "modified_huber", "hinge"])
@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer], ids=["iris", "wine", "cancer"])
def test_a_class_by_descent_is_that_of_the_highest_margin(loss: str, load: Any, tmp_path: Path) -> None:
    """On rows that nobody scaled: the probabilities of several classes are 1, or all 0, where their margins differ."""
    rows, numbers = load(return_X_y=True)
    model = SGDClassifier(loss=loss, random_state=0).fit(rows[::2], np.array(["a", "b", "c"])[numbers][::2])
    held = rows_far_and_near(rows[1::2])

    got = answers(model, held, tmp_path)

    assert got["label"].tolist() == model.predict(held).tolist()
    if loss != "hinge":
        np.testing.assert_allclose(got["scores"], model.predict_proba(held), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [OneVsRestClassifier, OneVsOneClassifier])
@pytest.mark.parametrize("classes", [[False, True], [3, 7], ["no", "yes"]], ids=["bool", "numbers", "texts"])
@pytest.mark.parametrize("member", [LogisticRegression(max_iter=5000), LinearSVC()], ids=["logistic", "machines"])
def test_of_two_classes_the_margin_of_the_second_decides(
    kind: Any, classes: list[Any], member: Any, tmp_path: Path
) -> None:
    rows, numbers = load_iris(return_X_y=True)
    model = kind(member).fit(rows, np.array(classes)[(numbers > 1).astype(int)])
    held = rows_far_and_near(rows)

    got = answers(model, held, tmp_path)["label"].tolist()

    assert [str(v) for v in got] == [str(int(v) if isinstance(v, np.bool_) else v) for v in model.predict(held)]


@pytest.mark.parametrize(
    "inner",
    [OneVsRestClassifier(LogisticRegression(max_iter=5000)), SGDClassifier(loss="log_loss", random_state=0)],
    ids=["by class", "by descent"],
)
@pytest.mark.parametrize(
    "around",
    [
        lambda model: VotingClassifier([("a", model), ("b", GaussianNB())], voting="soft"),
        lambda model: VotingClassifier([("a", model), ("b", LinearSVC()), ("c", GaussianNB())]),
        lambda model: make_pipeline(StandardScaler(), model),
    ],
    ids=["mean of two", "votes of three", "behind a step"],
)
def test_it_may_stand_inside_of_another(around: Any, inner: Any, tmp_path: Path) -> None:
    rows, numbers = load_iris(return_X_y=True)
    model = around(inner).fit(rows[::2], numbers[::2])
    held = rows_far_and_near(rows[1::2])

    assert answers(model, held, tmp_path)["label"].tolist() == model.predict(held).tolist()


def test_calibration_takes_its_margins(tmp_path: Path) -> None:
    rows, numbers = load_iris(return_X_y=True)
    model = CalibratedClassifierCV(OneVsRestClassifier(LogisticRegression(max_iter=5000)), cv=3)
    model.fit(rows[::2], numbers[::2])
    held = rows[1::2].astype(np.float32)

    np.testing.assert_allclose(answers(model, held, tmp_path)["scores"], model.predict_proba(held), atol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        OneVsRestClassifier(NuSVC(nu=0.2)), OneVsOneClassifier(SVC(kernel="linear")),
        OneVsRestClassifier(make_pipeline(StandardScaler(), SVC(kernel="poly", coef0=1.0))),
        OneVsOneClassifier(make_pipeline(StandardScaler(), SVC(kernel="sigmoid"))),
    ],
    ids=["rbf", "linear", "poly", "sigmoid"],
)  # fmt: skip
def test_kernels_of_features_that_are_not_scaled_decide_by_their_margins(model: Any) -> None:
    """Wine's proline is in the hundreds: in float32 its margins are off by more than is allowed."""
    rows, classes = load_wine(return_X_y=True)
    model.fit(rows, classes)

    artifact = converter.convert(model, sample=rows[::2])

    session = onnxruntime.InferenceSession(artifact.model)
    label, scores = session.run(["label", "scores"], feed(files.of(rows[1::2]), artifact.manifest.inputs))
    assert label.tolist() == model.predict(rows[1::2]).tolist()
    np.testing.assert_allclose(scores, model.decision_function(rows[1::2]), atol=1e-5)


def test_a_pipeline_of_margins_inside_of_stacking_is_refused_with_the_way_out() -> None:
    rows, classes = load_wine(return_X_y=True)
    model = StackingClassifier([("margins", make_pipeline(StandardScaler(), LinearSVC()))]).fit(rows, classes)

    with pytest.raises(UnsupportedError, match="let the steps stand before it"):
        converter.convert(model, sample=rows)


@pytest.mark.parametrize(
    "member",
    [
        KNeighborsClassifier(), KNeighborsClassifier(weights="distance"), DecisionTreeClassifier(max_depth=2),
        RandomForestClassifier(10, random_state=0), GaussianNB(), make_pipeline(StandardScaler(), GaussianNB()),
        VotingClassifier([("a", GaussianNB()), ("b", DecisionTreeClassifier(max_depth=2))], voting="soft"),
    ],
    ids=["neighbours", "by distance", "tree", "forest", "bayes", "behind a scaler", "voting"],
)  # fmt: skip
@pytest.mark.parametrize("classes", [["a", "b", "c"], [7, 3, 5], [0, 0, 1]], ids=["texts", "numbers", "two"])
def test_members_without_margins_compare_their_probabilities(member: Any, classes: list[Any], tmp_path: Path) -> None:
    rows, numbers = load_iris(return_X_y=True)
    rows = rows + np.random.default_rng(0).normal(0, 0.01, rows.shape)  # no two are alike, nor equally far
    model = OneVsOneClassifier(member).fit(rows[::2], np.array(classes)[numbers][::2])
    held = rows[1::2].astype(np.float32)

    got = answers(model, held, tmp_path)

    assert got["label"].tolist() == model.predict(held).tolist()
    if len(set(classes)) == 3:
        np.testing.assert_allclose(got["scores"], model.decision_function(held), rtol=1e-4, atol=1e-5)


def test_neighbours_by_distance_are_weighed_in_each_member(tmp_path: Path) -> None:
    """skl2onnx has one number for what it cuts the distances of all members off at."""
    rows, numbers = load_iris(return_X_y=True)
    model = OneVsRestClassifier(KNeighborsClassifier(weights="distance")).fit(rows[::2] * 7.1, numbers[::2])
    held = (rows[1::2] * 7.1 + np.random.default_rng(0).normal(0, 0.1, rows[1::2].shape)).astype(np.float32)

    got = answers(model, held, tmp_path)

    np.testing.assert_allclose(got["scores"], model.predict_proba(held), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("member", [GradientBoostingClassifier(n_estimators=3), AdaBoostClassifier(n_estimators=3)])
def test_margins_that_onnx_has_not_are_refused_with_the_way_out(member: Any) -> None:
    rows, numbers = load_iris(return_X_y=True)

    with pytest.raises(UnsupportedError, match=f"train {type(member).__name__} without OneVsOneClassifier"):
        converter.convert(OneVsOneClassifier(member).fit(rows, numbers), sample=rows)
