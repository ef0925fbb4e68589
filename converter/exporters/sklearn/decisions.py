"""Which class a row gets, decided in the file as the original decides it: votes of forests, thresholds of its owner.

A forest's probability is a mean over its trees. skl2onnx stores each leaf's share of it, so that ten votes of 0.05 are
not quite a half in float32 and a tie goes either way; scikit-learn takes the first class. So the leaves hold whole
votes here, their sum is exact, and it is divided at the end.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from converter.errors import UnsupportedError
from converter.exporters.sklearn import estimators
from converter.graph import decide, graph
from edge.data.tensor import Array

_THRESHOLDS = ("TunedThresholdClassifierCV", "FixedThresholdClassifier")


@dataclass(frozen=True, slots=True)
class Threshold:
    """The probability from which on a row is of the class at `positive`, one of two."""

    value: float
    positive: int = 1


def without_threshold(model: Any) -> tuple[Any, Threshold | None]:
    """The model without the threshold that its owner chose, and that threshold; the model itself where there is none.

    Raises UnsupportedError for a threshold that is no probability, or stands inside of another estimator.
    """
    last = estimators.last_step(model)
    inside = [e for e in estimators.walk(model) if estimators.kind_of(e) in _THRESHOLDS and e is not last]
    if inside:
        raise UnsupportedError(
            f"{estimators.kind_of(inside[0])}: its threshold is lost inside of another estimator; let it be the last"
        )
    if estimators.kind_of(last) not in _THRESHOLDS:
        return model, None
    if last.response_method == "decision_function" or not hasattr(last.estimator_, "predict_proba"):
        raise UnsupportedError(
            f"{estimators.kind_of(last)}: its threshold is on decision_function, which the device does not give; "
            "use response_method='predict_proba'"
        )
    chosen = getattr(last, "best_threshold_", getattr(last, "threshold", 0.5))
    value = 0.5 if chosen == "auto" else float(chosen)
    named = getattr(last, "pos_label", None)
    positive = 1 if named is None else int(np.flatnonzero(np.asarray(last.classes_) == named)[0])
    return _replaced(model, last, last.estimator_), Threshold(value, positive)


def _replaced(model: Any, old: Any, new: Any) -> Any:
    """A copy of the model with its last step replaced; the new one alone where that is all there is."""
    if model is old:
        return new
    changed = copy.copy(model)
    name, step = model.steps[-1]
    changed.steps = [*model.steps[:-1], (name, _replaced(step, old, new))]
    return changed


def exact_means(model: Any) -> list[str]:
    """Makes the scores of each forest in an ONNX model exact, in place; gives the names of the sums of their votes."""
    helper = graph.library().helper
    sums: list[str] = []
    for node in [n for n in model.graph.node if n.op_type == "TreeEnsembleClassifier"]:
        votes = _Votes.of(node)
        if votes is None:
            continue
        votes.write(node)
        scores = node.output[1]
        node.output[1] = f"{scores}_votes"
        trees = f"{scores}_trees"
        decide.constant(model, trees, np.array(votes.trees, dtype=np.float32))
        place = list(model.graph.node).index(node)
        model.graph.node.insert(place + 1, helper.make_node("Div", [node.output[1], trees], [scores]))
        sums.append(node.output[1])
    return sums


def whole_votes(model: Any, classes: Array) -> None:
    """Makes the scores of a forest that ends an ONNX model exact, and its label the first of the highest, in place."""
    sums = exact_means(model)
    if len(sums) == 1:
        first = graph.library().helper.make_node("ArgMax", sums, ["_index"], axis=1, keepdims=0)
        decide.label_from(model, [first], "_index", classes)


@dataclass(frozen=True, slots=True)
class _Votes:
    """The leaves of a forest, each with the vote that its tree gives to a class: arrays [leaves x classes]."""

    trees: int
    class_treeids: Array
    class_nodeids: Array
    class_ids: Array
    weights: Array

    @classmethod
    def of(cls, node: Any) -> _Votes | None:
        """The votes of a tree operator; None where its leaves do not hold shares of one vote."""
        held = {a.name: a for a in node.attribute}
        if "class_weights" not in held or not held["class_weights"].floats:
            return None
        treeids, nodeids, ids = (
            np.array(held[n].ints, dtype=np.int64) for n in ("class_treeids", "class_nodeids", "class_ids")
        )
        trees = len(np.unique(treeids))
        # What float32 has left of a share, times the number of trees, is the vote but for the last digits.
        weights = np.round(np.array(held["class_weights"].floats, dtype=np.float64) * trees, 6)
        if np.all(ids == 0):  # of two classes skl2onnx stores the second one's share alone
            treeids, nodeids = np.repeat(treeids, 2), np.repeat(nodeids, 2)
            ids = np.tile(np.array([0, 1]), len(ids))
            weights = np.stack([1.0 - weights, weights], axis=1).reshape(-1)
        _, places = np.unique(np.stack([treeids, nodeids]), axis=1, return_inverse=True)
        sums = np.bincount(places.reshape(-1), weights)
        whole = bool(np.allclose(sums, 1.0, atol=1e-4)) and bool(np.all(weights >= 0))
        return cls(trees, treeids, nodeids, ids, weights) if whole and trees > 1 else None

    def write(self, node: Any) -> None:
        """Puts the votes into a tree operator."""
        for attribute in node.attribute:
            if attribute.name == "class_weights":
                attribute.floats[:] = self.weights.astype(np.float32)
            elif attribute.name in ("class_treeids", "class_nodeids", "class_ids"):
                attribute.ints[:] = getattr(self, attribute.name).tolist()


def one_label_a_row(model: Any) -> None:
    """Gives the label output the shape [rows], in place: a converter made one row of all labels of it."""
    helper = graph.library().helper
    decide.constant(model, "_each_row", np.array([-1], dtype=np.int64))
    graph.rename_output(model, "label", "_label_of_operator")
    output = next(o for o in model.graph.output if o.name == "_label_of_operator")
    model.graph.node.append(helper.make_node("Reshape", ["_label_of_operator", "_each_row"], ["label"]))
    output.name = "label"
    output.type.tensor_type.ClearField("shape")
    output.type.tensor_type.shape.dim.add()
