"""Files that hold an object of any framework: what cannot or must not be opened is named, with the way out."""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import skops.io
from catboost import CatBoostRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeRegressor

import converter
from converter.errors import UnrecognisedError, UnsafeError, UnsupportedError

RANDOM = np.random.default_rng(5)
ROWS = RANDOM.normal(size=(120, 3))


def test_a_file_of_another_framework_than_was_said_is_refused(tmp_path: Path) -> None:
    model = CatBoostRegressor(iterations=2, verbose=0, allow_writing_files=False).fit(ROWS, ROWS[:, 0])
    model.save_model(str(tmp_path / "m.cbm"))

    with pytest.raises(UnrecognisedError, match="holds no sklearn model; leave --framework out"):
        converter.convert(tmp_path / "m.cbm", framework="sklearn")


def test_a_skops_file_with_a_stranger_s_function_needs_trust(tmp_path: Path) -> None:
    model = make_pipeline(FunctionTransformer(Path.exists), LinearRegression())
    skops.io.dump(model, tmp_path / "m.skops")

    with pytest.raises(UnsafeError, match="may run code; --trust-pickle opens it all the same"):
        converter.convert(tmp_path / "m.skops")


def test_a_trusted_pickle_that_is_cut_short_is_named(tmp_path: Path) -> None:
    whole = pickle.dumps(LinearRegression().fit(ROWS, ROWS[:, 0]))
    (tmp_path / "m.pkl").write_bytes(whole[:-30])

    with pytest.raises(UnrecognisedError, match=r"m\.pkl"):
        converter.convert(tmp_path / "m.pkl", trust_pickle=True)


def test_a_pickle_of_a_library_that_is_not_here_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("faraway")
    kind = type("Model", (), {"__module__": "faraway"})
    module.Model = kind  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "faraway", module)
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(kind()))
    monkeypatch.delitem(sys.modules, "faraway")

    with pytest.raises(UnrecognisedError, match=r"needs the library 'faraway'.*or put its module on PYTHONPATH"):
        converter.convert(tmp_path / "m.pkl", framework="sklearn", trust_pickle=True)


def test_a_sample_without_a_whole_row_still_tells_what_may_be_missing() -> None:
    model = make_pipeline(SimpleImputer(), LinearRegression()).fit(ROWS, ROWS[:, 0])
    gaps = ROWS.copy()
    gaps[np.arange(120), np.arange(120) % 3] = np.nan

    artifact = converter.convert(model, sample=gaps)

    assert all(f.missing for f in artifact.manifest.features)
    assert artifact.manifest.parity.rows == 120


def test_a_wide_table_is_tried_as_a_whole() -> None:
    wide = RANDOM.normal(size=(90, 70))
    model = LinearRegression().fit(wide, wide[:, 0])

    artifact = converter.convert(model, sample=wide)

    assert not any(f.missing for f in artifact.manifest.features)


def test_gaps_are_filled_in_float64_before_trees() -> None:
    """Whole numbers that float32 does not hold, some of them missing."""
    large = 7_610_000_000_000 + 7 * RANDOM.integers(0, 20, (200, 1)).astype(float)
    gaps = np.where(RANDOM.random((200, 1)) < 0.2, np.nan, large)
    model = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), DecisionTreeRegressor(max_depth=6))
    model.fit(gaps, np.nan_to_num(large[:, 0]) % 5)

    artifact = converter.convert(model, sample=gaps)

    assert artifact.manifest.inputs[0].dtype == "float64"
    assert artifact.manifest.features[0].missing
    assert artifact.manifest.parity.max_difference < 1e-6


def test_texts_are_numbered_beside_large_numbers() -> None:
    texts = np.array([["b", "x"], ["a", "y"]] * 40, dtype=object)
    model = make_pipeline(OrdinalEncoder(), StandardScaler(), DecisionTreeRegressor()).fit(texts, np.arange(80.0) % 2)

    artifact = converter.convert(model, sample=texts)

    assert artifact.manifest.parity.max_difference < 1e-6


def test_a_threshold_on_margins_is_refused() -> None:
    model = FixedThresholdClassifier(SVC(), threshold=0.4, response_method="decision_function")
    inside = make_pipeline(StandardScaler(), FixedThresholdClassifier(LogisticRegression(), threshold=0.4))
    model.fit(ROWS, ROWS[:, 0] > 0)

    with pytest.raises(UnsupportedError, match="use response_method='predict_proba'"):
        converter.convert(model, sample=ROWS)
    assert converter.convert(inside.fit(ROWS, ROWS[:, 0] > 0), sample=ROWS).manifest.parity.passed
