"""CatBoost to ONNX: the numbers of the file against those of the model, on rows held back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier, CatBoostRanker, CatBoostRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from support.tables import Split, run, table

import converter
import edge
from converter.errors import UnrecognisedError, UnsupportedError

SMALL = {"iterations": 12, "verbose": 0, "allow_writing_files": False}


def test_a_classifier_gives_tensors_and_not_maps(wine: Split, tmp_path: Path) -> None:
    model = CatBoostClassifier(**SMALL).fit(wine.train, wine.names)

    path = converter.convert(model, sample=wine.train).save(tmp_path / "wine.onnx")

    outputs = run(path, table(path, wine.held))
    assert outputs["label"].tolist() == model.predict(wine.held).ravel().tolist()
    np.testing.assert_allclose(outputs["scores"], model.predict_proba(wine.held), atol=2e-6)


def test_classes_that_are_judged_one_by_one_keep_their_scores(wine: Split, tmp_path: Path) -> None:
    """CatBoost writes a softmax over them, and their scores need not sum to one."""
    model = CatBoostClassifier(loss_function="MultiClassOneVsAll", **SMALL).fit(wine.train, wine.names)

    path = converter.convert(model, sample=wine.train).save(tmp_path / "wine.onnx")

    outputs = run(path, table(path, wine.held))
    wanted = model.predict_proba(wine.held)
    assert outputs["label"].tolist() == model.predict(wine.held).ravel().tolist()
    np.testing.assert_allclose(outputs["scores"], wanted, atol=2e-6)
    assert np.abs(wanted.sum(axis=1) - 1).max() > 0.01


@pytest.mark.parametrize("loss", ["RMSE", "MAE", "Poisson", "Tweedie:variance_power=1.5"])
def test_a_regressor_gives_the_original_s_numbers(loss: str, diabetes: Split, tmp_path: Path) -> None:
    model = CatBoostRegressor(loss_function=loss, **SMALL).fit(diabetes.train, diabetes.target)

    path = converter.convert(model, sample=diabetes.train).save(tmp_path / "diabetes.onnx")

    got = run(path, table(path, diabetes.held))["value"].ravel()
    np.testing.assert_allclose(got, model.predict(diabetes.held), rtol=1e-4)


@pytest.mark.parametrize("suffix", [True, False], ids=["with a sample", "without"])
def test_a_cbm_file_is_read(suffix: bool, cancer: Split, tmp_path: Path) -> None:
    model = CatBoostClassifier(**SMALL).fit(cancer.train, cancer.target)
    model.save_model(str(tmp_path / "cancer.cbm"))

    artifact = converter.convert(tmp_path / "cancer.cbm", sample=cancer.held if suffix else None)

    assert [f.name for f in artifact.manifest.features] == list(cancer.train.columns)
    path = artifact.save(tmp_path / "cancer.onnx")
    np.testing.assert_allclose(
        run(path, table(path, cancer.held))["scores"], model.predict_proba(cancer.held), atol=2e-6
    )


@pytest.mark.parametrize("saved", [True, False], ids=["file", "object"])
@pytest.mark.parametrize("kind", [bool, str])
def test_classes_false_and_true_keep_their_names(kind: type, saved: bool, cancer: Split, tmp_path: Path) -> None:
    truths = cancer.target.astype(bool).astype(object if kind is str else bool)
    model = CatBoostClassifier(**SMALL).fit(cancer.train, [str(t) for t in truths] if kind is str else truths)
    model.save_model(str(tmp_path / "cancer.cbm"))

    artifact = converter.convert(tmp_path / "cancer.cbm" if saved else model, sample=cancer.held)

    assert artifact.manifest.labels == ("False", "True")
    assert artifact.manifest.outputs[0].values == ("0", "1")
    path = artifact.save(tmp_path / "cancer.onnx")
    got = run(path, table(path, cancer.held))
    assert got["label"].ravel().tolist() == [int(str(v) == "True") for v in model.predict(cancer.held)]
    np.testing.assert_allclose(got["scores"], model.predict_proba(cancer.held), atol=2e-6)


@pytest.mark.parametrize("kind", [bool, int, str])
def test_a_threshold_that_its_owner_chose_is_kept(kind: type, cancer: Split, tmp_path: Path) -> None:
    truths = cancer.target.astype(bool).astype(object if kind is str else kind)
    model = CatBoostClassifier(**SMALL).fit(cancer.train, [str(t) for t in truths] if kind is str else truths)
    middle = float(np.median(model.predict_proba(cancer.held)[:, 1]))
    model.set_probability_threshold(middle)
    few = cancer.held[model.predict_proba(cancer.held)[:, 1] < 0.2]  # none of them lies between it and a half

    path = converter.convert(model, sample=few).save(tmp_path / "cancer.onnx")

    loaded = edge.load(path)
    told = [loaded.predict(row).predictions[0].label for row in cancer.held.to_numpy().tolist()]
    assert told == [str(v) for v in model.predict(cancer.held).ravel()]
    assert told.count(told[0]) < 0.6 * len(told)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"loss_function": "MultiQuantile:alpha=0.1,0.9"}, "train Quantile:alpha="),
        ({"loss_function": "RMSEWithUncertainty"}, "train with RMSE"),
        ({"grow_policy": "Lossguide"}, "train with SymmetricTree"),
        ({"loss_function": "MultiRMSE"}, "convert one model for each of them"),
    ],
    ids=lambda v: "" if isinstance(v, str) else next(iter(v.values())),
)
def test_what_catboost_cannot_write_says_the_way_out(options: dict[str, str], reason: str, diabetes: Split) -> None:
    several = options.get("loss_function") == "MultiRMSE"
    target = np.stack([diabetes.target] * 2, axis=1) if several else diabetes.target
    model = CatBoostRegressor(**options, **SMALL).fit(diabetes.train, target)

    with pytest.raises(UnsupportedError, match=reason):
        converter.convert(model, sample=diabetes.train)


def test_scaled_answers_and_classes_that_are_fractions_are_refused(diabetes: Split) -> None:
    scaled = CatBoostRegressor(**SMALL).fit(diabetes.train, diabetes.target)
    scaled.set_scale_and_bias(2.0, 1.0)
    halves = CatBoostClassifier(**SMALL).fit(diabetes.train, np.arange(len(diabetes.train)) % 2 + 0.5)

    with pytest.raises(UnsupportedError, match="a scale of 2 as ONNX; multiply the answers"):
        converter.convert(scaled, sample=diabetes.train)
    with pytest.raises(UnsupportedError, match="fractions as ONNX; train on text"):
        converter.convert(halves, sample=diabetes.train)


class _OwnObjective:
    def calc_ders_range(self, sums: list[float], targets: list[float], weights: object) -> list[tuple[float, float]]:
        return [(target - 1 / (1 + np.exp(-s)), -0.25) for s, target in zip(sums, targets, strict=True)]


@pytest.mark.filterwarnings("ignore")
def test_classes_by_an_objective_of_ones_own_are_refused(cancer: Split) -> None:
    model = CatBoostClassifier(loss_function=_OwnObjective(), eval_metric="Logloss", **SMALL)

    with pytest.raises(UnsupportedError, match=r"objective of the trainer's own .* train with Logloss"):
        converter.convert(model.fit(cancer.train, cancer.target), sample=cancer.held)


def test_categories_are_refused() -> None:
    rows = pd.DataFrame({"kind": ["x", "y"] * 30, "size": np.arange(60.0)})
    model = CatBoostClassifier(cat_features=["kind"], **SMALL).fit(rows, [0, 1] * 30)

    with pytest.raises(UnsupportedError, match="categorical features"):
        converter.convert(model)


@pytest.mark.parametrize("loss", ["YetiRank", "PairLogitPairwise", "QueryRMSE", "QuerySoftMax", "LambdaMart"])
def test_a_ranker_gives_the_score_of_each_row_alone(loss: str, diabetes: Split, tmp_path: Path) -> None:
    groups = np.sort(np.arange(len(diabetes.train)) % 9)
    relevance = diabetes.target.astype(int) % 5
    model = CatBoostRanker(loss_function=loss, **SMALL).fit(diabetes.train, relevance, group_id=groups)

    artifact = converter.convert(model, sample=diabetes.train)

    assert any("orders the rows of one group" in note for note in artifact.notes)
    path = artifact.save(tmp_path / "ranker.onnx")
    got = run(path, table(path, diabetes.held))["value"].ravel()
    np.testing.assert_allclose(got, model.predict(diabetes.held), atol=1e-5)


def test_a_model_without_training_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="the CatBoostClassifier is not fitted; call fit before saving it"):
        converter.convert(CatBoostClassifier(**SMALL))


def test_inside_a_pipeline_the_way_out_is_the_model_alone(wine: Split) -> None:
    model = make_pipeline(StandardScaler(), CatBoostClassifier(**SMALL)).fit(wine.train, wine.names)

    with pytest.raises(UnsupportedError, match="convert the CatBoost model alone, its steps done before"):
        converter.convert(model, sample=wine.train)


def test_a_file_that_is_cut_short_is_named(wine: Split, tmp_path: Path) -> None:
    CatBoostClassifier(**SMALL).fit(wine.train, wine.target).save_model(str(tmp_path / "whole.cbm"))
    whole = (tmp_path / "whole.cbm").read_bytes()
    (tmp_path / "cut.cbm").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(UnrecognisedError, match=r"cut\.cbm: CatBoost cannot read it"):
        converter.convert(tmp_path / "cut.cbm")
