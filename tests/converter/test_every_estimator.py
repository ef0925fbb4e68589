"""Every estimator of scikit-learn: converted rightly, or refused with a reason; never a traceback, never a lie."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import onnxruntime
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils import all_estimators

import converter
from converter.rows import files
from converter.rows.tensors import feed
from edge.errors import EdgeError

RANDOM = np.random.default_rng(0)
ROWS, HELD = RANDOM.normal(size=(150, 4)), RANDOM.normal(size=(300, 4))
CLASSES = (ROWS[:, 0] + ROWS[:, 1] > 0).astype(int) + (ROWS[:, 2] > 1)
NUMBERS = ROWS[:, 0] * 2 + 5
SAMPLES = ((ROWS, HELD), (np.abs(ROWS), np.abs(HELD)), (ROWS[:, :1], HELD[:, :1]))


def fitted(name: str, kind: type) -> tuple[Any, np.ndarray, np.ndarray]:
    """A small one, the rows that it was trained on and others; skips one that needs more than rows and answers."""
    known = inspect.signature(kind).parameters
    small: dict[str, Any] = {"n_estimators": 8, "random_state": 0, "max_iter": 200}
    options = {n: v for n, v in small.items() if n in known}
    classifies = "Class" in name or name in ("RFE", "RFECV", "SelectFromModel", "SequentialFeatureSelector")
    inner = LogisticRegression() if classifies else Ridge()
    if "estimator" in known and known["estimator"].default is inspect.Parameter.empty:
        options["estimator"] = inner
    if "estimators" in known and known["estimators"].default is inspect.Parameter.empty:
        options["estimators"] = [("one", inner), ("two", inner)]
    for rows, others in SAMPLES:
        for target in (NUMBERS,) if "Regress" in name else (CLASSES, NUMBERS):
            try:
                return kind(**options).fit(rows, target), rows, others
            except (ValueError, TypeError, AttributeError, IndexError):
                continue
    pytest.skip(f"{name} is not fitted on plain rows")


@pytest.mark.long
@pytest.mark.parametrize(("name", "kind"), all_estimators(), ids=lambda v: v if isinstance(v, str) else "")
@pytest.mark.filterwarnings("ignore")
def test_an_estimator_is_converted_rightly_or_refused(name: str, kind: type) -> None:
    model, rows, others = fitted(name, kind)
    try:
        artifact = converter.convert(model, sample=rows[:100])
    except EdgeError:
        return
    try:
        wanted = artifact.reference(files.of(others))
    except EdgeError:
        return  # the original takes such rows no more than the device
    session = onnxruntime.InferenceSession(artifact.model)
    made = session.run(None, feed(files.of(others), artifact.manifest.inputs))
    got = dict(zip((o.name for o in session.get_outputs()), made, strict=True))
    for output, values in wanted.items():
        if output == "label":
            assert np.mean(np.array([str(v) for v in got[output].ravel()]) != values.astype(str)) < 0.004
        else:
            span = np.ptp(values) or 1.0
            assert np.max(np.abs(got[output].reshape(values.shape) - values)) / span < 1e-3
