"""Our own converters for estimators whose converter in skl2onnx is wrong, or has no float64.

Each is a function `(scope, operator, container)` as skl2onnx calls them, by the estimator's class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from converter.errors import UnsupportedError
from converter.exporters.sklearn import (
    calibration,
    estimators,
    imputers,
    linear_members,
    one_hot,
    powers,
    target_encoder,
)
from converter.exporters.sklearn.nodes import DOUBLE, INT64, Nodes, numbers_of
from converter.exporters.sklearn.precision import Precision
from converter.exporters.sklearn.quantiles import convert_quantiles
from edge.data.tensor import Array

Converter = Callable[[Any, Any, Any], None]

_SELECTIONS = (
    "GenericUnivariateSelect", "SelectFdr", "SelectFpr", "SelectFwe", "SelectKBest", "SelectPercentile",
    "VarianceThreshold",
)  # fmt: skip
"""Those that choose features and are asked nothing else; the others are made a VarianceThreshold (`stand_ins`)."""


def converters(dtype: Precision) -> dict[Any, Converter]:
    """The converters for a precision, by class."""
    from sklearn import feature_selection
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.impute import KNNImputer, SimpleImputer
    from sklearn.linear_model import SGDClassifier
    from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
    from sklearn.preprocessing import (
        Binarizer,
        KBinsDiscretizer,
        Normalizer,
        OneHotEncoder,
        OrdinalEncoder,
        PolynomialFeatures,
        PowerTransformer,
        QuantileTransformer,
        TargetEncoder,
    )

    always: dict[Any, Converter] = {
        **{getattr(feature_selection, kind): _convert_selection for kind in _SELECTIONS},
        Binarizer: _convert_binarizer,
        CalibratedClassifierCV: calibration.convert,
        KBinsDiscretizer: _convert_bins,
        KNNImputer: imputers.convert_neighbours,
        Normalizer: _convert_normalizer,
        OneHotEncoder: one_hot.convert,
        OneVsOneClassifier: linear_members.convert_one_vs_one,
        OneVsRestClassifier: linear_members.convert_one_vs_rest,
        PolynomialFeatures: _convert_polynomial,
        PowerTransformer: powers.convert,
        QuantileTransformer: convert_quantiles,
        SGDClassifier: linear_members.convert_sgd,
        SimpleImputer: imputers.convert_simple,
        TargetEncoder: target_encoder.convert,
    }
    return always if dtype == "float32" else {**always, OrdinalEncoder: _convert_ordinal}


def shapes() -> dict[Any, Callable[[Any], None]]:
    """What computes the shapes of their outputs, where skl2onnx's does not, by class."""
    from sklearn.impute import KNNImputer, SimpleImputer
    from sklearn.preprocessing import OneHotEncoder, PowerTransformer, TargetEncoder

    return {
        KNNImputer: imputers.shape, OneHotEncoder: one_hot.shape, PowerTransformer: powers.shape,
        SimpleImputer: imputers.shape, TargetEncoder: target_encoder.shape,
    }  # fmt: skip


def _convert_normalizer(scope: Any, operator: Any, container: Any) -> None:
    """Normalizer divides by the largest size, ONNX's operator by the largest number: wrong where there are signs."""
    from skl2onnx.operator_converters.common import concatenate_variables

    numbers = numbers_of(operator.inputs[0])
    values = concatenate_variables(scope, operator.inputs, container)
    graph = Nodes(scope, container)
    if operator.raw_operator.norm == "max":
        norm = graph.node("ReduceMax", graph.node("Abs", values), axes=[1], keepdims=1)
    else:
        kind = {"l1": "ReduceL1", "l2": "ReduceL2"}[operator.raw_operator.norm]
        norm = graph.node(kind, values, axes=[1], keepdims=1)
    is_zero = graph.node("Equal", [norm, graph.constant(np.zeros((), numbers))])
    divisor = graph.node("Where", [is_zero, graph.constant(np.ones((), numbers)), norm])
    graph.node("Div", [values, divisor], operator.outputs[0].full_name)


def _convert_selection(scope: Any, operator: Any, container: Any) -> None:
    """A choice of features: skl2onnx takes that of the first feature alone for none, and the file does not load."""
    chosen = operator.raw_operator.get_support(indices=True)
    if not len(chosen):
        raise UnsupportedError(
            f"{estimators.kind_of(operator.raw_operator)}: it selected no feature at all, so every row is answered "
            "alike; let it keep one"
        )
    graph = Nodes(scope, container)
    places = [operator.inputs[0].full_name, graph.constant(np.asarray(chosen, dtype=np.int64))]
    graph.node("Gather", places, operator.outputs[0].full_name, axis=1)


def _convert_binarizer(scope: Any, operator: Any, container: Any) -> None:
    """Binarizer in the numbers of its input: ONNX Runtime has its operator in float32 only."""
    from skl2onnx.common.data_types import guess_proto_type
    from skl2onnx.operator_converters.common import concatenate_variables

    numbers = numbers_of(operator.inputs[0])
    values = concatenate_variables(scope, operator.inputs, container)
    graph = Nodes(scope, container)
    border = graph.constant(np.full((), operator.raw_operator.threshold, dtype=numbers))
    above = graph.node("Greater", [values, border])
    graph.node("Cast", above, operator.outputs[0].full_name, to=guess_proto_type(operator.outputs[0].type))


def _convert_polynomial(scope: Any, operator: Any, container: Any) -> None:
    """PolynomialFeatures in the numbers of its input: beside float64 skl2onnx's column of ones is float32."""
    from skl2onnx.operator_converters.common import concatenate_variables

    values = concatenate_variables(scope, operator.inputs, container)
    graph = Nodes(scope, container)
    columns = []
    for each in operator.raw_operator.powers_:
        places = np.repeat(np.arange(len(each)), each) if each.any() else np.array([0])
        factors = graph.node("Gather", [values, graph.constant(places)], axis=1)
        if not each.any():
            factors = graph.node("Pow", [factors, graph.constant(np.zeros((), numbers_of(operator.inputs[0])))])
        columns.append(graph.node("ReduceProd", factors, axes=[1], keepdims=1))
    graph.node("Concat", columns, operator.outputs[0].full_name, axis=1)


def _convert_bins(scope: Any, operator: Any, container: Any) -> None:
    """KBinsDiscretizer with its edges as they are: skl2onnx rounds them to float32, and quantiles are often values."""
    from skl2onnx.common.data_types import guess_proto_type
    from skl2onnx.operator_converters.common import concatenate_variables

    bins = operator.raw_operator
    numbers = numbers_of(operator.inputs[0])
    values = concatenate_variables(scope, operator.inputs, container)
    graph = Nodes(scope, container)
    columns = []
    for column, edges in enumerate(bins.bin_edges_):
        value = graph.node("Gather", [values, graph.constant(np.array([column]))], axis=1)
        # The bin is the number of inner edges that are not above the value.
        inner = graph.constant(np.asarray(edges[1:-1], dtype=numbers).reshape(1, -1))
        reached = graph.node("Cast", graph.node("GreaterOrEqual", [value, inner]), to=INT64)
        place = graph.node("ReduceSum", [reached, graph.constant(np.array([1]))], keepdims=1)
        if bins.encode != "ordinal":
            each = np.arange(len(edges) - 1, dtype=np.int64).reshape(1, -1)
            place = graph.node("Equal", [place, graph.constant(each)])
        columns.append(graph.node("Cast", place, to=guess_proto_type(operator.outputs[0].type)))
    graph.node("Concat", columns, operator.outputs[0].full_name, axis=1)


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
    graph = Nodes(scope, container)
    columns = [_places(graph, values, i, np.asarray(c, np.float64), encoder) for i, c in enumerate(encoder.categories_)]
    # What stands behind it was chosen for the type that skl2onnx has declared.
    to = guess_proto_type(operator.outputs[0].type)
    graph.node("Cast", graph.node("Concat", columns, axis=1), operator.outputs[0].full_name, to=to)


def _places(graph: Nodes, values: str, column: int, categories: Array, encoder: Any) -> str:
    """The name of [rows, 1]: the place of each value of a column among its categories."""
    count = len(categories)
    hot = graph.node("Cast", _equal(graph, values, column, categories), to=DOUBLE)
    unknown = float(encoder.unknown_value) if encoder.handle_unknown == "use_encoded_value" else 0.0
    product = graph.node("MatMul", [hot, graph.constant(np.arange(count, dtype=np.float64).reshape(-1, 1) - unknown)])
    return graph.node("Add", [product, graph.constant(np.full((), unknown))])


def _equal(graph: Nodes, values: str, column: int, categories: Array) -> str:
    """The name of [rows, categories]: which of them a value of a column is."""
    value = graph.node("Gather", [values, graph.constant(np.array([column]))], axis=1)
    return graph.node("Equal", [value, graph.constant(categories.reshape(1, -1))])
