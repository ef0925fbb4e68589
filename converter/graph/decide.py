"""The label output of an ONNX classifier, decided anew from what its graph computes."""

from __future__ import annotations

from typing import Any

import numpy as np

from converter.graph import graph
from edge.data.tensor import Array


def by_threshold(model: Any, value: float, classes: Array, *, positive: int = 1, reached: bool = True) -> None:
    """Makes the label output the class at `positive`, one of two, from a probability of `value` on, in place.

    `classes`: [2], int64 or text, as the label output gives them; `reached` says whether `value` itself is enough.
    """
    helper = graph.library().helper
    kind = next(o for o in model.graph.output if o.name == "scores").type.tensor_type.elem_type
    numbers = np.float64 if kind == graph.library().TensorProto.DOUBLE else np.float32
    constant(model, "_place", np.array([positive], dtype=np.int64))
    constant(model, "_threshold", np.array(value, dtype=numbers))
    constant(model, "_positive", np.array(positive, dtype=np.int64))
    constant(model, "_negative", np.array(1 - positive, dtype=np.int64))
    nodes = [
        helper.make_node("Gather", ["scores", "_place"], ["_score"], axis=1),
        helper.make_node("Less" if reached else "LessOrEqual", ["_score", "_threshold"], ["_is_below"]),
        helper.make_node("Where", ["_is_below", "_negative", "_positive"], ["_column"]),
        helper.make_node("Reshape", ["_column", "_rows"], ["_index"]),
    ]
    constant(model, "_rows", np.array([-1], dtype=np.int64))
    label_from(model, nodes, "_index", classes)


def label_from(model: Any, nodes: list[Any], index: str, classes: Array) -> None:
    """Makes the label output the class at an index, [rows], that some new nodes compute, in place."""
    helper = graph.library().helper
    graph.rename_output(model, "label", "_label_of_operator")
    output = next(o for o in model.graph.output if o.name == "_label_of_operator")
    constant(model, "_classes", classes)
    model.graph.node.extend([*nodes, helper.make_node("Gather", ["_classes", index], ["label"], axis=0)])
    output.name = "label"
    output.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(classes.dtype)


def constant(model: Any, name: str, value: Array) -> None:
    """Adds a constant to the graph, in place."""
    model.graph.initializer.append(graph.library().numpy_helper.from_array(value, name))
