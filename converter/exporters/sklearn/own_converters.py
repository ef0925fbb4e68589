"""Our own converters for estimators whose converter in skl2onnx is wrong, or has no float64.

Each is a function `(scope, operator, container)` as skl2onnx calls them, by the estimator's class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from converter.exporters.sklearn.precision import Precision
from converter.exporters.sklearn.quantiles import convert_quantiles
from edge.data.tensor import Array

Converter = Callable[[Any, Any, Any], None]


def converters(dtype: Precision) -> dict[Any, Converter]:
    """The converters for a precision, by class."""
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import Normalizer, OneHotEncoder, OrdinalEncoder, QuantileTransformer

    always: dict[Any, Converter] = {
        Normalizer: _convert_normalizer,
        OneHotEncoder: _convert_one_hot,
        QuantileTransformer: convert_quantiles,
    }
    return (
        always if dtype == "float32" else {**always, SimpleImputer: _convert_imputer, OrdinalEncoder: _convert_ordinal}
    )


def _convert_normalizer(scope: Any, operator: Any, container: Any) -> None:
    """Normalizer divides by the largest size, ONNX's operator by the largest number: wrong where there are signs."""
    from skl2onnx.common.data_types import guess_numpy_type
    from skl2onnx.operator_converters.common import concatenate_variables

    numbers = np.float64 if guess_numpy_type(operator.inputs[0].type) == np.float64 else np.float32
    values = concatenate_variables(scope, operator.inputs, container)
    name = scope.get_unique_variable_name
    norm, zero, one, none = name("norm"), name("zero"), name("one"), name("is_zero")
    if operator.raw_operator.norm == "max":
        sizes = name("sizes")
        container.add_node("Abs", values, sizes, op_version=13)
        container.add_node("ReduceMax", sizes, norm, op_version=13, axes=[1], keepdims=1)
    else:
        kind = {"l1": "ReduceL1", "l2": "ReduceL2"}[operator.raw_operator.norm]
        container.add_node(kind, values, norm, op_version=13, axes=[1], keepdims=1)
    elem_type = _elem_type(numbers)
    container.add_initializer(zero, elem_type, [], [0.0])
    container.add_initializer(one, elem_type, [], [1.0])
    container.add_node("Equal", [norm, zero], none, op_version=13)
    divisor = name("divisor")
    container.add_node("Where", [none, one, norm], divisor, op_version=9)
    container.add_node("Div", [values, divisor], operator.outputs[0].full_name, op_version=14)


def _convert_ordinal(scope: Any, operator: Any, container: Any) -> None:
    """OrdinalEncoder of numbers in float64: skl2onnx looks them up as float32 or whole numbers. Text goes its way."""
    from skl2onnx.common.data_types import guess_proto_type
    from skl2onnx.operator_converters.common import concatenate_variables
    from skl2onnx.operator_converters.ordinal_encoder import convert_sklearn_ordinal_encoder

    encoder = operator.raw_operator
    kinds = {np.asarray(c).dtype.kind for c in encoder.categories_}
    gaps = any(np.isnan(np.asarray(c, dtype=np.float64)).any() for c in encoder.categories_ if kinds <= set("biuf"))
    if not kinds <= set("biuf") or gaps or len(operator.inputs) > 1:
        convert_sklearn_ordinal_encoder(scope, operator, container)
        return
    values = concatenate_variables(scope, operator.inputs, container)
    columns = [_places(scope, container, values, i, c, encoder) for i, c in enumerate(encoder.categories_)]
    together = scope.get_unique_variable_name("together")
    container.add_node("Concat", columns, together, op_version=13, axis=1)
    # What stands behind it was chosen for the type that skl2onnx has declared.
    to = guess_proto_type(operator.outputs[0].type)
    container.add_node("Cast", together, operator.outputs[0].full_name, op_version=13, to=to)


def _places(scope: Any, container: Any, values: str, column: int, categories: Array, encoder: Any) -> str:
    """The name of [rows, 1]: the place of each value of a column among its categories."""
    name = scope.get_unique_variable_name
    place, known, value, equal, hot, match = (name(n) for n in ("place", "known", "value", "equal", "hot", "found"))
    container.add_initializer(place, 7, [1], [column])  # TensorProto.INT64
    container.add_initializer(known, 11, [1, len(categories)], np.asarray(categories, dtype=np.float64).tolist())
    container.add_node("Gather", [values, place], value, op_version=13, axis=1)
    container.add_node("Equal", [value, known], equal, op_version=13)
    container.add_node("Cast", equal, hot, op_version=13, to=11)
    unknown = float(encoder.unknown_value) if encoder.handle_unknown == "use_encoded_value" else 0.0
    weights, offset, product = name("weights"), name("offset"), name("product")
    container.add_initializer(weights, 11, [len(categories), 1], [i - unknown for i in range(len(categories))])
    container.add_initializer(offset, 11, [], [unknown])
    container.add_node("MatMul", [hot, weights], product, op_version=13)
    container.add_node("Add", [product, offset], match, op_version=14)
    return str(match)


def _convert_one_hot(scope: Any, operator: Any, container: Any) -> None:
    """OneHotEncoder of numbers that are not whole, which skl2onnx refuses. All others go its way."""
    from skl2onnx.common.data_types import guess_numpy_type, guess_proto_type
    from skl2onnx.operator_converters.common import concatenate_variables
    from skl2onnx.operator_converters.one_hot_encoder import convert_sklearn_one_hot_encoder

    encoder = operator.raw_operator
    known = [np.asarray(c) for c in encoder.categories_]
    plain = encoder.drop_idx_ is None and all(c.dtype.kind in "fiu" and np.isfinite(c).all() for c in known)
    whole = all(c.dtype.kind in "iu" or np.all(c == np.rint(c)) for c in known if c.dtype.kind in "fiu")
    if not plain or whole or len(operator.inputs) > 1:
        convert_sklearn_one_hot_encoder(scope, operator, container)
        return
    name = scope.get_unique_variable_name
    numbers = np.float64 if guess_numpy_type(operator.inputs[0].type) == np.float64 else np.float32
    values = concatenate_variables(scope, operator.inputs, container)
    hot: list[str] = []
    for column, categories in enumerate(known):
        place, these, value, equal = name("place"), name("known"), name("value"), name("equal")
        container.add_initializer(place, 7, [1], [column])  # TensorProto.INT64
        container.add_initializer(these, _elem_type(numbers), [1, len(categories)], categories.astype(numbers).tolist())
        container.add_node("Gather", [values, place], value, op_version=13, axis=1)
        container.add_node("Equal", [value, these], equal, op_version=13)
        hot.append(equal)
    together = name("together")
    container.add_node("Concat", hot, together, op_version=13, axis=1)
    to = guess_proto_type(operator.outputs[0].type)
    container.add_node("Cast", together, operator.outputs[0].full_name, op_version=13, to=to)


def _elem_type(numbers: Any) -> int:
    return 11 if numbers == np.float64 else 1  # TensorProto.DOUBLE, FLOAT


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
    container.add_initializer(
        fill, _elem_type(numbers), [1, len(imputer.statistics_)], imputer.statistics_.astype(numbers)
    )
    container.add_node("IsNaN", values, absent, op_version=13)
    container.add_node("Where", [absent, fill, values], operator.outputs[0].full_name, op_version=9)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and value != value
