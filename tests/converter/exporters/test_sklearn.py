"""scikit-learn to ONNX: the numbers of the file against those of the model, on rows held back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OutputCodeClassifier
from sklearn.multioutput import MultiOutputClassifier, RegressorChain
from sklearn.neighbors import KNeighborsClassifier, LocalOutlierFactor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import OneClassSVM
from sklearn.tree import DecisionTreeClassifier
from support.tables import Split, run, table

import converter
from converter.errors import UnsupportedError
from edge.model import container
from edge.model.manifest import Manifest


def read(path: Path) -> Manifest:
    from edge.engines import onnxruntime
    from edge.plugins.protocols import EngineOptions

    manifest = container.read_manifest(path, onnxruntime.load(path, EngineOptions()).metadata)
    assert manifest is not None
    return manifest


CLASSIFIERS = [
    make_pipeline(StandardScaler(), LogisticRegression()),
    RandomForestClassifier(15, random_state=1),
    DecisionTreeClassifier(random_state=1),
    KNeighborsClassifier(),
    VotingClassifier(
        [("a", make_pipeline(MinMaxScaler(), LogisticRegression())), ("b", DecisionTreeClassifier(max_depth=3))],
        voting="soft",
    ),
    GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [0.1, 1]}, cv=2),
]


@pytest.mark.parametrize("model", CLASSIFIERS, ids=lambda m: type(m).__name__)
def test_a_classifier_gives_the_labels_and_probabilities_of_the_original(
    model: object, wine: Split, tmp_path: Path
) -> None:
    model.fit(wine.train, wine.names)

    path = converter.convert(model, sample=wine.train).save(tmp_path / "wine.onnx")

    outputs = run(path, table(path, wine.held))
    assert outputs["label"].tolist() == model.predict(wine.held).tolist()
    np.testing.assert_allclose(outputs["scores"], model.predict_proba(wine.held), atol=2e-6)


REGRESSORS = [
    Ridge(),
    RandomForestRegressor(10, random_state=1),
    HistGradientBoostingRegressor(max_iter=20),
    make_pipeline(PolynomialFeatures(2), Ridge()),
    make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(8,), random_state=1, tol=1e9, n_iter_no_change=1)),
]


@pytest.mark.parametrize("model", REGRESSORS, ids=lambda m: type(m).__name__ if not hasattr(m, "steps") else "Pipeline")
def test_a_regressor_gives_the_numbers_of_the_original(model: object, diabetes: Split, tmp_path: Path) -> None:
    model.fit(diabetes.train, diabetes.target)

    path = converter.convert(model, sample=diabetes.train).save(tmp_path / "diabetes.onnx")

    got = run(path, table(path, diabetes.held))["value"].ravel()
    np.testing.assert_allclose(got, model.predict(diabetes.held), rtol=1e-5, atol=1e-5)


def test_several_numbers_a_row_have_several_names(diabetes: Split) -> None:
    both = np.stack([diabetes.target, -diabetes.target], axis=1)
    model = RandomForestRegressor(5, random_state=0).fit(diabetes.train, both)

    manifest = converter.convert(model, sample=diabetes.held).manifest

    assert manifest.outputs[0].names == ("value0", "value1")


def test_features_and_labels_come_from_the_training_frame(forest: RandomForestClassifier, wine: Split) -> None:
    manifest = converter.convert(forest, sample=wine.held).manifest

    assert [f.name for f in manifest.features] == list(wine.train.columns)
    assert manifest.labels == ("class 0", "class 1", "class 2")
    assert [i.kind for i in manifest.inputs] == ["table"]
    assert [(o.name, o.role) for o in manifest.outputs] == [("label", "label"), ("scores", "scores")]


def test_features_come_from_the_header_where_the_model_has_no_names(wine: Split) -> None:
    model = LogisticRegression(max_iter=5000).fit(wine.train.to_numpy(), wine.target)

    manifest = converter.convert(model, sample=wine.held).manifest

    assert [f.name for f in manifest.features] == list(wine.held.columns)
    assert manifest.labels == ("0", "1", "2")


def test_columns_are_put_into_the_model_s_order(forest: RandomForestClassifier, wine: Split) -> None:
    backwards = wine.held[wine.held.columns[::-1]]

    parity = converter.convert(forest, sample=backwards).manifest.parity

    assert parity is not None
    assert parity.agreement == 1.0


def test_text_columns_are_an_input_each(columns_model: object, people: pd.DataFrame, tmp_path: Path) -> None:
    path = converter.convert(columns_model, sample=people[:160]).save(tmp_path / "people.onnx")

    manifest = read(path)
    assert [(i.name, i.kind, i.dtype) for i in manifest.inputs] == [
        ("age", "column", "float32"), ("city", "column", "string"),
        ("income", "column", "float32"), ("plan", "column", "string"),
    ]  # fmt: skip
    held = people[160:]
    feed = {
        i.name: held[[i.name]].to_numpy().astype(object if i.dtype == "string" else np.float32) for i in manifest.inputs
    }
    outputs = run(path, feed)
    assert outputs["label"].tolist() == columns_model.predict(held).tolist()
    np.testing.assert_allclose(outputs["scores"], columns_model.predict_proba(held), atol=2e-6)


def test_a_category_that_looks_like_a_number_stays_text(tmp_path: Path) -> None:
    rows = pd.DataFrame({"code": ["1", "2", "3"] * 20, "size": np.arange(60.0)})
    columns = ColumnTransformer([("c", OneHotEncoder(), ["code"]), ("s", "passthrough", ["size"])])
    model = make_pipeline(columns, LogisticRegression(max_iter=1000)).fit(rows, rows.code == "2")
    file = tmp_path / "rows.csv"
    rows.to_csv(file, index=False)

    manifest = converter.convert(model, sample=file).manifest

    assert {f.name: f.kind for f in manifest.features} == {"code": "text", "size": "number"}
    assert manifest.parity is not None
    assert manifest.parity.agreement == 1.0


def test_all_columns_in_another_order_are_not_taken_for_all_columns(wine: Split) -> None:
    order = list(reversed(range(wine.train.shape[1])))
    model = make_pipeline(ColumnTransformer([("all", MinMaxScaler(), order)]), LogisticRegression())
    model.fit(wine.train.to_numpy(), wine.target)

    parity = converter.convert(model, sample=wine.held.to_numpy()).manifest.parity

    assert parity is not None
    assert parity.max_difference < 2e-6


def test_missing_values_are_passed_on_where_an_imputer_takes_them(people: pd.DataFrame, buys: np.ndarray) -> None:
    holes = people.copy()
    holes.loc[::5, "age"] = np.nan
    holes.loc[::7, "city"] = None
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["age", "income"]),
            (
                "texts",
                make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")),
                ["city"],
            ),
        ]
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=500)).fit(holes, buys)

    manifest = converter.convert(model, sample=holes).manifest

    assert {f.name: f.missing for f in manifest.features} == {"age": True, "city": True, "income": True, "plan": True}
    assert manifest.parity is not None
    assert manifest.parity.rows == len(holes)
    assert manifest.parity.agreement == 1.0


def test_missing_values_are_refused_where_the_model_refuses_them(wine: Split) -> None:
    model = LogisticRegression(max_iter=5000).fit(wine.train, wine.target)
    holes = wine.held.copy()
    holes.iloc[0, 0] = np.nan

    artifact = converter.convert(model, sample=holes)

    assert not any(f.missing for f in artifact.manifest.features)
    assert artifact.manifest.parity is not None
    assert artifact.manifest.parity.rows == len(holes) - 1
    assert "1 rows of the sample lack a value" in artifact.notes[-1]


def test_true_and_false_are_labels_too(cancer: Split) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(cancer.train, cancer.target.astype(bool))

    manifest = converter.convert(model, sample=cancer.held, expect=cancer.truth.astype(bool)).manifest

    assert manifest.labels == ("False", "True")
    assert manifest.outputs[0].values == ("0", "1")
    assert manifest.parity is not None
    assert manifest.parity.accuracy_before == manifest.parity.accuracy_after > 0.9


DETECTORS = [
    IsolationForest(n_estimators=20, random_state=0),
    IsolationForest(n_estimators=20, contamination=0.1, random_state=0),
    make_pipeline(StandardScaler(), OneClassSVM(nu=0.1)),
    make_pipeline(StandardScaler(), LocalOutlierFactor(novelty=True)),
]


@pytest.mark.parametrize("model", DETECTORS, ids=["forest", "contaminated forest", "svm", "neighbours"])
def test_an_outlier_s_score_is_above_the_threshold(model: object, cancer: Split, tmp_path: Path) -> None:
    model.fit(cancer.train.to_numpy())

    path = converter.convert(model, sample=cancer.train.to_numpy()).save(tmp_path / "anomaly.onnx")

    manifest = read(path)
    assert (manifest.task, manifest.threshold, manifest.outputs[0].role) == ("anomaly", 0.0, "score")
    score = run(path, table(path, cancer.held))["score"].ravel()
    np.testing.assert_array_equal(score > 0, model.predict(cancer.held.to_numpy()) == -1)
    np.testing.assert_allclose(score, -model.decision_function(cancer.held.to_numpy()), atol=1e-5, rtol=1e-4)


def test_a_document_is_one_column_of_text(tmp_path: Path) -> None:
    texts = ["good film", "bad film", "awful food", "nice food", "fine car", "bad car"] * 5
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [1, 0, 0, 1, 1, 0] * 5)

    path = converter.convert(model, sample=pd.DataFrame({"review": texts})).save(tmp_path / "reviews.onnx")

    assert [(f.name, f.kind) for f in read(path).features] == [("review", "text")]
    held = ["bad good film", "nice awful car", "food"]
    outputs = run(path, {"review": np.array(held, dtype=object)[:, None]})
    np.testing.assert_allclose(outputs["scores"], model.predict_proba(held), atol=2e-6)


def test_a_cluster_is_a_class(wine: Split) -> None:
    model = KMeans(3, n_init=2, random_state=0).fit(wine.train)

    manifest = converter.convert(model, sample=wine.held).manifest

    assert (manifest.task, manifest.labels) == ("classify", ("0", "1", "2"))


def test_a_transformer_is_raw(wine: Split) -> None:
    artifact = converter.convert(PCA(2).fit(wine.train), sample=wine.held)

    assert artifact.manifest.task == "raw"
    assert artifact.manifest.parity is not None
    assert artifact.manifest.parity.max_difference < 1e-5


def test_without_a_sample_rows_are_made_up_and_the_report_says_so(columns_model: object) -> None:
    parity = converter.convert(columns_model).manifest.parity

    assert parity is not None
    assert (parity.source, parity.rows, parity.agreement) == ("generated", 256, 1.0)


def test_a_skops_file_needs_no_trust(forest: RandomForestClassifier, wine: Split, tmp_path: Path) -> None:
    skops.io.dump(forest, tmp_path / "wine.skops")

    manifest = converter.convert(tmp_path / "wine.skops", sample=wine.held).manifest

    assert manifest.name == "wine"
    assert manifest.provenance is not None
    assert len(manifest.provenance.source_sha256) == 64


def test_several_answers_a_row_are_refused(wine: Split) -> None:
    both = np.stack([wine.target == 0, wine.target == 1], axis=1).astype(int)

    apart = MultiOutputClassifier(LogisticRegression(max_iter=5000))
    for model, way_out in (
        (RandomForestClassifier(3), r"train one RandomForestClassifier for each column of y"),
        (apart, r"convert its 2 classifiers one by one \(estimators_\[0\]"),
        (make_pipeline(StandardScaler(), apart), r"one by one .* behind the steps before it"),
    ):
        with pytest.raises(UnsupportedError, match=f"several answers a row.*{way_out}"):
            converter.convert(model.fit(wine.train, both), sample=wine.held)


@pytest.mark.parametrize(
    ("model", "way_out"),
    [
        (OutputCodeClassifier(LogisticRegression(max_iter=5000), random_state=0), "use OneVsRestClassifier"),
        (RegressorChain(Ridge()), "use MultiOutputRegressor"),
    ],
    ids=["code words", "chain"],
)
def test_what_has_no_converter_is_refused_with_what_has(model: Any, way_out: str, wine: Split) -> None:
    target = wine.target if way_out.endswith("RestClassifier") else wine.train.to_numpy()[:, :2]

    with pytest.raises(UnsupportedError, match=way_out):
        converter.convert(model.fit(wine.train, target), sample=wine.held)


def test_an_estimator_that_was_never_trained_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="is not fitted; call fit"):
        converter.convert(LogisticRegression())


def test_tflite_is_refused_and_onnx_recommended(forest: RandomForestClassifier) -> None:
    with pytest.raises(UnsupportedError, match="convert to ONNX instead"):
        converter.convert(forest, target="tflite")


def test_float64_is_tried_where_float32_is_not_enough(diabetes: Split) -> None:
    model = GaussianProcessRegressor(alpha=1e-10, optimizer=None).fit(diabetes.train[:80] * 1e-4, diabetes.target[:80])

    artifact = converter.convert(model, sample=diabetes.train[:80] * 1e-4, tolerance=1e-4)

    assert artifact.manifest.inputs[0].dtype == "float64"
    assert "computed in float64, as the original does" in artifact.notes
