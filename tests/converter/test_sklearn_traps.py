"""Every trap of skl2onnx that was measured: mended or refused. Each test fails without its entry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, SplineTransformer, StandardScaler
from sklearn.svm import SVC, LinearSVC
from support.tables import Split, run, table

import converter
from converter.errors import UnsupportedError
from converter.graph import graph


def test_histogram_boosting_with_categories_is_refused() -> None:
    rows = np.column_stack([np.arange(200) % 7, np.linspace(0, 1, 200)])
    model = HistGradientBoostingClassifier(max_iter=3, categorical_features=[0]).fit(rows, rows[:, 0] > 3)

    with pytest.raises(UnsupportedError, match="categorical_features cannot be converted"):
        converter.convert(model, sample=rows)


@pytest.mark.parametrize(
    "trees",
    [RandomForestRegressor(8, random_state=0), HistGradientBoostingRegressor(max_iter=15)],
    ids=["forest", "histogram boosting"],
)
def test_trees_behind_a_scaler_take_the_branches_of_the_original(trees: object, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = random.integers(0, 60, (1500, 6)) / 10  # values that repeat fall on the thresholds
    model = make_pipeline(StandardScaler(), trees).fit(rows[:800], rows[:800] @ np.arange(6.0) ** 2)

    # So few rows show no difference; the way that is right is taken without being told by them.
    path = converter.convert(model, sample=rows[:5]).save(tmp_path / "scaled.onnx")

    got = run(path, table(path, pd.DataFrame(rows[800:])))["value"].ravel()
    np.testing.assert_allclose(got, model.predict(rows[800:]), rtol=1e-5)


def test_a_scaler_divides_as_the_original_does(wine: Split) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(wine.train, wine.target)

    artifact = converter.convert(model, sample=wine.held)

    operators = [n.op_type for n in graph.parse(artifact.model).graph.node]
    assert "Div" in operators, "a product with 1/std is off by a unit in the last place"
    assert "Scaler" not in operators


def test_histogram_boosting_s_thresholds_are_rounded_down(diabetes: Split, tmp_path: Path) -> None:
    model = HistGradientBoostingRegressor(max_iter=60, min_samples_leaf=3).fit(diabetes.train, diabetes.target)

    path = converter.convert(model, sample=diabetes.held).save(tmp_path / "boosting.onnx")

    got = run(path, table(path, diabetes.train))["value"].ravel()
    np.testing.assert_allclose(got, model.predict(diabetes.train), rtol=1e-5)


def test_a_two_class_svc_without_probabilities_is_told_by_its_label(cancer: Split, tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), SVC()).fit(cancer.train, cancer.target)

    artifact = converter.convert(model, sample=cancer.held)

    assert [(o.name, o.role) for o in artifact.manifest.outputs] == [("label", "label")]
    path = artifact.save(tmp_path / "svc.onnx")
    outputs = run(path, table(path, cancer.held))
    assert outputs["label"].tolist() == model.predict(cancer.held).tolist()


def test_a_linear_svc_in_a_pipeline_gives_its_own_scores(wine: Split, tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), LinearSVC(random_state=0)).fit(wine.train, wine.target)

    path = converter.convert(model, sample=wine.train).save(tmp_path / "svc.onnx")

    outputs = run(path, table(path, wine.held))
    np.testing.assert_allclose(outputs["scores"], model.decision_function(wine.held), atol=1e-5)


def test_words_are_cut_in_the_locale_that_every_device_has() -> None:
    texts = ["one two", "two three", "three four"] * 4
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [0, 1, 1] * 4)

    artifact = converter.convert(model, sample=pd.DataFrame({"text": texts}))

    nodes = graph.parse(artifact.model).graph.node
    locales = [a.s for n in nodes if n.op_type == "StringNormalizer" for a in n.attribute if a.name == "locale"]
    assert set(locales) == {b"C"}


def test_an_isolation_forest_converts_at_all(cancer: Split) -> None:
    # Without target_opset for ai.onnx.ml skl2onnx stops.
    model = IsolationForest(n_estimators=5, random_state=0).fit(cancer.train)

    assert converter.convert(model, sample=cancer.held).manifest.parity.passed


def test_one_hot_with_infrequent_if_exist_is_refused(people: pd.DataFrame, buys: np.ndarray) -> None:
    encoder = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=5)
    model = make_pipeline(ColumnTransformer([("c", encoder, ["city"])]), LogisticRegression()).fit(people, buys)

    with pytest.raises(UnsupportedError, match="infrequent_if_exist"):
        converter.convert(model, sample=people)


@pytest.mark.parametrize(
    ("step", "reason"),
    [(FunctionTransformer(np.log1p), "Python code"), (SplineTransformer(), "ONNX has no B-splines")],
)
def test_what_has_no_operator_is_refused_with_the_reason(step: object, reason: str, wine: Split) -> None:
    model = Pipeline([("step", step), ("model", Ridge())]).fit(wine.train, wine.target)

    with pytest.raises(UnsupportedError, match=reason):
        converter.convert(model, sample=wine.held)


def test_a_function_that_does_nothing_is_no_function(wine: Split) -> None:
    columns = ColumnTransformer([("some", "passthrough", [0, 2, 5])])
    model = make_pipeline(columns, RandomForestClassifier(3, random_state=0)).fit(wine.train, wine.target)

    assert converter.convert(model, sample=wine.held).manifest.parity.passed
