"""Neighbours weighed by their distance, as scikit-learn weighs them: skl2onnx turns the distances' sign round.

It cuts them off at 1e-6 afterwards, so that every neighbour weighs alike. A row that is one of the training rows is at
a distance of 0, where scikit-learn takes those alone: a tiny bound in the place of 1e-6 does the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converter.graph import graph

NEAREST = 1e-30
"""Its reciprocal, times the neighbours, is a float32 too."""


def weigh_by_distance(model: Any) -> None:
    """Puts right the weights of neighbours in an ONNX model, in place: TopK, times -1, at least 1e-6, reciprocal."""
    makers = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        bound = makers.get(node.input[0]) if node.op_type == "Reciprocal" else None
        turned = makers.get(bound.input[0]) if bound is not None and bound.op_type == "Max" else None
        found = makers.get(turned.input[0]) if turned is not None and turned.op_type == "Mul" else None
        if bound is None or turned is None or found is None or found.op_type != "TopK":
            continue
        if _constant(model, turned.input[1]) == -1 and _constant(model, bound.input[1]) == np.float32(1e-6):
            bound.input[0] = turned.input[0]
            _replace(model, bound.input[1], NEAREST)
    graph.drop_dead_nodes(model)


def _constant(model: Any, name: str) -> np.float32 | None:
    tensor = next((i for i in model.graph.initializer if i.name == name), None)
    values = None if tensor is None else graph.library().numpy_helper.to_array(tensor)
    return np.float32(values.item()) if values is not None and values.size == 1 else None


def _replace(model: Any, name: str, value: float) -> None:
    helper = graph.library().numpy_helper
    tensor = next(i for i in model.graph.initializer if i.name == name)
    old = helper.to_array(tensor)
    tensor.CopyFrom(helper.from_array(np.full(old.shape, value, old.dtype), name))
