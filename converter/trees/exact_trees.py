"""Thresholds of trees that compare in float64 (histogram boosting, LightGBM), through converters that know float32.

ONNX Runtime compares in float64 where the thresholds stand in a float64 tensor (`nodes_values_as_tensor`, ai.onnx.ml 3)
and the input is float64; skl2onnx and onnxmltools write float32 always, and a number that lies within float32's
rounding of a threshold takes the other branch (measured: 92.2 against 92.19999999999999, which is what the median of
many 92.2 comes to). So a copy of the model goes through the converter with a mark in place of each threshold, and
`restore` puts the threshold back: exact where the input is float64, rounded down to float32 where it is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converter.graph import graph
from edge.data.tensor import Array

EXACT = "trees compare in float64, as the original does: rows keep their branches"

# The marks are the float32 numbers from 2**100 on, one after the other: no real threshold is that large.
_FIRST = int(np.float32(2.0**100).view(np.int32))
_WEIGHTS = ("target_weights", "class_weights", "base_values")
_ML_OPSET = 3


def round_down(thresholds: Any) -> Array:
    """The largest float32 that is not above each float64 threshold, as float64.

    A tree asks x <= t. For an x that a float32 holds the answer stays the same; rounding t to nearest may put
    it above such an x that lay above t, and the row takes the other branch.
    """
    exact = np.asarray(thresholds, dtype=np.float64)
    with np.errstate(over="ignore"):
        nearest = exact.astype(np.float32)
    below = np.where(nearest.astype(np.float64) > exact, np.nextafter(nearest, np.float32(-np.inf)), nearest)
    return np.asarray(below.astype(np.float64))


class Marks:
    """The thresholds that were marked in one model, in order."""

    def __init__(self) -> None:
        self._exact: list[Array] = []
        self._left: list[Array] = []
        self._single: list[Array] = []
        self._count = 0

    def of(self, thresholds: Any, missing_left: Any = False, *, single: bool = False) -> Array:
        """A mark, as float64, for each threshold.

        `missing_left`: where a missing value takes the branch of the smaller numbers; `single`: it is float32 numbers
        that are compared.
        """
        exact = np.array(thresholds, dtype=np.float64).reshape(-1)  # a copy: the marks may take their place
        first = _FIRST + self._count
        self._exact.append(exact)
        self._left.append(np.broadcast_to(np.asarray(missing_left, dtype=bool), exact.shape))
        self._single.append(np.full(exact.shape, single))
        self._count += len(exact)
        return np.arange(first, first + len(exact), dtype=np.int32).view(np.float32).astype(np.float64)

    def missing_left(self, values: Array) -> Array:
        """Where float32 values are marks of thresholds at which a missing value takes the branch of smaller numbers."""
        return self._flags(values, self._left)

    def single(self, values: Array) -> bool:
        """True where the marks among float32 values are of thresholds that float32 numbers are compared with."""
        return bool(self._flags(values, self._single).any())

    def _flags(self, values: Array, kept: list[Array]) -> Array:
        places = values.view(np.int32).astype(np.int64) - _FIRST
        marked = (places >= 0) & (places < self._count)
        flags = np.zeros(values.shape, dtype=bool)
        if marked.any():
            flags[marked] = np.concatenate(kept)[places[marked]]
        return flags

    def exact(self, values: Array) -> tuple[Array, Array]:
        """The thresholds that float32 values stand for, and which of them are marks; the others stay as they are."""
        places = values.view(np.int32).astype(np.int64) - _FIRST
        marked = (places >= 0) & (places < self._count)
        exact = values.astype(np.float64)
        if marked.any():
            exact[marked] = np.concatenate(self._exact)[places[marked]]
        return exact, marked


def restore(model: Any, marks: Marks, *, widen: bool = False) -> None:
    """Puts the thresholds back in place of their marks, in place.

    Trees without marks take float32, so a float64 input is cast before them, as scikit-learn and XGBoost do it.
    `widen` makes float64 of what trees with a float64 input give: some converters count on it, others do not.
    """
    types = _types(model)
    double = graph.library().TensorProto.DOUBLE
    nodes: list[Any] = []
    any_wide = False
    for node in model.graph.node:
        if not node.op_type.startswith("TreeEnsemble"):
            nodes.append(node)
            continue
        wide = types.get(node.input[0]) == double
        any_wide |= wide
        marked = _rethresholded(node, marks, wide=wide)
        if wide and not marked:
            nodes.append(_cast(node.input[0], f"{node.output[0]}_narrow", graph.library().TensorProto.FLOAT))
            node.input[0] = nodes[-1].output[0]
        nodes.append(node)
        if wide and widen:
            name = node.output[-1]  # the scores of a classifier stand behind its label
            node.output[-1] = f"{name}_float32"
            nodes.append(_cast(node.output[-1], name, double))
    ordered = [type(n).FromString(n.SerializeToString()) for n in nodes]
    del model.graph.node[:]
    model.graph.node.extend(ordered)
    if any_wide:
        _raise_ml_opset(model)
    if any(i.type.tensor_type.elem_type == double for i in model.graph.input):
        _cast_outputs(model)


def _rethresholded(node: Any, marks: Marks, *, wide: bool) -> bool:
    """Whether the node had marks of float64 thresholds; thresholds are in place of all marks then."""
    found = next((a for a in node.attribute if a.name == "nodes_values"), None)
    if found is None:
        return False
    thresholds, marked = marks.exact(np.array(found.floats, dtype=np.float32))
    if not marked.any():
        return False
    values = np.array(found.floats, dtype=np.float32)
    for attribute in node.attribute:
        if attribute.name == "nodes_missing_value_tracks_true":
            attribute.ints[:] = np.where(marked, marks.missing_left(values), attribute.ints).astype(int).tolist()
    single = marks.single(values)
    if wide and not single:
        _in_float64(node, thresholds)
    else:
        found.floats[:] = round_down(thresholds)
    return not single


def _cast(source: str, result: str, to: int) -> Any:
    return graph.library().helper.make_node("Cast", [source], [result], name=f"cast_{result}", to=to)


def _types(model: Any) -> dict[str, int]:
    """The element type of every tensor that is known."""
    inferred = graph.library().shape_inference.infer_shapes(model).graph
    return {v.name: v.type.tensor_type.elem_type for v in (*inferred.value_info, *inferred.input, *inferred.output)}


def _cast_outputs(model: Any) -> None:
    """Casts the numbers that come out to what the file declares: converters guess it from what goes in."""
    types = graph.library().TensorProto
    for output in list(model.graph.output):
        declared = output.type.tensor_type.elem_type
        if declared in (types.FLOAT, types.DOUBLE):
            graph.append(model, "Cast", output.name, output.name, to=declared)


def _in_float64(node: Any, thresholds: Array) -> None:
    """Gives a tree node its numbers as float64 tensors: all of them, ONNX Runtime wants no mixture."""
    numpy_helper = graph.library().numpy_helper
    for attribute in list(node.attribute):
        if attribute.name == "nodes_hitrates":  # statistics only
            node.attribute.remove(attribute)
        elif attribute.name == "nodes_values" or (attribute.name in _WEIGHTS and attribute.floats):
            values = thresholds if attribute.name == "nodes_values" else np.array(attribute.floats, dtype=np.float64)
            node.attribute.remove(attribute)
            tensor = numpy_helper.from_array(values, attribute.name)
            node.attribute.append(graph.library().helper.make_attribute(f"{attribute.name}_as_tensor", tensor))


def _raise_ml_opset(model: Any) -> None:
    for entry in model.opset_import:
        if entry.domain == "ai.onnx.ml":
            entry.version = max(entry.version, _ML_OPSET)
