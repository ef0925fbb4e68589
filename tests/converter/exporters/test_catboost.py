"""CatBoost to ONNX: the numbers of the file against those of the model, on rows held back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier, CatBoostRegressor
from support.tables import Split, run, table

import converter
from converter.errors import UnrecognisedError, UnsupportedError

SMALL = {"iterations": 12, "verbose": 0, "allow_writing_files": False}


def test_a_classifier_gives_tensors_and_not_maps(wine: Split, tmp_path: Path) -> None:
    model = CatBoostClassifier(**SMALL).fit(wine.train, wine.names)

    path = converter.convert(model, sample=wine.train).save(tmp_path / "wine.onnx")

    outputs = run(path, table(path, wine.held))
    assert outputs["label"].tolist() == model.predict(wine.held).ravel().tolist()
    np.testing.assert_allclose(outputs["scores"], model.predict_proba(wine.held), atol=2e-6)


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


def test_categories_are_refused() -> None:
    rows = pd.DataFrame({"kind": ["x", "y"] * 30, "size": np.arange(60.0)})
    model = CatBoostClassifier(cat_features=["kind"], **SMALL).fit(rows, [0, 1] * 30)

    with pytest.raises(UnsupportedError, match="categorical features"):
        converter.convert(model)


def test_a_file_that_is_cut_short_is_named(wine: Split, tmp_path: Path) -> None:
    CatBoostClassifier(**SMALL).fit(wine.train, wine.target).save_model(str(tmp_path / "whole.cbm"))
    whole = (tmp_path / "whole.cbm").read_bytes()
    (tmp_path / "cut.cbm").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(UnrecognisedError, match=r"cut\.cbm: CatBoost cannot read it"):
        converter.convert(tmp_path / "cut.cbm")
