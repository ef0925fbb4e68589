"""Neighbours: which of those that are equally far, and their weights by distance.

Which of the training rows that are equally far is among the nearest hangs on the order in which they are looked for:
scikit-learn's own algorithms (`brute`, `kd_tree`, `ball_tree`) take others. So each such choice is right.

skl2onnx turns the sign of distances that are weights round, and cuts them off at 1e-6 afterwards, so that every
neighbour weighs alike. A row that is one of the training rows is at a distance of 0, where scikit-learn takes those
alone: a tiny bound in the place of 1e-6 does the same.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from converter.exporters.sklearn import estimators, imputers, targets
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
_SQUARES = 1e-14
"""Of the squared sizes: what KNNImputer's distances, of squares that are subtracted, leave of those."""
_ROUNDING = 1e-4
"""Of the span of what neighbours answer: float32's share of a mean."""


def are_asked(model: Any) -> bool:
    """Whether neighbours end the model, and say what it answers."""
    return _is_of_neighbours(estimators.last_step(model))


def asking(model: Any) -> list[Any]:
    """The parts of a model that ask for neighbours, so that a choice among the equally far may change its answer."""
    return [e for e in estimators.walk(model) if estimators.is_fitted(e) and (_is_of_neighbours(e) or _imputes(e))]


def _is_of_neighbours(estimator: Any) -> bool:
    kinds = ("KNeighborsClassifier", "KNeighborsRegressor")
    return estimators.kind_of(estimator) in kinds and isinstance(estimator.weights, str)


def _imputes(estimator: Any) -> bool:
    return estimators.kind_of(estimator) == "KNNImputer"


Alone = Callable[[Any], Callable[[Array], Tensors]]
"""What a part that is converted by itself answers to rows, by the name of the output."""


def as_in_a_file(model: Any, alone: Alone) -> Any:
    """A copy of the model whose parts that ask for neighbours choose among the equally far as a file does.

    An answer that no choice gives is not taken; nor is the last estimator changed, which `also_right` is for.
    """
    changed = copy.deepcopy(model)
    for part in asking(changed):
        if part is estimators.last_step(changed):
            continue
        chosen = _Chosen(copy.copy(part), alone)
        if _imputes(part):
            part.transform = chosen.transform
            continue
        part.predict = chosen.predict
        if hasattr(part, "classes_"):
            part.predict_proba = chosen.predict_proba
    return changed


class _Chosen:
    """What one part answers: as its file where that is a choice among the equally far, else as scikit-learn."""

    def __init__(self, part: Any, alone: Alone) -> None:
        self._part, self._alone = part, alone

    @cached_property
    def _file(self) -> Callable[[Array], Tensors]:
        return self._alone(self._part)

    def transform(self, frame: Any) -> Array:
        rows, own = np.asarray(frame, dtype=np.float64), np.asarray(self._part.transform(frame))
        made = self._file(rows)["output"]
        return np.where(_may_fill(self._part, rows, own, made)[:, None], made, own)

    def predict(self, frame: Any) -> Array:
        name = "label" if hasattr(self._part, "classes_") else "value"
        return self._of(frame, name, np.asarray(self._part.predict(frame)))

    def predict_proba(self, frame: Any) -> Array:
        return self._of(frame, "scores", np.asarray(self._part.predict_proba(frame)))

    def _of(self, frame: Any, name: str, own: Array) -> Array:
        rows = np.asarray(frame)
        made = self._file(rows)
        taken = np.flatnonzero(also_right(self._part, rows, made))
        own[taken] = made[name].reshape(own.shape)[taken]
        return own


def alike(wanted: Tensors, given: Tensors) -> Array:
    """bool [rows]: whether a file gives these answers, but for float32's share of them."""
    right = np.ones(len(next(iter(wanted.values()))), dtype=bool)
    for name, values in wanted.items():
        made = given[name].reshape(values.shape)
        if name == "label":
            right &= np.array([plain(a) == plain(b) for a, b in zip(values, made, strict=True)], dtype=bool)
        else:
            size = np.max(np.abs(values), axis=None, initial=0.0)
            right &= np.all(np.abs(made - values).reshape(len(values), -1) <= _ROUNDING * size, axis=1)
    return right


def also_right(model: Any, frame: Any, answers: Tensors) -> Array:
    """bool [rows]: whether each answer is one that some choice among equally far neighbours gives.

    What the neighbours answer has no public name in scikit-learn; skl2onnx goes by the same one.
    """
    last = estimators.last_step(model)
    own = np.asarray(getattr(last, "_y", ()))
    if not are_asked(model) or len(own) != last.n_samples_fit_:
        return np.zeros(len(frame), dtype=bool)
    features, answers = _at_the_last(model, frame, answers)
    classifies = hasattr(last, "classes_")
    known = np.eye(len(last.classes_))[own] if classifies else own.reshape(len(own), -1)
    given = answers["scores" if classifies else "value"].astype(np.float64).reshape(len(features), -1)
    right = np.array([_may_be(last, features[i : i + 1], known, given[i]) for i in range(len(given))], dtype=bool)
    if classifies:
        classes = last.classes_.astype(np.int64) if last.classes_.dtype == bool else last.classes_
        named = np.array([[plain(c) for c in classes]]) == np.array([[plain(v)] for v in answers["label"].reshape(-1)])
        right &= np.any(named & (given >= given.max(axis=1, keepdims=True) - _ROUNDING), axis=1)
    return right


def _at_the_last(model: Any, frame: Any, answers: Tensors) -> tuple[Array, Tensors]:
    """What the last estimator of a model is given for rows, and what it has to answer for the model's answers."""
    while True:
        if getattr(model, "steps", None):
            frame = model[:-1].transform(frame) if len(model.steps) > 1 else frame
            model = model.steps[-1][1]
        elif targets.of(model) is model:
            value = answers["value"].reshape(len(answers["value"]), -1)
            answers = {"value": np.asarray(model.transformer_.transform(value))}
            model = model.regressor_
        else:
            return np.asarray(frame), answers


def _may_be(neighbours: Any, row: Array, known: Array, given: Array) -> bool:
    """Whether `given` [numbers] lies between the least and the most that equally far ones of `known` may make of it."""
    count, asked = neighbours.n_neighbors, 2 * neighbours.n_neighbors
    while True:
        asked = min(asked, len(known))
        distances, places = (found[0] for found in neighbours.kneighbors(row, n_neighbors=asked))
        if asked == len(known) or distances[-1] > distances[count - 1] * (1 + 2 * _EQUALLY_FAR):
            break
        asked *= 4
    bounds = _bounds(distances, known[places], count, neighbours.weights)
    room = _ROUNDING * np.ptp(known, axis=0)
    return bounds is not None and bool(np.all((given >= bounds[0] - room) & (given <= bounds[1] + room)))


def _may_fill(imputer: Any, rows: Array, own: Array, made: Array) -> Array:
    """bool [rows]: whether what a file has filled in lies between the least and the most that may stand there.

    `own` and `made` are [rows, outputs], of scikit-learn and of the file. Where they are alike nothing is asked.
    """
    trained = imputers.trained_rows(imputer)
    room = _ROUNDING * np.nan_to_num(np.nanmax(trained, axis=0) - np.nanmin(trained, axis=0))
    right = np.ones(len(rows), dtype=bool)
    for place, column in enumerate(imputers.kept(imputer)):
        donors = np.flatnonzero(~np.isnan(trained[:, column]))
        for row in np.flatnonzero(np.abs(own[:, place] - made[:, place]) > _EQUALLY_FAR * np.abs(own[:, place])):
            asked = np.where(imputers.gaps_of(imputer, rows[row]), np.nan, rows[row])
            apart = trained[donors] - asked
            common = np.sum(~np.isnan(apart), axis=1)
            distances = np.sqrt(np.nansum(apart**2, axis=1) / np.maximum(common, 1) * len(asked))
            distances[common == 0] = np.inf
            near = np.argsort(distances)[: int(np.sum(common > 0))]
            if not len(near):
                right[row] = False  # the mean, which is no choice
                continue
            count = min(imputer.n_neighbors, len(near))
            noise = _SQUARES * len(asked) * (np.nanmax(trained**2) + np.nanmax(asked**2))
            bounds = _bounds(distances[near], trained[donors[near], column, None], count, imputer.weights, noise)
            low, high = bounds if bounds is not None else (np.inf, -np.inf)
            right[row] &= bool(low - room[column] <= made[row, place] <= high + room[column])
    return right


def _bounds(distances: Array, known: Array, count: int, weights: str, noise: float = 0.0) -> tuple[Array, Array] | None:
    """The least and the most [numbers] that `count` of the neighbours, the nearest first, make of `known`.

    None where there is no choice among them. `noise` is how far squared distances may be off.
    """
    border = distances[count - 1]
    tied = np.abs(distances**2 - border**2) <= 2 * _EQUALLY_FAR * border**2 + noise
    nearer = ~tied & (distances < border)
    open_places = count - int(nearer.sum())
    # No choice, or a row that has no distance: a row of zeros by angle, where ONNX divides by 0.
    if tied.sum() == open_places or tied.all():
        return None
    each_weight = np.ones(len(distances))
    if weights == "distance":
        each_weight = 1.0 / distances if distances[0] > 0 else (distances == 0).astype(np.float64)
    each = each_weight[:, None] * known
    possible = np.sort(each[tied], axis=0)
    sure, whole = each[nearer].sum(axis=0), each_weight[:count].sum()
    low, high = sure + possible[:open_places].sum(axis=0), sure + possible[-open_places:].sum(axis=0)
    return low / whole, high / whole


def weigh_by_distance(model: Any) -> None:
    """Puts right the weights of neighbours in an ONNX model, in place: TopK, times -1, at least 1e-6, reciprocal."""
    makers = {name: node for node in model.graph.node for name in node.output}
    wrong: list[tuple[Any, Any]] = []  # looked for before any is changed: several share the number
    for node in model.graph.node:
        bound = makers.get(node.input[0]) if node.op_type == "Reciprocal" else None
        turned = makers.get(bound.input[0]) if bound is not None and bound.op_type == "Max" else None
        found = makers.get(turned.input[0]) if turned is not None and turned.op_type == "Mul" else None
        if bound is None or turned is None or found is None or found.op_type != "TopK":
            continue
        if _constant(model, turned.input[1]) == -1 and _constant(model, bound.input[1]) == np.float32(1e-6):
            wrong.append((bound, turned))
    for bound, turned in wrong:
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
