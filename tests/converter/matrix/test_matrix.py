"""Framework x kind x target x precision: what edge-run answers is what the framework answers, on rows held back."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from support.matrix import CELLS, Cell, Subject, keras_subject, table_subject, tables, torch_subject

import converter
import edge

# Largest difference of probabilities or relative values, least share of rows with the same class, drop of quality.
LIMITS = {
    "none": (1e-4, 1.0, 1e-3), "fp16": (2e-2, 0.99, 1e-2), "dynamic": (0.2, 0.96, 2e-2), "int8": (0.3, 0.95, 3e-2),
}  # fmt: skip
NETWORKS = ("cnn", "lstm", "transformer", "words", "mlp", "binary")
TABLES = (
    "scikit-learn/logistic", "scikit-learn/forest", "scikit-learn/forest behind a scaler", "scikit-learn/boosting",
    "scikit-learn/svc", "scikit-learn/mlp", "scikit-learn/ridge", "xgboost/classifier", "xgboost/regressor",
    "lightgbm/classifier", "lightgbm/regressor", "catboost/classifier", "catboost/regressor",
)  # fmt: skip
# There is no way, and the converter says so: a kind, a target, a precision.
REFUSED = {
    ("torch", "cnn", "onnx", "dynamic"), ("keras", "cnn", "onnx", "dynamic"), ("keras", "lstm", "tflite", "int8"),
}  # fmt: skip
SERVED = 12


@cache
def subject(name: str) -> Subject:
    framework, kind = name.split("/")
    if framework == "torch":
        pytest.importorskip("torch")
        return torch_subject(kind)
    if framework == "keras":
        pytest.importorskip("keras")
        return keras_subject(kind)
    make, data = tables()[name]
    return table_subject(make, data)


def quality(scores: np.ndarray, one: Subject) -> float:
    if not one.classifies:
        spread = float(np.sum((one.truth - one.truth.mean()) ** 2))
        return 1.0 - float(np.sum((one.truth - scores[:, 0]) ** 2)) / spread
    return float(np.mean(classes(scores) == one.truth))


def classes(scores: np.ndarray) -> np.ndarray:
    return (scores[:, 0] > 0.5).astype(int) if scores.shape[1] == 1 else np.argmax(scores, axis=1)


def served(path: Path, one: Subject) -> np.ndarray:
    """The answers of edge-run's model to each row alone, as one row of probabilities or of one value each."""
    model = edge.load(path)
    part = model.manifest.inputs[0]
    rows = one.rows
    if part.kind == "image" and part.layout == "NHWC" and rows.shape[1] == 1:
        rows = np.moveaxis(rows, 1, -1)
    made = []
    for row in rows:
        predictions = model.predict(row if part.kind != "table" else row.tolist()).predictions
        if one.classifies:
            by_index = {p.index: p.score for p in predictions}
            made.append(by_index)
        else:
            made.append({0: predictions[0].value})
    width = one.answers.shape[1] if one.answers.shape[1] > 1 or not one.classifies else 2
    table = np.array([[m.get(i, np.nan) for i in range(width)] for m in made])
    return table[:, 1:] if one.classifies and one.answers.shape[1] == 1 else table


def check(name: str, target: str, quantize: str, tmp_path: Path) -> None:
    framework, kind = name.split("/")
    one = subject(name)
    artifact = converter.convert(
        one.model, target=target, sample=one.sample, expect=one.expect, quantize=quantize, name="cell"
    )
    path = artifact.save(tmp_path / f"cell.{target}")
    got = served(path, one)
    scale = 1.0 if one.classifies else float(np.max(np.abs(one.answers)))
    shown = ~np.isnan(got)
    difference = float(np.max(np.abs(got - one.answers)[shown])) / scale
    agreement = float(np.mean(classes(np.nan_to_num(got)) == classes(one.answers))) if one.classifies else None
    before, after = quality(one.answers, one), quality(np.nan_to_num(got), one)
    CELLS.append(Cell(framework, kind, target, quantize, difference, agreement, before, after, path.stat().st_size))
    most, least, drop = LIMITS[quantize]
    assert difference <= most
    assert agreement is None or agreement >= least
    assert after >= before - drop


@pytest.mark.parametrize("name", TABLES)
def test_tables(name: str, tmp_path: Path) -> None:
    check(name, "onnx", "none", tmp_path)


@pytest.mark.parametrize("quantize", ["none", "fp16", "dynamic", "int8"])
@pytest.mark.parametrize("target", ["onnx", "tflite"])
@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_networks(framework: str, kind: str, target: str, quantize: str, tmp_path: Path) -> None:
    if (framework, kind, target, quantize) in REFUSED:
        with pytest.raises((edge.errors.ConfigError, edge.errors.ModelError)):
            check(f"{framework}/{kind}", target, quantize, tmp_path)
        return
    check(f"{framework}/{kind}", target, quantize, tmp_path)
