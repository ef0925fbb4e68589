"""Neighbours: which of those that are equally far, and their weights by distance.

Which of the training rows that are equally far is among the nearest hangs on the order in which they are looked for:
scikit-learn's own algorithms (`brute`, `kd_tree`, `ball_tree`) take others. So each such choice is right.

skl2onnx turns the sign of distances that are weights round, and cuts them off at 1e-6 afterwards, so that every
neighbour weighs alike. A row that is one of the training rows is at a distance of 0, where scikit-learn takes those
alone: a tiny bound in the place of 1e-6 does the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converter.exporters.sklearn import estimators
from converter.graph import graph
from edge.compare.answers import plain
from edge.data.tensor import Array, Tensors

NEAREST = 1e-30
"""Its reciprocal, times the neighbours, is a float32 too."""

OPEN = (
    "the model leaves open which of several training rows that are equally far is a neighbour; the file takes others "
    "than scikit-learn here does, and those are as right"
)
_EQUALLY_FAR = 1e-9
"""Of the distance: what float64 leaves of distances that were summed up in another order."""
_ROUNDING = 1e-4
"""Of the span of what neighbours answer: float32's share of a mean."""


def are_asked(model: Any) -> bool:
    """Whether neighbours end the model, and say what it answers."""
    last = estimators.last_step(model)
    return estimators.kind_of(last) in ("KNeighborsClassifier", "KNeighborsRegressor") and isinstance(last.weights, str)


def also_right(model: Any, frame: Any, answers: Tensors) -> Array:
    """bool [rows]: whether each answer is one that some choice among equally far neighbours gives.

    What the neighbours answer has no public name in scikit-learn; skl2onnx goes by the same one.
    """
    last = estimators.last_step(model)
    features = np.asarray(frame if model is last else model[:-1].transform(frame))
    own = np.asarray(getattr(last, "_y", ()))
    if not are_asked(model) or len(own) != last.n_samples_fit_:
        return np.zeros(len(features), dtype=bool)
    classifies = hasattr(last, "classes_")
    known = np.eye(len(last.classes_))[own] if classifies else own.reshape(len(own), -1)
    given = answers["scores" if classifies else "value"].astype(np.float64).reshape(len(features), -1)
    right = np.array([_may_be(last, features[i : i + 1], known, given[i]) for i in range(len(given))], dtype=bool)
    if classifies:
        classes = last.classes_.astype(np.int64) if last.classes_.dtype == bool else last.classes_
        named = np.array([[plain(c) for c in classes]]) == np.array([[plain(v)] for v in answers["label"].reshape(-1)])
        right &= np.any(named & (given >= given.max(axis=1, keepdims=True) - _ROUNDING), axis=1)
    return right


def _may_be(neighbours: Any, row: Array, known: Array, given: Array) -> bool:
    """Whether `given` [numbers] lies between the least and the most that equally far ones of `known` may make of it."""
    distances, places = (found[0] for found in neighbours.kneighbors(row, n_neighbors=len(known)))
    count = neighbours.n_neighbors
    border = distances[count - 1]
    tied = np.abs(distances - border) <= _EQUALLY_FAR * border
    nearer = ~tied & (distances < border)
    open_places = count - int(nearer.sum())
    # No choice, or a row that has no distance: a row of zeros by angle, where ONNX divides by 0.
    if tied.sum() == open_places or tied.all():
        return False
    weights = np.ones(len(distances))
    if neighbours.weights == "distance":
        weights = 1.0 / distances if distances[0] > 0 else (distances == 0).astype(np.float64)
    each = weights[:, None] * known[places]
    possible = np.sort(each[tied], axis=0)
    sure, whole = each[nearer].sum(axis=0), weights[:count].sum()
    low, high = sure + possible[:open_places].sum(axis=0), sure + possible[-open_places:].sum(axis=0)
    room = _ROUNDING * np.ptp(known, axis=0)
    return bool(np.all((given >= low / whole - room) & (given <= high / whole + room)))


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
