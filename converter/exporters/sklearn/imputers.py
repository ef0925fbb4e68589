"""Imputers of numbers: by one value a column, or by the nearest neighbours; and columns that say what was missing.

A gap is NaN, or the number that `missing_values` says. KNNImputer (`sklearn/impute/_knn.py`) takes the mean of the
nearest training rows that have the value, by the distance over the features that both rows have, times the share of
those. skl2onnx's converter of it has float32 alone, one set of neighbours for all columns, and refuses rows with gaps.

Each feature's part of the distance is summed up in turn, so that every device comes to the same sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converter.exporters.sklearn import linear_members
from converter.exporters.sklearn.nodes import BOOL, DOUBLE, Nodes, numbers_of
from edge.data.tensor import Array


def trained_rows(imputer: Any) -> Array:
    """float64 [rows, features], a gap as NaN: what a KNNImputer looks for neighbours among.

    scikit-learn has no public name for them, and skl2onnx goes by the same one.
    """
    rows = np.array(getattr(imputer, "_fit_X"), dtype=np.float64)  # noqa: B009
    return np.where(gaps_of(imputer, rows), np.nan, rows)


def gaps_of(imputer: Any, rows: Array) -> Array:
    """bool, of the shape of the rows: what is a gap to the imputer."""
    return np.asarray(np.isnan(rows)) if _is_nan(imputer.missing_values) else np.asarray(rows == imputer.missing_values)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and value != value


def _empty(imputer: Any) -> Array:
    """bool [features]: those that no training row had."""
    if hasattr(imputer, "statistics_"):
        return np.asarray(np.isnan(imputer.statistics_.astype(np.float64)))
    return np.asarray(np.isnan(trained_rows(imputer)).all(axis=0))


def kept(imputer: Any) -> Array:
    """The places of the features that come out."""
    return np.flatnonzero(~_empty(imputer) | imputer.keep_empty_features)


def _indicated(imputer: Any) -> Array:
    """The places of the features whose gaps are told in columns of their own, behind the others."""
    return np.asarray(imputer.indicator_.features_ if imputer.add_indicator else (), dtype=np.int64)


def is_of_numbers(operator: Any) -> bool:
    """Whether floating numbers come in: text and whole numbers go skl2onnx's way."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    return all(isinstance(i.type, (DoubleTensorType, FloatTensorType)) for i in operator.inputs)


def shape(operator: Any) -> None:
    """The shape calculator of both imputers, by skl2onnx's convention."""
    from skl2onnx.common._registration import get_shape_calculator

    if not is_of_numbers(operator):
        get_shape_calculator("SklearnImputer")(operator)
        return
    imputer = operator.raw_operator
    width = len(kept(imputer)) + len(_indicated(imputer))
    operator.outputs[0].type = operator.inputs[0].type.__class__([None, width])


def convert_simple(scope: Any, operator: Any, container: Any) -> None:
    """The converter of SimpleImputer, by skl2onnx's convention."""
    from skl2onnx.operator_converters.imputer_op import convert_sklearn_imputer

    if not is_of_numbers(operator):
        convert_sklearn_imputer(scope, operator, container)
        return
    imputer, graph = operator.raw_operator, Nodes(scope, container)
    values = linear_members.joined(scope, container, operator.inputs)
    gaps = _gaps(graph, operator, values)
    fill = np.nan_to_num(imputer.statistics_.astype(numbers_of(operator.inputs[0]))).reshape(1, -1)
    _give(graph, operator, graph.node("Where", [gaps, graph.constant(fill), values]), gaps)


def convert_neighbours(scope: Any, operator: Any, container: Any) -> None:
    """The converter of KNNImputer, likewise: in float64."""
    imputer, graph = operator.raw_operator, Nodes(scope, container)
    values = linear_members.joined(scope, container, operator.inputs)
    gaps = _gaps(graph, operator, values)
    known, rows = graph.node("Not", gaps), trained_rows(imputer)
    given = graph.node("Where", [gaps, graph.constant(np.zeros((1, 1))), graph.node("Cast", values, to=DOUBLE)])
    distances = _distances(graph, given, known, rows)
    columns = []
    for place in kept(imputer):
        own = graph.node("Gather", [given, graph.constant(np.array([place]))], axis=1)
        gap = graph.node("Gather", [gaps, graph.constant(np.array([place]))], axis=1)
        if np.isnan(rows[:, place]).all():  # one that is kept though no training row had it is 0, whatever is given
            columns.append(graph.node("Mul", [graph.node("Cast", gap, to=DOUBLE), graph.constant(np.zeros((1, 1)))]))
            continue
        columns.append(graph.node("Where", [gap, _of_neighbours(graph, imputer, distances, rows[:, place]), own]))
    _give(graph, operator, graph.node("Concat", columns, axis=1), gaps, of_all=False)


def _gaps(graph: Nodes, operator: Any, values: str) -> str:
    """The name of bool [rows, features]."""
    missing = operator.raw_operator.missing_values
    if _is_nan(missing):
        return graph.node("IsNaN", values)
    return graph.node("Equal", [values, graph.constant(np.full((), missing, dtype=numbers_of(operator.inputs[0])))])


def _give(graph: Nodes, operator: Any, filled: str, gaps: str, *, of_all: bool = True) -> None:
    """The output: what is filled of the features that come out, and the indicator behind them."""
    from skl2onnx.common.data_types import guess_proto_type

    imputer, kind = operator.raw_operator, guess_proto_type(operator.outputs[0].type)
    places, told = kept(imputer), _indicated(imputer)
    if of_all and len(places) < imputer.n_features_in_:
        filled = graph.node("Gather", [filled, graph.constant(places)], axis=1)
    parts = [graph.node("Cast", filled, to=kind)]
    if len(told):
        parts.append(graph.node("Cast", graph.node("Gather", [gaps, graph.constant(told)], axis=1), to=kind))
    graph.node("Concat", parts, operator.outputs[0].full_name, axis=1)


def _distances(graph: Nodes, given: str, known: str, rows: Array) -> str:
    """The name of [rows, training rows]: infinite where two rows have no feature in common."""
    has = ~np.isnan(rows)
    total = graph.constant(np.zeros((1, len(rows))))
    for place in np.flatnonzero(has.any(axis=0)):
        value = graph.node("Gather", [given, graph.constant(np.array([place]))], axis=1)
        apart = graph.node("Sub", [value, graph.constant(np.nan_to_num(rows[:, place]).reshape(1, -1))])
        here = graph.node("Gather", [known, graph.constant(np.array([place]))], axis=1)
        both = graph.node("Mul", [graph.node("Cast", here, to=DOUBLE), graph.constant(_as_row(has[:, place]))])
        total = graph.node("Add", [total, graph.node("Mul", [graph.node("Mul", [apart, apart]), both])])
    common = graph.node("MatMul", [graph.node("Cast", known, to=DOUBLE), graph.constant(has.T.astype(np.float64))])
    share = graph.node("Div", [total, graph.node("Max", [common, graph.constant(np.ones((1, 1)))])])
    scaled = graph.node("Mul", [share, graph.constant(np.full((1, 1), float(rows.shape[1])))])
    none = graph.node("Equal", [common, graph.constant(np.zeros((1, 1)))])
    return graph.node("Where", [none, graph.constant(np.full((1, 1), np.inf)), graph.node("Sqrt", scaled)])


def _as_row(chosen: Array) -> Array:
    return chosen.astype(np.float64).reshape(1, -1)


def _of_neighbours(graph: Nodes, imputer: Any, distances: str, values: Array) -> str:
    """The name of [rows, 1]: what the nearest rows that have the value answer, else the mean of all that have it."""
    donors = np.flatnonzero(~np.isnan(values))
    if len(donors) < len(values):
        distances = graph.node("Gather", [distances, graph.constant(donors)], axis=1)
    count = graph.constant(np.array([min(imputer.n_neighbors, len(donors))]))
    nearest, places = graph.nodes("TopK", [distances, count], 2, axis=1, largest=0, sorted=1)
    weights = graph.node("Cast", graph.node("Not", graph.node("IsInf", nearest)), to=DOUBLE)
    axis = graph.constant(np.array([1]))
    if imputer.weights == "distance":
        alike = graph.node("Cast", graph.node("Equal", [nearest, graph.constant(np.zeros((1, 1)))]), to=DOUBLE)
        is_alike = graph.node("Cast", graph.node("ReduceMax", alike, axes=[1], keepdims=1), to=BOOL)
        weights = graph.node("Where", [is_alike, alike, graph.node("Reciprocal", nearest)])
    answers = graph.node("Gather", [graph.constant(values[donors]), places], axis=0)
    weight = graph.node("ReduceSum", [weights, axis], keepdims=1)
    mean = graph.node(
        "Div", [graph.node("ReduceSum", [graph.node("Mul", [weights, answers]), axis], keepdims=1), weight]
    )
    none = graph.node("Equal", [weight, graph.constant(np.zeros((1, 1)))])
    return graph.node("Where", [none, graph.constant(np.full((1, 1), values[donors].mean())), mean])
