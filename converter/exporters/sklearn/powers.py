"""Our own converter for PowerTransformer, in float64: skl2onnx has it in float32 only, where the powers cancel.

Yeo-Johnson and Box-Cox as scipy gives them (https://doi.org/10.1093/biomet/87.4.954 and Box and Cox, 1964).
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from converter.exporters.sklearn.nodes import BOOL, DOUBLE, Nodes
from edge.data.tensor import Array

_NEAR_ZERO = 1e-8
"""Of an exponent: below it the logarithm is nearer to (x^e - 1) / e than its numbers in float64."""


def shape(operator: Any) -> None:
    """The output's shape and type: skl2onnx declares float32 for float64 too."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    inputs = operator.inputs[0].type
    tensor = DoubleTensorType if isinstance(inputs, DoubleTensorType) else FloatTensorType
    operator.outputs[0].type = tensor([inputs.shape[0], len(operator.raw_operator.lambdas_)])


def convert(scope: Any, operator: Any, container: Any) -> None:
    """The converter, by skl2onnx's convention."""
    from skl2onnx.common.data_types import guess_proto_type
    from skl2onnx.operator_converters.common import concatenate_variables

    transformer, graph = operator.raw_operator, Nodes(scope, container)
    values = graph.node("Cast", concatenate_variables(scope, operator.inputs, container), to=DOUBLE)
    zero, lambdas = graph.constant(np.zeros(1)), np.asarray(transformer.lambdas_, np.float64)
    if transformer.method == "box-cox":
        positive = graph.node("Greater", [values, zero])
        known = graph.node("Where", [positive, values, graph.constant(np.full(1, np.nan))])  # it refuses the others
        powers = _power(graph, known, lambdas)
    else:
        one, below = graph.constant(np.ones(1)), graph.node("Less", [values, zero])
        above = graph.node("Add", [graph.node("Where", [below, zero, values]), one])
        depth = graph.node("Add", [graph.node("Where", [below, graph.node("Neg", values), zero]), one])
        powers = graph.node("Sub", [_power(graph, above, lambdas), _power(graph, depth, 2 - lambdas)])
    if transformer.standardize:
        mean, scale = _standard(transformer)
        powers = graph.node("Div", [graph.node("Sub", [powers, graph.constant(mean)]), graph.constant(scale)])
    graph.node("Cast", powers, operator.outputs[0].full_name, to=guess_proto_type(operator.outputs[0].type))


def _standard(transformer: Any) -> tuple[Array, Array]:
    """The mean and the deviation [columns] of the powers, which it keeps to itself: the powers of what it says is at
    0 and at 1 or -1. A power may be bounded on one side, and then some row of the training lies as far on the other.
    """
    bare = copy.deepcopy(transformer).set_params(standardize=False)
    at = np.array([[0.0], [1.0], [-1.0]]) * np.ones(len(transformer.lambdas_))
    with np.errstate(all="ignore"):
        mean, above, below = (bare.transform(row) for row in np.vsplit(transformer.inverse_transform(at), 3))
    return mean, np.where(np.isfinite(above), above - mean, mean - below)


def _power(graph: Nodes, base: str, exponents: Array) -> str:
    """(base^e - 1) / e of each column, which is the logarithm at e = 0; 0 at the base 1."""
    none = np.abs(exponents) < _NEAR_ZERO
    safe = graph.constant(np.where(none, 1.0, exponents))
    raised = graph.node("Sub", [graph.node("Pow", [base, safe]), graph.constant(np.ones(1))])
    raised = graph.node("Div", [raised, safe])
    if not none.any():
        return raised
    chosen = graph.node("Cast", graph.constant(none.astype(np.int64)), to=BOOL)
    return graph.node("Where", [chosen, graph.node("Log", base), raised])
