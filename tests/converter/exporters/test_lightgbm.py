"""LightGBM to ONNX: the numbers of the file against those of the booster, on rows held back."""

from __future__ import annotations

from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from support.tables import Split, run, table

import converter
from converter.errors import UnrecognisedError, UnsupportedError

SMALL = {"n_estimators": 12, "verbose": -1}
FOREST = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}


def booster(parameters: dict[str, object], rows: object, target: object) -> lightgbm.Booster:
    categories = parameters.get("categorical_feature", "auto")
    rest = {k: v for k, v in parameters.items() if k != "categorical_feature"}
    return lightgbm.train({"verbose": -1, **rest}, lightgbm.Dataset(rows, target, categorical_feature=categories), 12)


def test_a_classifier_gives_the_original_s_labels_and_probabilities(wine: Split, tmp_path: Path) -> None:
    model = lightgbm.LGBMClassifier(**SMALL).fit(wine.train, wine.names)

    artifact = converter.convert(model, sample=wine.train, expect=wine.names)

    assert artifact.manifest.labels == ("class 0", "class 1", "class 2")
    assert artifact.manifest.outputs[0].values == ("0", "1", "2")
    assert artifact.manifest.parity.accuracy_before == artifact.manifest.parity.accuracy_after > 0.9
    path = artifact.save(tmp_path / "wine.onnx")
    outputs = run(path, table(path, wine.held))
    assert [artifact.manifest.labels[i] for i in outputs["label"]] == model.predict(wine.held).tolist()
    np.testing.assert_allclose(outputs["scores"], model.predict_proba(wine.held), atol=2e-6)


@pytest.mark.parametrize(
    "parameters",
    [
        {"objective": "regression"}, {"objective": "regression_l1"}, {"objective": "huber"}, {"objective": "mape"},
        {"objective": "poisson"}, {"objective": "regression", "boosting": "dart"},
        {"objective": "regression", **FOREST},
    ],
    ids=lambda p: " ".join(map(str, p.values())),
)  # fmt: skip
def test_a_regressor_gives_the_original_s_numbers(
    parameters: dict[str, object], diabetes: Split, tmp_path: Path
) -> None:
    model = booster(parameters, diabetes.train, diabetes.target)

    path = converter.convert(model, sample=diabetes.train).save(tmp_path / "diabetes.onnx")

    got = run(path, table(path, diabetes.held))["value"].ravel()
    np.testing.assert_allclose(got, model.predict(diabetes.held), rtol=1e-5)


def _squares(truth: np.ndarray, guess: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return guess - truth, np.ones_like(guess)


def test_an_objective_of_the_trainer_s_own_gives_the_sum_that_lightgbm_gives(diabetes: Split, tmp_path: Path) -> None:
    model = lightgbm.LGBMRegressor(objective=_squares, **SMALL).fit(diabetes.train, diabetes.target)

    path = converter.convert(model, sample=diabetes.train).save(tmp_path / "diabetes.onnx")

    got = run(path, table(path, diabetes.held))["value"].ravel()
    np.testing.assert_allclose(got, model.predict(diabetes.held), rtol=1e-5)


def test_a_classifier_with_an_objective_of_its_own_is_refused(cancer: Split) -> None:
    model = lightgbm.LGBMClassifier(objective=_squares, **SMALL).fit(cancer.train, cancer.target)

    with pytest.raises(UnsupportedError, match="no class follows; train with 'binary'"):
        converter.convert(model, sample=cancer.train)


def test_an_objective_without_a_converter_names_its_like(diabetes: Split) -> None:
    model = booster({"objective": "cross_entropy_lambda"}, diabetes.train, diabetes.target / 400)

    with pytest.raises(UnsupportedError, match="train with 'cross_entropy'"):
        converter.convert(model, sample=diabetes.train)


def test_rows_that_float32_cannot_tell_apart_are_told_apart(tmp_path: Path) -> None:
    rows = 1 + np.arange(200)[:, None] * 1e-10
    model = booster({"objective": "regression"}, rows, np.arange(200) > 99)

    path = converter.convert(model, sample=rows).save(tmp_path / "close.onnx")

    np.testing.assert_allclose(run(path, {"input": rows})["value"].ravel(), model.predict(rows), rtol=1e-6)


def test_the_sigmoid_of_cross_entropy_is_there(diabetes: Split, tmp_path: Path) -> None:
    model = booster({"objective": "cross_entropy"}, diabetes.train, diabetes.target / 400)

    path = converter.convert(model, sample=diabetes.train).save(tmp_path / "share.onnx")

    got = run(path, table(path, diabetes.held))["value"].ravel()
    np.testing.assert_allclose(got, model.predict(diabetes.held), atol=1e-5)


def test_thresholds_are_compared_in_float64_and_the_report_says_so(tmp_path: Path) -> None:
    # Values a float32 holds, thresholds halfway between neighbours that it does not tell apart.
    random = np.random.default_rng(0)
    rows = (1 + random.integers(0, 4000, (4000, 3)) * np.finfo(np.float32).eps).astype(np.float32).astype(np.float64)
    model = booster({"objective": "regression", "min_data_in_leaf": 2}, rows, (rows - 1) @ [3e6, 2e6, 1e6])

    artifact = converter.convert(model, sample=rows)

    assert artifact.notes[0].startswith("trees compare in float64, as the original does")
    path = artifact.save(tmp_path / "thresholds.onnx")
    got = run(path, {"input": rows})["value"].ravel()
    np.testing.assert_allclose(got, model.predict(rows), rtol=1e-5)


@pytest.mark.parametrize("more", [{}, FOREST], ids=["gbdt", "rf"])
def test_a_txt_file_is_read(more: dict[str, object], cancer: Split, tmp_path: Path) -> None:
    model = booster({"objective": "binary", **more}, cancer.train, cancer.target)
    model.save_model(tmp_path / "cancer.txt")

    artifact = converter.convert(tmp_path / "cancer.txt", sample=cancer.held)

    assert [f.name for f in artifact.manifest.features] == list(cancer.train.columns), "spelt as in the sample"
    path = artifact.save(tmp_path / "cancer.onnx")
    np.testing.assert_allclose(
        run(path, table(path, cancer.held))["scores"][:, 1], model.predict(cancer.held), atol=2e-6
    )


def test_any_number_of_rows_may_run_at_once(cancer: Split, tmp_path: Path) -> None:
    import onnxruntime

    model = lightgbm.LGBMClassifier(**SMALL).fit(cancer.train, cancer.target)

    path = converter.convert(model, sample=cancer.held).save(tmp_path / "cancer.onnx")

    session = onnxruntime.InferenceSession(str(path))
    assert [o.shape[0] for o in session.get_outputs()] == [None, None]


def test_a_booster_in_a_pipeline_keeps_its_branches(wine: Split, tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), lightgbm.LGBMClassifier(**SMALL))
    model.fit(wine.train.to_numpy(), wine.names)

    path = converter.convert(model, sample=wine.train.to_numpy()).save(tmp_path / "pipeline.onnx")

    held = wine.held.to_numpy()
    outputs = run(path, table(path, wine.held))
    assert outputs["label"].tolist() == model[-1].predict(model[0].transform(held)).tolist()


def test_a_steeper_sigmoid_keeps_its_probabilities(cancer: Split, tmp_path: Path) -> None:
    model = booster({"objective": "binary", "sigmoid": 2.5}, cancer.train, cancer.target)

    path = converter.convert(model, sample=cancer.train).save(tmp_path / "steep.onnx")

    got = run(path, table(path, cancer.held))["scores"][:, 1]
    np.testing.assert_allclose(got, model.predict(cancer.held), atol=1e-5)


@pytest.mark.parametrize("objective", ["lambdarank", "rank_xendcg"])
def test_a_ranker_gives_the_score_of_each_row_alone(objective: str, diabetes: Split, tmp_path: Path) -> None:
    groups = [len(diabetes.train) // 2, len(diabetes.train) - len(diabetes.train) // 2]
    model = lightgbm.LGBMRanker(objective=objective, **SMALL)
    model.fit(diabetes.train, diabetes.target.astype(int) % 5, group=groups)

    artifact = converter.convert(model, sample=diabetes.train)

    assert any("orders the rows of one group" in note for note in artifact.notes)
    path = artifact.save(tmp_path / "ranker.onnx")
    got = run(path, table(path, diabetes.held))["value"].ravel()
    np.testing.assert_allclose(got, model.predict(diabetes.held), atol=1e-5)


def test_several_sums_of_an_objective_of_one_s_own_are_refused(wine: Split) -> None:
    def towards(scores: np.ndarray, data: lightgbm.Dataset) -> tuple[np.ndarray, np.ndarray]:
        wanted = np.eye(3)[data.get_label().astype(int)]
        return scores.reshape(wanted.shape, order="F") - wanted, np.ones_like(wanted)

    own = {"objective": towards, "num_class": 3, "verbose": -1}
    model = lightgbm.train(own, lightgbm.Dataset(wine.train, wine.target), 3)

    with pytest.raises(UnsupportedError, match="several sums a row, of which nobody knows what they mean; train with"):
        converter.convert(model, sample=wine.train)


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in a pipeline"])
def test_categories_of_pandas_are_refused(inside: bool, people: pd.DataFrame, buys: np.ndarray) -> None:
    rows = people[["age", "city"]].astype({"city": "category"})
    model = lightgbm.LGBMClassifier(**SMALL)
    model = make_pipeline("passthrough", model) if inside else model

    with pytest.raises(UnsupportedError, match="trained on pandas categories, which the device has not; encode them"):
        converter.convert(model.fit(rows, buys))


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"zero_as_missing": True}, "zero_as_missing"),
        ({"linear_tree": True, "objective": "regression"}, "linear_tree"),
        ({"objective": "regression", "reg_sqrt": True}, "reg_sqrt"),
        ({"objective": "multiclassova", "num_class": 2}, "multiclassova"),
        ({"categorical_feature": [0]}, "categorical splits"),
    ],
    ids=lambda p: next(iter(p)) if isinstance(p, dict) else "",
)
def test_what_comes_out_wrong_is_refused(parameters: dict[str, object], reason: str) -> None:
    random = np.random.default_rng(0)
    rows = np.column_stack([random.integers(0, 6, 400), random.normal(size=400) * random.integers(0, 2, 400)])
    target = ((rows[:, 0] % 2 == 0) ^ (rows[:, 1] > 0)).astype(int)
    model = booster({"objective": "binary", "min_data_in_leaf": 5, **parameters}, rows, target)

    with pytest.raises(UnsupportedError, match=reason):
        converter.convert(model, sample=rows)


def test_a_file_that_is_cut_short_is_named(wine: Split, tmp_path: Path) -> None:
    whole = booster({"objective": "multiclass", "num_class": 3}, wine.train, wine.target).model_to_string()
    (tmp_path / "cut.txt").write_text(whole[: len(whole) // 2])

    with pytest.raises(UnrecognisedError, match=r"cut\.txt: a LightGBM model that is cut short"):
        converter.convert(tmp_path / "cut.txt")
