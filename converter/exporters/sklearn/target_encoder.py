"""Our own converter for TargetEncoder where it was fitted on several classes, which skl2onnx refuses."""

from __future__ import annotations

from typing import Any

import numpy as np

from converter.exporters.sklearn.nodes import DOUBLE, FLOAT, Nodes, numbers_of
from edge.data.tensor import Array


def _several(encoder: Any) -> bool:
    return bool(encoder.target_type_ == "multiclass")


def shape(operator: Any) -> None:
    """The output's shape: a column for each class of each feature."""
    from skl2onnx.common.data_types import FloatTensorType
    from skl2onnx.shape_calculators.target_encoder import calculate_sklearn_target_encoder_output_shapes

    encoder = operator.raw_operator
    if not _several(encoder):
        calculate_sklearn_target_encoder_output_shapes(operator)
        return
    operator.outputs[0].type = FloatTensorType([operator.inputs[0].get_first_dimension(), len(encoder.encodings_)])


def convert(scope: Any, operator: Any, container: Any) -> None:
    """Each category has a share for each class; one that is not known has the shares of all rows."""
    from skl2onnx.common.data_types import StringTensorType
    from skl2onnx.operator_converters.common import concatenate_variables
    from skl2onnx.operator_converters.target_encoder import convert_sklearn_target_encoder

    encoder = operator.raw_operator
    if not _several(encoder):
        convert_sklearn_target_encoder(scope, operator, container)
        return
    is_text = isinstance(operator.inputs[0].type, StringTensorType)
    numbers = np.float32 if is_text else numbers_of(operator.inputs[0])
    graph = Nodes(scope, container)
    values = concatenate_variables(scope, operator.inputs, container)
    means = np.asarray(encoder.target_mean_, dtype=np.float64).reshape(1, -1)
    count = means.shape[1]
    columns = []
    for place, categories in enumerate(encoder.categories_):
        shares = np.stack(encoder.encodings_[place * count : (place + 1) * count], axis=1)
        column = graph.node("Gather", [values, graph.constant(np.array([place]))], axis=1)
        hot = hot_texts(graph, column, categories) if is_text else _hot_numbers(graph, column, categories, numbers)
        found = graph.node("MatMul", [hot, graph.constant((shares - means).astype(numbers))])
        columns.append(graph.node("Add", [found, graph.constant(means.astype(numbers))]))
    graph.node("Cast", graph.node("Concat", columns, axis=1), operator.outputs[0].full_name, to=FLOAT)


def hot_texts(graph: Nodes, column: str, categories: Array, zeros: int = 1) -> str:
    """[rows, categories]: 1 where a text is the category, else 0; one that is none is an error where `zeros` is 0."""
    hot = graph.node(
        "OneHotEncoder",
        column,
        op_domain="ai.onnx.ml",
        version=1,
        cats_strings=[str(c) for c in categories],
        zeros=zeros,
    )
    return graph.node("Reshape", [hot, graph.constant(np.array([-1, len(categories)]))])


def _hot_numbers(graph: Nodes, column: str, categories: Array, numbers: type) -> str:
    same = graph.node("Equal", [column, graph.constant(np.asarray(categories, numbers).reshape(1, -1))])
    return graph.node("Cast", same, to=DOUBLE if numbers is np.float64 else FLOAT)
