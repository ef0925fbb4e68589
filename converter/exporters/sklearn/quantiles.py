"""Our own converter for QuantileTransformer.

skl2onnx's takes minutes at 100 quantiles and does not end at 1000, scikit-learn's own number: it looks through the
nodes of its search once for every way that leads to each.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converter.exporters.sklearn.nodes import INT64, Nodes, numbers_of
from edge.data.tensor import Array


def convert_quantiles(scope: Any, operator: Any, container: Any) -> None:
    """A value between two quantiles lies on the line between their references; one that equals quantiles gets the
    middle of the first and the last reference of these, as scikit-learn's two interpolations give it."""
    from skl2onnx.operator_converters.common import concatenate_variables
    from skl2onnx.operator_converters.quantile_transformer import convert_quantile_transformer

    transformer = operator.raw_operator
    if transformer.output_distribution != "uniform":
        convert_quantile_transformer(scope, operator, container)  # says that it does not know it
        return
    numbers = numbers_of(operator.inputs[0])
    quantiles = np.asarray(transformer.quantiles_, dtype=numbers)
    graph = Nodes(scope, container)
    values = concatenate_variables(scope, operator.inputs, container)
    search = _Search(graph, values, quantiles)

    none, last = graph.constant(0), graph.constant(len(quantiles) - 1)
    reached = graph.node("Sub", [search.count("GreaterOrEqual"), graph.constant(1)])
    below = graph.node("Min", [graph.node("Max", [reached, none]), last])
    above = graph.node("Min", [search.count("Greater"), last])
    references = graph.constant(np.asarray(transformer.references_, dtype=numbers))
    share, end = (graph.node("Gather", [references, at]) for at in (below, above))
    rise = graph.node("Mul", [_along(graph, values, search.quantile(below), search.quantile(above), numbers),
                              graph.node("Sub", [end, share])])  # fmt: skip
    share = graph.node("Add", [share, rise])
    for edge, bound in ((quantiles[-1:], 1), (quantiles[:1], 0)):
        at_edge = graph.node("Equal", [values, graph.constant(edge)])
        share = graph.node("Where", [at_edge, graph.constant(np.full(1, bound, numbers)), share])
    missing = graph.node("IsNaN", [values])
    graph.node("Where", [missing, values, share], operator.outputs[0].full_name)


def _along(graph: Nodes, values: str, low: str, high: str, numbers: type) -> str:
    """How far each value is on its way from `low` to `high`; the middle where these are not in this order."""
    zero, half, one = (graph.constant(np.full(1, number, numbers)) for number in (0, 0.5, 1))
    width = graph.node("Sub", [high, low])
    between = graph.node("Greater", [width, zero])
    part = graph.node("Div", [graph.node("Sub", [values, low]), graph.node("Where", [between, width, one])])
    return graph.node("Where", [between, part, half])


class _Search:
    """Where values [rows, columns] stand among the quantiles [quantiles, columns] of their columns, found by halves."""

    def __init__(self, graph: Nodes, values: str, quantiles: Array) -> None:
        count, columns = quantiles.shape
        self._graph, self._values = graph, values
        self._doublings = count.bit_length()
        padded = np.full((columns, 2**self._doublings - 1), np.inf, dtype=quantiles.dtype)
        padded[:, :count] = quantiles.T
        self._table = graph.constant(padded.ravel())
        self._first = graph.constant(np.arange(columns).reshape(1, -1) * padded.shape[1])
        one = graph.constant(1)
        self._before_first = graph.node("Sub", [self._first, one])
        zeros = graph.node("Cast", [graph.node("IsNaN", [values])], to=INT64)
        self._zeros = graph.node("Mul", [zeros, graph.constant(0)])

    def count(self, comparison: str) -> str:
        """How many quantiles each value exceeds (Greater), or reaches (GreaterOrEqual)."""
        node, found = self._graph.node, self._zeros
        for power in reversed(range(self._doublings)):
            further = node("Add", [found, self._graph.constant(2**power)])
            probe = node("Gather", [self._table, node("Add", [further, self._before_first])])
            found = node("Where", [node(comparison, [self._values, probe]), further, found])
        return found

    def quantile(self, at: str) -> str:
        """The quantiles at such places."""
        return self._graph.node("Gather", [self._table, self._graph.node("Add", [self._first, at])])
