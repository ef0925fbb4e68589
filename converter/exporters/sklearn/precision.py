"""Arithmetic before trees: in float64, as scikit-learn does it, and to float32 only where the trees begin.

scikit-learn's own trees and XGBoost take float32, so the numbers are cast there, as they do it. Histogram
boosting and LightGBM compare in float64, and so do theirs in ONNX (see `exact_trees`).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from converter.exporters.sklearn import estimators

Precision = Literal["float32", "float64"]


def cast_before_trees(pipeline: Any) -> None:
    """Puts the step to float32 before the trees that end a pipeline and take such, in place."""
    steps = getattr(pipeline, "steps", None)
    if not isinstance(steps, list) or not _takes_float32(steps[-1][1]):
        return
    from skl2onnx.sklapi import CastTransformer

    step = CastTransformer(dtype=np.float32)
    pipeline.steps = [*steps[:-1], ("cast_before_trees", step), steps[-1]]


def _takes_float32(estimator: Any) -> bool:
    first = next(iter(np.ravel(np.asarray(getattr(estimator, "estimators_", ()), dtype=object))), None)
    return hasattr(estimator, "tree_") or hasattr(first, "tree_") or estimators.kind_of(estimator).startswith("XGB")


def _is_tree(estimator: Any) -> bool:
    return (
        _takes_float32(estimator)
        or bool(estimators.histogram_trees(estimator))
        or estimators.kind_of(estimator).startswith("LGBM")
    )


# What moves, fills or encodes values without arithmetic on them.
_NO_ARITHMETIC = {
    "SimpleImputer", "OneHotEncoder", "OrdinalEncoder", "ColumnTransformer", "Pipeline", "FunctionTransformer",
    "SelectKBest", "VarianceThreshold", "CountVectorizer",
}  # fmt: skip


# What compares numbers with edges of its own, in float64; an edge is often a value of the training rows.
_COMPARES = {"KBinsDiscretizer", "Binarizer", "BernoulliNB", "KNNImputer"}


def wants_float64(model: Any) -> bool:
    """True where something compares float64, or a pipeline computes with the features before a tree compares them."""
    parts = list(estimators.walk(model))
    if any((_is_tree(e) and not _takes_float32(e)) or estimators.kind_of(e) in _COMPARES for e in parts):
        return True
    for pipeline in estimators.walk(model):
        steps = [s for _, s in getattr(pipeline, "steps", ()) or () if s not in (None, "passthrough")]
        before = {estimators.kind_of(e) for s in steps[:-1] for e in estimators.walk(s)}
        if before - _NO_ARITHMETIC and any(_is_tree(e) for e in estimators.walk(steps[-1:])):
            return True
    return False
