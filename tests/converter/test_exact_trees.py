"""Trees that compare in float64 answer as the original does, alone and inside of other models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from support.tables import Split, run, table
from xgboost import XGBClassifier

import converter
from converter.errors import UnsupportedError

BOOSTERS = [
    ("histogram", HistGradientBoostingClassifier(max_iter=6)),
    ("lightgbm", LGBMClassifier(n_estimators=6, verbose=-1, n_jobs=1)),
]
CLOSE = 1 + np.arange(200)[:, None] * 1e-10


@pytest.mark.parametrize(
    "model",
    [
        HistGradientBoostingRegressor(max_iter=20),
        make_pipeline(StandardScaler(), HistGradientBoostingRegressor(max_iter=20)),
        MultiOutputRegressor(HistGradientBoostingRegressor(max_iter=20)),
    ],
    ids=["alone", "behind a scaler", "several answers"],
)
def test_numbers_that_float32_cannot_tell_apart_are_told_apart(model: Any, tmp_path: Path) -> None:
    answers = (np.arange(200) > 99) * 5.0
    model.fit(CLOSE, np.stack([answers, -answers], axis=1) if isinstance(model, MultiOutputRegressor) else answers)

    path = converter.convert(model, sample=CLOSE).save(tmp_path / "close.onnx")

    wanted = model.predict(CLOSE)
    np.testing.assert_allclose(run(path, {"input": CLOSE})["value"].reshape(wanted.shape), wanted, rtol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        VotingClassifier([*BOOSTERS, ("forest", RandomForestClassifier(5, random_state=0))], voting="soft"),
        StackingClassifier(BOOSTERS, cv=2),
        CalibratedClassifierCV(HistGradientBoostingClassifier(max_iter=6), cv=2),
        CalibratedClassifierCV(XGBClassifier(n_estimators=6, n_jobs=1), cv=2),
    ],
    ids=["voting", "stacking", "calibrated histogram", "calibrated xgboost"],
)
def test_boosters_inside_of_other_models_answer_as_they_do(model: Any, cancer: Split, tmp_path: Path) -> None:
    model.fit(cancer.train, cancer.target)

    path = converter.convert(model, sample=cancer.train).save(tmp_path / "cancer.onnx")

    got = run(path, table(path, cancer.held))
    np.testing.assert_allclose(got["scores"], model.predict_proba(cancer.held), atol=2e-6)
    assert got["label"].tolist() == model.predict(cancer.held).tolist()


def test_a_refusal_reaches_a_booster_inside_of_a_calibrated_classifier() -> None:
    rows = pd.DataFrame({"kind": np.arange(200) % 7, "size": np.linspace(0, 1, 200)})
    inner = HistGradientBoostingClassifier(max_iter=3, categorical_features=[0])
    model = CalibratedClassifierCV(inner, cv=2).fit(rows, rows["kind"] > 3)

    with pytest.raises(UnsupportedError, match="categorical_features cannot be converted"):
        converter.convert(model, sample=rows)


@pytest.mark.parametrize(
    "model",
    [
        HistGradientBoostingClassifier(max_iter=10),
        HistGradientBoostingRegressor(max_iter=10),
        make_pipeline(StandardScaler(), HistGradientBoostingRegressor(max_iter=10)),
        LGBMClassifier(n_estimators=10, verbose=-1, n_jobs=1),
        LGBMRegressor(n_estimators=10, verbose=-1, n_jobs=1),
        LGBMRegressor(n_estimators=10, verbose=-1, n_jobs=1, use_missing=False),
        make_pipeline(StandardScaler(), LGBMRegressor(n_estimators=10, verbose=-1, n_jobs=1)),
    ],
    ids=["classes", "numbers", "behind a scaler", "lightgbm", "its numbers", "gaps as 0", "lightgbm behind a scaler"],
)
def test_trees_trained_with_gaps_answer_rows_that_have_some(model: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(300, 3))
    answers = rows[:, 0] - 2 * rows[:, 1]
    rows[rng.random(rows.shape) < 0.2] = np.nan
    classes = hasattr(model, "predict_proba")
    model.fit(rows, answers > 0 if classes else answers)

    artifact = converter.convert(model, sample=rows)

    assert all(f.missing for f in artifact.manifest.features)
    asked = np.concatenate((rows[:40], np.full((1, 3), np.nan)))
    got = run(artifact.save(tmp_path / "gaps.onnx"), {"input": asked})
    if classes:
        np.testing.assert_allclose(got["scores"], model.predict_proba(asked), atol=2e-6)
    else:
        np.testing.assert_allclose(got["value"].ravel(), model.predict(asked), atol=1e-5)
