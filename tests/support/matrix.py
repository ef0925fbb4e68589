"""The cells of the conversion matrix: frameworks, kinds, targets and precisions, and the table of what came out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from support.networks import TASKS, Task, keras_network, task, torch_answers, torch_network
from support.tables import split


@dataclass(frozen=True)
class Subject:
    """A trained model with rows held back; `answers` are the framework's own scores or values for them.

    `sample` and `expect` are of the rows it was trained on: what the converter sees, also to calibrate.
    """

    model: Any
    sample: np.ndarray
    expect: np.ndarray
    rows: np.ndarray
    truth: np.ndarray
    answers: np.ndarray
    classifies: bool


@dataclass(frozen=True)
class Cell:
    """What one conversion gave."""

    framework: str
    kind: str
    target: str
    quantize: str
    difference: float
    agreement: float | None
    before: float
    after: float
    size: int


CELLS: list[Cell] = []
SAMPLE = 300

HEAD = (
    "| framework | model | target | precision | largest difference | same class | quality before | after | bytes |\n"
    "|---|---|---|---|---|---|---|---|---|\n"
)
INTRODUCTION = (
    "# What converts, in numbers\n\n"
    "Every line was trained, converted with 300 of the training rows as `--sample`, and served by `edge-run`'s own "
    "code on rows held back from both (`tests/converter/matrix`, `make test-heavy MATRIX=...`).\n"
    "Differences are of probabilities, or of values over the largest one; quality is accuracy, or R squared for a "
    "regression.\n\n"
)


def as_markdown(cells: Sequence[Cell]) -> str:
    """The table, in the order of framework, kind, target, precision."""
    lines = []
    for c in sorted(cells, key=lambda c: (c.framework, c.kind, c.target, PRECISIONS.index(c.quantize))):
        agreement = "-" if c.agreement is None else f"{c.agreement:.2%}"
        lines.append(
            f"| {c.framework} | {c.kind} | {c.target} | {'float32' if c.quantize == 'none' else c.quantize} | "
            f"{c.difference:.1e} | {agreement} | {c.before:.4f} | {c.after:.4f} | {c.size:,} |"
        )
    return INTRODUCTION + HEAD + "\n".join(lines) + "\n"


PRECISIONS = ("none", "fp16", "dynamic", "int8", "auto")


def softmax(scores: np.ndarray) -> np.ndarray:
    """Probabilities of rows of scores."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def torch_subject(kind: str) -> Subject:
    data = task(TASKS[kind])
    scores = torch_answers(torch_network(kind), data.held)
    if kind == "binary":
        scores = 1 / (1 + np.exp(-scores))
    elif kind != "mlp":
        scores = softmax(scores)
    return _network_subject(kind, torch_network(kind), data, scores)


def keras_subject(kind: str) -> Subject:
    data = task(TASKS[kind], channels="last")
    scores = np.asarray(keras_network(kind).predict(data.held, verbose=0))
    return _network_subject(kind, keras_network(kind), data, scores)


def _network_subject(kind: str, model: Any, data: Task, scores: np.ndarray) -> Subject:
    sample, expect = data.train[:SAMPLE], _truth(kind, data.target[:SAMPLE])
    return Subject(model, sample, expect, data.held, _truth(kind, data.truth), scores, kind != "mlp")


def _truth(kind: str, truth: np.ndarray) -> np.ndarray:
    return truth / 100 if kind == "mlp" else truth


def table_subject(make: Callable[[], Any], data: str) -> Subject:
    """A scikit-learn-like model on a real table."""
    rows = split(data)
    model = make().fit(rows.train.to_numpy(), rows.target)
    held = rows.held.to_numpy()
    classifies = data != "diabetes"
    answers = model.predict_proba(held) if classifies else np.asarray(model.predict(held)).reshape(-1, 1)
    sample, expect = rows.train.to_numpy()[:SAMPLE], rows.target[:SAMPLE]
    return Subject(model, sample, expect, held, rows.truth, answers, classifies)


def tables() -> dict[str, tuple[Callable[[], Any], str]]:
    """Name of framework and kind to what makes the model and the table it learns."""
    from catboost import CatBoostClassifier, CatBoostRegressor
    from lightgbm import LGBMClassifier, LGBMRegressor
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC
    from xgboost import XGBClassifier, XGBRegressor

    quiet = {"verbose": 0, "allow_writing_files": False, "iterations": 20}
    return {
        "scikit-learn/logistic": (lambda: make_pipeline(StandardScaler(), LogisticRegression()), "breast_cancer"),
        "scikit-learn/forest": (lambda: RandomForestClassifier(20, random_state=0), "wine"),
        "scikit-learn/forest behind a scaler": (
            lambda: make_pipeline(StandardScaler(), RandomForestRegressor(10, random_state=0)), "diabetes"
        ),
        "scikit-learn/boosting": (lambda: HistGradientBoostingClassifier(max_iter=20), "breast_cancer"),
        "scikit-learn/svc": (lambda: make_pipeline(StandardScaler(), SVC(probability=True, random_state=0)), "wine"),
        "scikit-learn/mlp": (lambda: make_pipeline(StandardScaler(), MLPClassifier((16,), random_state=0)), "digits"),
        "scikit-learn/ridge": (Ridge, "diabetes"),
        "xgboost/classifier": (lambda: XGBClassifier(n_estimators=20, max_depth=4), "digits"),
        "xgboost/regressor": (lambda: XGBRegressor(n_estimators=20, max_depth=4), "diabetes"),
        "lightgbm/classifier": (lambda: LGBMClassifier(n_estimators=20, verbose=-1), "wine"),
        "lightgbm/regressor": (lambda: LGBMRegressor(n_estimators=20, verbose=-1), "diabetes"),
        "catboost/classifier": (lambda: CatBoostClassifier(**quiet), "wine"),
        "catboost/regressor": (lambda: CatBoostRegressor(**quiet), "diabetes"),
    }  # fmt: skip
