"""XGBoost to ONNX: the numbers of the file against those of the booster, on rows held back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from support.tables import Split, run, table

import converter
from converter.errors import UnrecognisedError, UnsupportedError

SMALL = {"n_estimators": 12, "max_depth": 4}

# Newer XGBoost tells of dart, gblinear and forests that they will go; what they are now is still refused or converted.
pytestmark = pytest.mark.filterwarnings("ignore:(?s).*deprecated")


def booster(parameters: dict[str, object], rows: object, target: object) -> xgboost.Booster:
    return xgboost.train(parameters, xgboost.DMatrix(rows, target), 12)


@pytest.mark.parametrize("kind", [xgboost.XGBClassifier, xgboost.XGBRFClassifier])
def test_a_classifier_gives_the_original_s_probabilities(kind: type, wine: Split, tmp_path: Path) -> None:
    model = kind(**SMALL).fit(wine.train, wine.target)

    path = converter.convert(model, sample=wine.train).save(tmp_path / "wine.onnx")

    outputs = run(path, table(path, wine.held))
    assert outputs["label"].tolist() == model.predict(wine.held).tolist()
    np.testing.assert_allclose(outputs["scores"], model.predict_proba(wine.held), atol=2e-6)


def test_two_classes_have_two_scores(cancer: Split, tmp_path: Path) -> None:
    model = xgboost.XGBClassifier(**SMALL).fit(cancer.train, cancer.target)

    path = converter.convert(model, sample=cancer.train).save(tmp_path / "cancer.onnx")

    np.testing.assert_allclose(
        run(path, table(path, cancer.held))["scores"], model.predict_proba(cancer.held), atol=2e-6
    )


@pytest.mark.parametrize(
    "objective",
    [
        "reg:squarederror",
        "reg:absoluteerror",
        "reg:gamma",
        "reg:tweedie",
        "count:poisson",
        "reg:pseudohubererror",
        "survival:cox",
    ],
)
def test_a_regressor_gives_the_original_s_numbers(objective: str, diabetes: Split, tmp_path: Path) -> None:
    model = xgboost.XGBRegressor(objective=objective, **SMALL).fit(diabetes.train, diabetes.target)

    path = converter.convert(model, sample=diabetes.train).save(tmp_path / "diabetes.onnx")

    got = run(path, table(path, diabetes.held))["value"].ravel()
    np.testing.assert_allclose(got, model.predict(diabetes.held), rtol=1e-4)


def test_the_sigmoid_of_reg_logistic_is_there(diabetes: Split, tmp_path: Path) -> None:
    share = diabetes.target / 400
    model = xgboost.XGBRegressor(objective="reg:logistic", **SMALL).fit(diabetes.train, share)

    path = converter.convert(model, sample=diabetes.train).save(tmp_path / "share.onnx")

    got = run(path, table(path, diabetes.held))["value"].ravel()
    np.testing.assert_allclose(got, model.predict(diabetes.held), atol=2e-6)


def test_a_booster_of_classes_gives_probabilities(wine: Split, tmp_path: Path) -> None:
    hard = booster({"objective": "multi:softmax", "num_class": 3}, wine.train, wine.target)

    path = converter.convert(hard, sample=wine.train).save(tmp_path / "hard.onnx")

    outputs = run(path, table(path, wine.held))
    assert outputs["label"].tolist() == hard.predict(xgboost.DMatrix(wine.held)).astype(int).tolist()
    np.testing.assert_allclose(outputs["scores"].sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("suffix", ["json", "ubj"])
def test_a_model_file_is_read(suffix: str, cancer: Split, tmp_path: Path) -> None:
    model = booster({"objective": "binary:logistic"}, cancer.train, cancer.target)
    model.save_model(tmp_path / f"cancer.{suffix}")

    artifact = converter.convert(tmp_path / f"cancer.{suffix}", sample=cancer.held)

    assert [f.name for f in artifact.manifest.features] == list(cancer.train.columns)
    path = artifact.save(tmp_path / "cancer.onnx")
    got = run(path, table(path, cancer.held))["scores"][:, 1]
    np.testing.assert_allclose(got, model.predict(xgboost.DMatrix(cancer.held)), atol=2e-6)


def test_early_stopping_counts_as_in_the_original(cancer: Split, tmp_path: Path) -> None:
    model = xgboost.XGBClassifier(n_estimators=120, early_stopping_rounds=3)
    model.fit(cancer.train[:250], cancer.target[:250], eval_set=[(cancer.train[250:], cancer.target[250:])], verbose=0)
    assert model.best_iteration < 119

    path = converter.convert(model, sample=cancer.train).save(tmp_path / "early.onnx")

    np.testing.assert_allclose(
        run(path, table(path, cancer.held))["scores"], model.predict_proba(cancer.held), atol=2e-6
    )


def test_missing_values_go_the_original_s_way(cancer: Split, tmp_path: Path) -> None:
    model = xgboost.XGBClassifier(**SMALL).fit(cancer.train, cancer.target)
    holes = cancer.held.mask(np.random.default_rng(0).random(cancer.held.shape) < 0.3)

    artifact = converter.convert(model, sample=holes)

    assert all(f.missing for f in artifact.manifest.features)
    path = artifact.save(tmp_path / "holes.onnx")
    np.testing.assert_allclose(run(path, table(path, holes))["scores"], model.predict_proba(holes), atol=2e-6)


def test_a_booster_in_a_pipeline_keeps_its_branches(wine: Split, tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), xgboost.XGBClassifier(**SMALL)).fit(wine.train, wine.target)

    path = converter.convert(model, sample=wine.train).save(tmp_path / "pipeline.onnx")

    np.testing.assert_allclose(run(path, table(path, wine.held))["scores"], model.predict_proba(wine.held), atol=2e-6)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"booster": "dart", "rate_drop": 0.3}, "dart"),
        ({"booster": "gblinear"}, "gblinear"),
        ({"booster": "gblinear", "objective": "reg:squarederror"}, "train a linear model of scikit-learn"),
        ({"objective": "binary:logitraw"}, "gives margins, .*; train with 'binary:logistic'"),
    ],
)
def test_what_comes_out_wrong_is_refused(parameters: dict[str, object], reason: str, cancer: Split) -> None:
    model = booster({"objective": "binary:logistic", **parameters}, cancer.train, cancer.target)

    with pytest.raises(UnsupportedError, match=reason):
        converter.convert(model, sample=cancer.held)


@pytest.mark.parametrize("objective", ["rank:pairwise", "rank:ndcg", "rank:map"])
def test_a_ranker_gives_the_score_of_each_row_alone(objective: str, diabetes: Split, tmp_path: Path) -> None:
    relevance = diabetes.target > 150 if objective == "rank:map" else diabetes.target.astype(int) % 5
    model = xgboost.XGBRanker(objective=objective, **SMALL)
    model.fit(diabetes.train, relevance, qid=np.arange(len(diabetes.train)) // 50)

    artifact = converter.convert(model, sample=diabetes.train)

    assert any("orders the rows of one group" in note for note in artifact.notes)
    path = artifact.save(tmp_path / "ranker.onnx")
    got = run(path, table(path, diabetes.held))["value"].ravel()
    np.testing.assert_allclose(got, model.predict(diabetes.held), atol=1e-5)


def test_a_survival_time_keeps_its_exponent(diabetes: Split, tmp_path: Path) -> None:
    data = xgboost.DMatrix(diabetes.train)
    data.set_float_info("label_lower_bound", diabetes.target)
    data.set_float_info("label_upper_bound", np.where(diabetes.target > 200, np.inf, diabetes.target))
    model = xgboost.train({"objective": "survival:aft", "max_depth": 4}, data, 12)

    path = converter.convert(model, sample=diabetes.train).save(tmp_path / "time.onnx")

    got = run(path, table(path, diabetes.held))["value"].ravel()
    np.testing.assert_allclose(got, model.predict(xgboost.DMatrix(diabetes.held)), rtol=1e-4)


def test_a_ranker_inside_a_pipeline_says_the_way_out(diabetes: Split) -> None:
    steps = make_pipeline(StandardScaler(), xgboost.XGBRanker(**SMALL))
    steps.fit(diabetes.train, diabetes.target.astype(int) % 5, xgbranker__qid=np.arange(len(diabetes.train)) // 50)

    with pytest.raises(UnsupportedError, match="inside a pipeline it has no converter; convert it alone"):
        converter.convert(steps, sample=diabetes.train)


def test_dart_is_refused_inside_a_pipeline_too(cancer: Split) -> None:
    model = make_pipeline(StandardScaler(), xgboost.XGBClassifier(booster="dart", rate_drop=0.3, **SMALL))

    with pytest.raises(UnsupportedError, match="dart"):
        converter.convert(model.fit(cancer.train, cancer.target), sample=cancer.held)


@pytest.mark.parametrize("trees", [1, 3], ids=["trees", "forests"])
@pytest.mark.parametrize("several", ["quantiles", "targets"])
def test_several_quantiles_and_targets_are_several_numbers(
    several: str, trees: int, diabetes: Split, tmp_path: Path
) -> None:
    objective = {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.5, 0.9]} if several == "quantiles" else {}
    model = xgboost.XGBRegressor(num_parallel_tree=trees, subsample=0.8, **objective, **SMALL)
    target = diabetes.target if objective else np.stack([diabetes.target, -diabetes.target, diabetes.target**2], axis=1)
    model.fit(diabetes.train, target)

    artifact = converter.convert(model, sample=diabetes.train)

    names = ("q0.1", "q0.5", "q0.9") if objective else ("value0", "value1", "value2")
    assert artifact.manifest.outputs[0].names == names
    path = artifact.save(tmp_path / "several.onnx")
    np.testing.assert_allclose(
        run(path, table(path, diabetes.held))["value"], model.predict(diabetes.held), rtol=1e-4, atol=1e-3
    )


def test_quantiles_that_cross_are_what_the_installed_release_makes_of_them(diabetes: Split, tmp_path: Path) -> None:
    model = xgboost.XGBRegressor(
        objective="reg:quantileerror", quantile_alpha=[0.1, 0.5, 0.9], n_estimators=40, max_depth=5, subsample=0.8
    )
    model.fit(diabetes.train, diabetes.target)
    rows = np.random.default_rng(0).uniform(-0.4, 0.4, (2000, 10))
    sums = model.get_booster().predict(
        xgboost.DMatrix(rows, feature_names=list(diabetes.train.columns)), output_margin=True
    )
    assert (np.diff(sums) < 0).any()
    frame = pd.DataFrame(rows, columns=diabetes.train.columns)
    answers = model.predict(frame)

    artifact = converter.convert(model, sample=diabetes.train)

    path = artifact.save(tmp_path / "quantiles.onnx")
    np.testing.assert_allclose(run(path, table(path, frame))["value"], answers, rtol=1e-4, atol=1e-3)
    said = any("quantiles are sorted" in note for note in artifact.notes)
    assert said is not bool((np.diff(answers) < 0).any())


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [({"multi_strategy": "multi_output_tree"}, "multi_output_tree"), ({"objective": "reg:gamma"}, "several targets")],
)
def test_several_targets_that_cannot_be_told_apart_are_refused(
    parameters: dict[str, object], reason: str, diabetes: Split
) -> None:
    target = np.stack([diabetes.target] * 2, axis=1)
    model = xgboost.XGBRegressor(**parameters, **SMALL).fit(diabetes.train, target)

    with pytest.raises(UnsupportedError, match=reason):
        converter.convert(model, sample=diabetes.held)


def test_several_targets_inside_a_pipeline_are_refused(diabetes: Split) -> None:
    model = make_pipeline(StandardScaler(), xgboost.XGBRegressor(**SMALL))

    with pytest.raises(UnsupportedError, match="convert the booster alone"):
        converter.convert(model.fit(diabetes.train, np.stack([diabetes.target] * 2, axis=1)), sample=diabetes.held)


def test_another_value_for_missing_is_refused_inside_a_pipeline(diabetes: Split) -> None:
    model = make_pipeline(StandardScaler(), xgboost.XGBRegressor(missing=-999.0, **SMALL))

    with pytest.raises(UnsupportedError, match=r"missing=-999\.0, but in ONNX a missing value is NaN; train with"):
        converter.convert(model.fit(diabetes.train, diabetes.target), sample=diabetes.held)


def test_splits_by_category_are_refused(people: pd.DataFrame, buys: np.ndarray) -> None:
    rows = people[["age", "city"]].astype({"city": "category"})
    model = xgboost.XGBClassifier(enable_categorical=True, max_cat_to_onehot=1, **SMALL).fit(rows, buys == "yes")

    with pytest.raises(UnsupportedError, match=r"categorical splits .* have no counterpart in ONNX; encode the"):
        converter.convert(model)


def with_gaps(rows: np.ndarray, number: float) -> np.ndarray:
    made = rows.copy()
    made[np.random.default_rng(1).random(rows.shape) < 0.2] = number
    return made


def test_another_value_for_missing_takes_the_way_of_a_missing_value(cancer: Split, tmp_path: Path) -> None:
    rows = with_gaps(cancer.train, -999.0)
    model = xgboost.XGBClassifier(missing=-999.0, **SMALL).fit(rows, cancer.target)
    held = with_gaps(cancer.held, -999.0)

    path = converter.convert(model, sample=rows).save(tmp_path / "gaps.onnx")

    got = run(path, table(path, held))["scores"]
    np.testing.assert_allclose(got, model.predict_proba(held), atol=1e-5)


def test_a_file_that_has_lost_its_value_for_missing_is_suspected(cancer: Split, tmp_path: Path) -> None:
    rows = with_gaps(cancer.train, -999.0)
    xgboost.XGBClassifier(missing=-999.0, **SMALL).fit(rows, cancer.target).save_model(tmp_path / "model.json")

    unsaid = converter.convert(tmp_path / "model.json", sample=rows)
    said = converter.convert(tmp_path / "model.json", sample=rows, missing=-999.0)

    assert any("--missing -999" in note for note in unsaid.notes)
    assert not any("--missing" in note for note in said.notes)


@pytest.mark.parametrize("suffix", ["json", "ubj"])
def test_a_file_that_is_cut_short_is_named(suffix: str, wine: Split, tmp_path: Path) -> None:
    whole = tmp_path / f"whole.{suffix}"
    booster({"objective": "multi:softprob", "num_class": 3}, wine.train, wine.target).save_model(whole)
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])

    with pytest.raises(UnrecognisedError, match=rf"cut\.{suffix}") as refused:
        converter.convert(cut)
    assert "libxgboost.so" not in str(refused.value), "the reason, not the end of a stack trace"
