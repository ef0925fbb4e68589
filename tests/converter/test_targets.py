"""Targets that were transformed, categories encoded by several classes, and pipelines with samplers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pandas as pd
import pytest
import xgboost
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from support.tables import Split, run, table

import converter
from converter.errors import UnsupportedError


def of(regressor: Any, **target: Any) -> TransformedTargetRegressor:
    return TransformedTargetRegressor(regressor, check_inverse=False, **target)


TARGETS = {
    "logarithm": of(Ridge(), func=np.log, inverse_func=np.exp),
    "logarithm of one more": of(RandomForestRegressor(5, random_state=0), func=np.log1p, inverse_func=np.expm1),
    "root": of(Ridge(), func=np.sqrt, inverse_func=np.square),
    "square": of(RandomForestRegressor(5, random_state=0), func=np.square, inverse_func=np.sqrt),
    "standard": of(Ridge(), transformer=StandardScaler()),
    "range": of(Ridge(), transformer=MinMaxScaler((-1, 3))),
    "largest": of(Ridge(), transformer=MaxAbsScaler()),
    "robust": of(Ridge(), transformer=RobustScaler(with_centering=False)),
    "chain": of(Ridge(), transformer=make_pipeline(FunctionTransformer(np.log, np.exp), StandardScaler())),
    "pipeline inside": of(make_pipeline(StandardScaler(), Ridge()), func=np.log, inverse_func=np.exp),
    "pipeline around": make_pipeline(StandardScaler(), of(Ridge(), func=np.log, inverse_func=np.exp)),
    "search inside": of(GridSearchCV(Ridge(), {"alpha": [1.0, 2.0]}, cv=2), func=np.log, inverse_func=np.exp),
    "as it is": of(Ridge(), transformer=make_pipeline("passthrough", FunctionTransformer(), StandardScaler())),
    "search around": GridSearchCV(
        of(Ridge(), func=np.log, inverse_func=np.exp), {"regressor__alpha": [1.0, 2.0]}, cv=2
    ),
    "its own exponent too": of(HistGradientBoostingRegressor(loss="poisson", max_iter=5), transformer=MaxAbsScaler()),
}


@pytest.mark.parametrize("model", TARGETS.values(), ids=TARGETS)
def test_an_answer_is_turned_back(model: Any, diabetes: Split, tmp_path: Path) -> None:
    model.fit(diabetes.train, diabetes.target)

    path = converter.convert(model, sample=diabetes.train).save(tmp_path / "target.onnx")

    got = run(path, table(path, diabetes.held))["value"].ravel()
    np.testing.assert_allclose(got, model.predict(diabetes.held).ravel(), rtol=1e-4)


def test_several_answers_are_each_turned_back(diabetes: Split, tmp_path: Path) -> None:
    target = np.stack([diabetes.target, 1000 - 3 * diabetes.target], axis=1)
    model = of(Ridge(), transformer=StandardScaler()).fit(diabetes.train, target)

    path = converter.convert(model, sample=diabetes.train).save(tmp_path / "target.onnx")

    got = run(path, table(path, diabetes.held))["value"]
    np.testing.assert_allclose(got, model.predict(diabetes.held), rtol=1e-4)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (of(Ridge(), transformer=PowerTransformer()), "PowerTransformer"),
        (of(Ridge(), func=np.log, inverse_func=lambda value: np.exp(value) + 1), "<lambda>"),
    ],
)
def test_what_has_no_way_back_in_onnx_is_named(model: Any, named: str, diabetes: Split) -> None:
    with pytest.raises(UnsupportedError, match=rf"turns its answers back \({named}\)"):
        converter.convert(model.fit(diabetes.train, diabetes.target), sample=diabetes.held)


# --- categories encoded by several classes ----------------------------------------------------------------------


def columns_of(path: Path, rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Each column of the rows for the input of its name, in the type that this takes; a table where there is one."""
    specs = {spec.name: spec.type for spec in ort.InferenceSession(str(path)).get_inputs()}
    if set(specs) != set(rows.columns):
        return table(path, rows)
    dtypes = {"tensor(string)": object, "tensor(double)": np.float64, "tensor(float)": np.float32}
    return {name: rows[[name]].to_numpy().astype(dtypes[kind]) for name, kind in specs.items()}


@pytest.mark.parametrize("kind", ["text", "numbers", "both"])
def test_categories_have_a_share_for_each_of_several_classes(kind: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "place": random.choice(["a", "b", "c"], 400),
            "code": random.integers(0, 5, 400),
            "size": random.normal(size=400),
        }
    )
    target = (rows["code"] + rows["place"].map({"a": 0, "b": 1, "c": 2}) + random.integers(0, 2, 400)) % 3
    chosen = {"text": ["place"], "numbers": ["code"], "both": ["place", "code"]}[kind]
    encoders = [(name, TargetEncoder(), [name]) for name in chosen]
    columns = ColumnTransformer([*encoders, ("rest", "passthrough", ["size"])])
    model = make_pipeline(columns, LogisticRegression(max_iter=500)).fit(rows[[*chosen, "size"]], target)
    held = rows[[*chosen, "size"]].copy()
    if "place" in chosen:
        held.loc[:20, "place"] = "never seen"
    if "code" in chosen:
        held.loc[10:30, "code"] = 77

    path = converter.convert(model, sample=rows[[*chosen, "size"]]).save(tmp_path / "encoded.onnx")

    scores = run(path, columns_of(path, held))["scores"]
    np.testing.assert_allclose(scores, model.predict_proba(held), atol=1e-5)


# --- samplers -----------------------------------------------------------------------------------------------


class Sampler(BaseEstimator):
    """Acts in training alone, as those of imbalanced-learn."""

    def fit_resample(self, rows: Any, target: Any) -> Any:
        return rows, target

    def fit(self, rows: Any, target: Any) -> Sampler:
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True


class SamplingPipeline(Pipeline):
    """A pipeline of another library, whose samplers are passed over where it predicts."""

    def _without(self) -> Pipeline:
        return Pipeline([s for s in self.steps if not hasattr(s[1], "fit_resample")])

    def fit(self, rows: Any, target: Any, **_: Any) -> SamplingPipeline:
        self._without().fit(rows, target)
        return self

    def predict_proba(self, rows: Any, **_: Any) -> Any:
        return self._without().predict_proba(rows)


def sampling(*steps: Any) -> SamplingPipeline:
    return SamplingPipeline([(f"s{i}", step) for i, step in enumerate(steps)])


SAMPLED = {
    "between": lambda: sampling(StandardScaler(), Sampler(), LogisticRegression()),
    "first": lambda: sampling(Sampler(), StandardScaler(), LogisticRegression()),
    "nested": lambda: sampling(Sampler(), sampling(StandardScaler(), LogisticRegression())),
    "none": lambda: sampling(StandardScaler(), LogisticRegression()),
    "search": lambda: GridSearchCV(
        sampling(StandardScaler(), Sampler(), LogisticRegression()), {"s2__C": [0.5, 1.0]}, cv=2,
        scoring="neg_log_loss", error_score="raise",
    ),
}  # fmt: skip


@pytest.mark.parametrize("made", SAMPLED.values(), ids=SAMPLED)
def test_samplers_of_training_are_left_out(made: Any, cancer: Split, tmp_path: Path) -> None:
    model = made().fit(cancer.train, cancer.target)

    path = converter.convert(model, sample=cancer.held).save(tmp_path / "sampled.onnx")

    np.testing.assert_allclose(
        run(path, table(path, cancer.held))["scores"], model.predict_proba(cancer.held), atol=1e-5
    )


class BalancedForest(RandomForestClassifier):
    """As imbalanced-learn's ensembles: a class of that package, of which skl2onnx knows nothing."""

    __module__ = "imblearn.ensemble._forest"


def test_an_ensemble_of_imbalanced_learn_is_refused_with_what_to_take_instead(cancer: Split) -> None:
    model = BalancedForest(n_estimators=3).fit(cancer.train, cancer.target)
    with pytest.raises(UnsupportedError, match=r"BalancedForest has no counterpart .* class_weight='balanced'"):
        converter.convert(model, sample=cancer.held)


def test_an_xgboost_model_of_several_labels_is_refused_with_its_own_objective(cancer: Split) -> None:
    labels = np.stack([cancer.target, 1 - np.asarray(cancer.target)], axis=1)
    model = xgboost.XGBClassifier(n_estimators=2).fit(cancer.train, labels)
    with pytest.raises(UnsupportedError, match=r"several targets of 'binary:logistic' .* train one model for each"):
        converter.convert(model, sample=cancer.held)
