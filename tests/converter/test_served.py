"""What was converted is served: edge-run's own model gives the original's answers for rows held back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from support.tables import Split

import converter
import edge


def samples(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return rows.to_dict("records")


@pytest.mark.parametrize(
    "model", [RandomForestClassifier(10, random_state=0), make_pipeline(StandardScaler(), LogisticRegression())]
)
def test_a_table_is_classified_as_in_the_original(model: Any, wine: Split, tmp_path: Path) -> None:
    model.fit(wine.train, wine.names)
    served = edge.load(converter.convert(model, sample=wine.train).save(tmp_path / "wine.onnx"))

    firsts = [served.predict(s).predictions[0] for s in samples(wine.held)]

    assert [p.label for p in firsts] == model.predict(wine.held).tolist()
    np.testing.assert_allclose([p.score for p in firsts], model.predict_proba(wine.held).max(axis=1), atol=2e-6)


def test_columns_of_text_and_numbers_are_served(columns_model: Any, people: pd.DataFrame, tmp_path: Path) -> None:
    held = people[160:]
    served = edge.load(converter.convert(columns_model, sample=people[:160]).save(tmp_path / "people.onnx"))

    labels = [served.predict(s).predictions[0].label for s in samples(held)]

    assert labels == columns_model.predict(held).tolist()


def test_a_number_is_served(diabetes: Split, tmp_path: Path) -> None:
    model = HistGradientBoostingRegressor(max_iter=20).fit(diabetes.train, diabetes.target)
    served = edge.load(converter.convert(model, sample=diabetes.train).save(tmp_path / "diabetes.onnx"))

    values = [served.predict(s).predictions[0].value for s in samples(diabetes.held)]

    np.testing.assert_allclose(values, model.predict(diabetes.held), rtol=1e-5)
