"""Arithmetic before trees: in float64, as scikit-learn does it, and to float32 only where the trees begin.

scikit-learn's own trees and XGBoost take float32, so the numbers are cast there, as they do it. Histogram
boosting and LightGBM compare in float64, and so do theirs in ONNX (see `exact_trees`).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from converter.artifact import Artifact, Reference
from converter.exporters.sklearn import estimators

Precision = Literal["float32", "float64"]


def lost(rounded: Artifact, exact: Reference) -> tuple[str, ...]:
    """What to say where the original itself (`exact`) answers otherwise once its inputs are float32; else nothing."""
    if rounded.manifest.inputs[0].dtype == "float64":
        return ()
    before, after = exact(rounded.rows), rounded.reference(rounded.rows)
    differ = np.zeros(len(rounded.rows), dtype=bool)
    for name, values in before.items():
        same = values == after[name] if values.dtype == object else np.isclose(values, after[name], rtol=1e-5)
        differ |= ~same.reshape(len(differ), -1).all(axis=1)
    count = int(differ.sum())
    if not count:
        return ()
    return (
        f"the device feeds float32: {count} of {len(differ)} rows hold numbers so close to a threshold that the "
        "original itself answers otherwise for the float32 beside them",
    )


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
        or hasattr(estimator, "_predictors")
        or estimators.kind_of(estimator).startswith("LGBM")
    )


# What moves, fills or encodes values without arithmetic on them.
_NO_ARITHMETIC = {
    "SimpleImputer", "OneHotEncoder", "OrdinalEncoder", "ColumnTransformer", "Pipeline", "FunctionTransformer",
    "SelectKBest", "VarianceThreshold", "CountVectorizer",
}  # fmt: skip


def wants_float64(model: Any) -> bool:
    """True where a tree compares float64, or a pipeline computes with the features before a tree compares them."""
    if any(_is_tree(e) and not _takes_float32(e) for e in estimators.walk(model)):
        return True
    for pipeline in estimators.walk(model):
        steps = [s for _, s in getattr(pipeline, "steps", ()) or () if s not in (None, "passthrough")]
        before = {estimators.kind_of(e) for s in steps[:-1] for e in estimators.walk(s)}
        if before - _NO_ARITHMETIC and any(_is_tree(e) for e in estimators.walk(steps[-1:])):
            return True
    return False


def converters(dtype: Precision) -> dict[Any, Any]:
    """Our own converters, by class, for what skl2onnx's cannot do in this precision."""
    if dtype == "float32":
        return {}
    from sklearn.impute import SimpleImputer

    return {SimpleImputer: _convert_imputer}


def _convert_imputer(scope: Any, operator: Any, container: Any) -> None:
    """SimpleImputer in float64: ONNX Runtime has its Imputer in float32 only. Text goes skl2onnx's way."""
    from skl2onnx.common.data_types import StringTensorType, guess_numpy_type
    from skl2onnx.operator_converters.common import concatenate_variables
    from skl2onnx.operator_converters.imputer_op import convert_sklearn_imputer

    imputer = operator.raw_operator
    kind = operator.inputs[0].type
    if isinstance(kind, StringTensorType) or not _is_nan(imputer.missing_values):
        convert_sklearn_imputer(scope, operator, container)
        return
    numbers = guess_numpy_type(kind)
    values = concatenate_variables(scope, operator.inputs, container)
    absent, fill = scope.get_unique_variable_name("absent"), scope.get_unique_variable_name("fill")
    elem_type = 11 if numbers == np.float64 else 1  # TensorProto.DOUBLE, FLOAT
    container.add_initializer(fill, elem_type, [1, len(imputer.statistics_)], imputer.statistics_.astype(numbers))
    container.add_node("IsNaN", values, absent, op_version=13)
    container.add_node("Where", [absent, fill, values], operator.outputs[0].full_name, op_version=9)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and value != value
