"""Real tables, cut in rows to train on and rows held back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pandas as pd
import sklearn.datasets


@dataclass(frozen=True)
class Split:
    """Every third row is held back. `names` are the training targets as text."""

    train: pd.DataFrame
    target: np.ndarray
    held: pd.DataFrame
    truth: np.ndarray

    @property
    def names(self) -> np.ndarray:
        return np.array([f"class {t}" for t in self.target])

    @property
    def true_names(self) -> np.ndarray:
        return np.array([f"class {t}" for t in self.truth])


def split(name: str) -> Split:
    rows, target = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True, as_frame=True)
    held = np.arange(len(rows)) % 3 == 0
    values = target.to_numpy()
    return Split(rows[~held].reset_index(drop=True), values[~held], rows[held].reset_index(drop=True), values[held])


def run(path: Path, feed: dict[str, Any]) -> dict[str, np.ndarray]:
    """The outputs of an ONNX file, by ONNX Runtime itself."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def table(path: Path, rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """What goes into the only input of a table model."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    spec = session.get_inputs()[0]
    return {spec.name: rows.to_numpy().astype(np.float64 if "double" in spec.type else np.float32)}
