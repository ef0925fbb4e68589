"""Every trap of skl2onnx that was measured: mended or refused. Each test fails without its entry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
)
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


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (FunctionTransformer(np.log1p), "Python code"),
        (SplineTransformer(), "ONNX has no B-splines"),
        (QuantileTransformer(n_quantiles=9, output_distribution="normal"), "take 'uniform'"),
    ],
)
def test_what_has_no_operator_is_refused_with_the_reason(step: object, reason: str, wine: Split) -> None:
    model = Pipeline([("step", step), ("model", Ridge())]).fit(wine.train, wine.target)

    with pytest.raises(UnsupportedError, match=reason):
        converter.convert(model, sample=wine.held)


def test_a_missing_text_that_an_imputer_leaves_is_refused() -> None:
    frame = pd.DataFrame({"city": pd.Series(["Bern", "Bern", "Oslo", None] * 30, dtype=object)})
    steps = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    model = make_pipeline(ColumnTransformer([("c", steps, ["city"])]), Ridge()).fit(frame, np.arange(120) % 3)

    with pytest.raises(UnsupportedError, match="fills only one of None and NaN"):
        converter.convert(model, sample=frame)


@pytest.mark.parametrize(
    "nothing",
    ["passthrough", make_pipeline("passthrough"), make_pipeline(StandardScaler(), "passthrough")],
    ids=["a word", "a pipeline of it", "the end of a pipeline"],
)
def test_a_function_that_does_nothing_is_no_function(nothing: object, wine: Split) -> None:
    columns = ColumnTransformer([("some", nothing, [0, 2, 5])])
    model = make_pipeline(columns, RandomForestClassifier(3, random_state=0)).fit(wine.train, wine.target)

    assert converter.convert(model, sample=wine.held).manifest.parity.passed


NAMES = np.array(["barolo", "grignolino", "barbera"])


@pytest.mark.parametrize(
    "model",
    [
        OneVsRestClassifier(LinearSVC()),
        OneVsRestClassifier(LinearSVC(fit_intercept=False)),
        OneVsOneClassifier(LogisticRegression(max_iter=5000)),
    ],
    ids=["one against the rest", "without intercepts", "one against one"],
)
def test_margins_of_one_against_others_are_the_original_s(model: Any, wine: Split, tmp_path: Path) -> None:
    scale = StandardScaler().fit(wine.train)
    rows, held = scale.transform(wine.train), scale.transform(wine.held)
    model.fit(rows, NAMES[wine.target])

    path = converter.convert(model, sample=held).save(tmp_path / "margins.onnx")

    got = run(path, table(path, pd.DataFrame(held)))
    assert got["label"].ravel().tolist() == model.predict(held).tolist()
    np.testing.assert_allclose(got["scores"], model.decision_function(held), atol=1e-4)


@pytest.mark.parametrize("classes", [["no", "yes"], [10, 20]], ids=["text", "numbers"])
@pytest.mark.parametrize("kind", [OneVsOneClassifier, OneVsRestClassifier])
def test_two_classes_keep_their_names_in_one_against_others(
    kind: Any, classes: list[Any], cancer: Split, tmp_path: Path
) -> None:
    scale = StandardScaler().fit(cancer.train)
    rows, held = scale.transform(cancer.train), scale.transform(cancer.held)
    model = kind(LinearSVC()).fit(rows, np.array(classes)[cancer.target])

    path = converter.convert(model, sample=held).save(tmp_path / "two.onnx")

    assert run(path, table(path, pd.DataFrame(held)))["label"].ravel().tolist() == model.predict(held).tolist()


@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
def test_near_neighbours_weigh_more_and_one_at_no_distance_all(metric: str, wine: Split, tmp_path: Path) -> None:
    model = KNeighborsClassifier(weights="distance", metric=metric).fit(wine.train, wine.target)
    held = pd.concat((wine.held, wine.train[:20]))

    path = converter.convert(model, sample=held).save(tmp_path / "neighbours.onnx")

    np.testing.assert_allclose(run(path, table(path, held))["scores"], model.predict_proba(held), atol=1e-4)


def test_a_number_of_near_neighbours_is_weighed_too(diabetes: Split, tmp_path: Path) -> None:
    model = KNeighborsRegressor(weights="distance").fit(diabetes.train, diabetes.target)
    held = pd.concat((diabetes.held, diabetes.train[:20]))

    path = converter.convert(model, sample=held).save(tmp_path / "neighbours.onnx")

    np.testing.assert_allclose(run(path, table(path, held))["value"].ravel(), model.predict(held), rtol=1e-4)


@pytest.mark.parametrize("encoder", [OneHotEncoder(handle_unknown="ignore"), OrdinalEncoder()])
def test_categories_beyond_what_float64_tells_apart_are_refused(encoder: Any) -> None:
    numbers = 2**60 + np.arange(90) % 7
    rows = pd.DataFrame({"article": numbers, "city": np.array(["Bern", "Genf", "Basel"])[np.arange(90) % 3]})
    columns = ColumnTransformer([("a", encoder, ["article"]), ("b", OneHotEncoder(), ["city"])])
    model = make_pipeline(columns, Ridge()).fit(rows, numbers % 7)

    with pytest.raises(UnsupportedError, match=r"Encoder: its categories are whole numbers beyond 2\^53"):
        converter.convert(model, sample=rows)


def test_large_categories_that_float64_tells_apart_keep_apart_beside_text(tmp_path: Path) -> None:
    numbers = 7_610_000_000_000 + np.arange(90) % 7
    rows = pd.DataFrame({"article": numbers, "city": np.array(["Bern", "Genf", "Basel"])[np.arange(90) % 3]})
    columns = ColumnTransformer([("a", OneHotEncoder(), ["article"]), ("b", OneHotEncoder(), ["city"])])
    model = make_pipeline(columns, Ridge()).fit(rows, numbers % 7)

    path = converter.convert(model, sample=rows).save(tmp_path / "m.onnx")

    feed = {"article": numbers[:, None].astype(np.float64), "city": rows[["city"]].to_numpy(dtype=object)}
    np.testing.assert_allclose(run(path, feed)["value"].ravel(), model.predict(rows), atol=1e-4)


@pytest.mark.parametrize("package", ["category_encoders", "feature_engine"])
def test_a_stranger_s_class_of_a_known_name_is_refused_by_its_own(package: str) -> None:
    class OneHotEncoder(TransformerMixin, BaseEstimator):
        def fit(self, rows: Any, target: Any = None) -> Any:
            self.n_features_in_ = rows.shape[1]
            return self

        def transform(self, rows: Any) -> Any:
            return rows

    OneHotEncoder.__module__ = f"{package}.encoding"
    rows = np.linspace(0, 1, 40).reshape(20, 2)
    model = make_pipeline(OneHotEncoder(), Ridge()).fit(rows, rows[:, 0])

    with pytest.raises(UnsupportedError, match=f"{package}'s OneHotEncoder has no counterpart.*of scikit-learn"):
        converter.convert(model, sample=rows)


@pytest.mark.parametrize(("package", "network"), [("skorch", "net.module_"), ("pytorch_tabnet", "model.network")])
@pytest.mark.parametrize("before", [[], [StandardScaler()]], ids=["alone", "in a pipeline"])
def test_a_network_that_looks_like_an_estimator_is_refused_with_where_it_is(
    package: str, network: str, before: list[Any]
) -> None:
    class Net(Ridge):
        pass

    Net.__module__ = f"{package}.models"
    rows = np.linspace(0, 1, 40).reshape(20, 2)
    steps = [*before, Net()]
    model = (make_pipeline(*steps) if before else steps[0]).fit(rows, rows[:, 0])

    with pytest.raises(UnsupportedError, match=f"{package}'s Net has no counterpart.*the PyTorch network.*{network}"):
        converter.convert(model, sample=rows)
