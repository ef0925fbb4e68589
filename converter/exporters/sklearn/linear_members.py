"""SGDClassifier, and OneVsRestClassifier and OneVsOneClassifier of linear members: the class by margins, as
scikit-learn decides.

skl2onnx decides by their probabilities, in float32: where they round to 0 and 1, the margins still differ.
Everything behind the features is computed in float64, as scikit-learn does it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converter.exporters.sklearn import estimators, kernels
from converter.exporters.sklearn.nodes import DOUBLE, Nodes
from edge.data.tensor import Array

_LINEAR = frozenset({
    "LinearDiscriminantAnalysis", "LinearSVC", "LogisticRegression", "LogisticRegressionCV",
    "PassiveAggressiveClassifier", "Perceptron", "RidgeClassifier", "RidgeClassifierCV", "SGDClassifier",
})  # fmt: skip


def are_linear(classifier: Any) -> bool:
    """Whether each member, with or without steps before it, gives one margin: linear, or by a kernel."""
    return all(_is_linear(m) for m in classifier.estimators_)


def decides_by_margins(classifier: Any) -> bool:
    """Whether a converter here gives its class by margins, and may be asked for them as `raw_scores`."""
    kind = estimators.kind_of(classifier)
    return kind == "SGDClassifier" or (kind == "OneVsRestClassifier" and are_linear(classifier))


def _is_linear(member: Any) -> bool:
    last = estimators.last_step(member)
    plain = kernels.has_margin(last) or (has_plain_margins(last) and last.coef_.size == last.n_features_in_)
    # What comes in and goes out of a step must be one table: no choice of columns.
    return plain and not any(hasattr(e, "transformers_") or hasattr(e, "transformer_list") for e in _steps(member))


def has_plain_margins(estimator: Any) -> bool:
    """Whether `decision_function` is a product with `coef_`, [margins, features], and an offset."""
    return estimators.kind_of(estimator) in _LINEAR and isinstance(estimator.coef_, np.ndarray)


def _steps(member: Any) -> list[Any]:
    """The steps before the last one."""
    return [s for _, s in member.steps[:-1] if s not in (None, "passthrough")] if hasattr(member, "steps") else []


def convert_one_vs_rest(scope: Any, operator: Any, container: Any) -> None:
    """The converter of OneVsRestClassifier, by skl2onnx's convention; others than linear members go skl2onnx's way."""
    from skl2onnx.operator_converters.one_vs_rest_classifier import convert_one_vs_rest_classifier

    classifier = operator.raw_operator
    if classifier.multilabel_ or not are_linear(classifier):
        convert_one_vs_rest_classifier(scope, operator, container)
        return
    graph = Nodes(scope, container)
    margins = _margins(scope, operator, container, graph)
    loss = getattr(estimators.last_step(classifier.estimators_[0]), "loss", "")
    _answer_margins(graph, operator, container, margins, loss, of_none=0.0)


def convert_sgd(scope: Any, operator: Any, container: Any) -> None:
    """The converter of SGDClassifier, likewise; one without probabilities goes skl2onnx's way."""
    from skl2onnx.operator_converters.sgd_classifier import convert_sklearn_sgd_classifier

    classifier = operator.raw_operator
    if not hasattr(classifier, "predict_proba"):
        convert_sklearn_sgd_classifier(scope, operator, container)
        return
    graph = Nodes(scope, container)
    values = graph.node("Cast", joined(scope, container, operator.inputs), to=DOUBLE)
    margins = product(graph, values, classifier.coef_, classifier.intercept_)
    _answer_margins(graph, operator, container, margins, classifier.loss, of_none=1.0 / len(classifier.classes_))


def _answer_margins(graph: Nodes, operator: Any, container: Any, margins: str, loss: str, *, of_none: float) -> None:
    """Both outputs, of margins [rows, classes], or [rows, 1]: of two classes that of the second."""
    classes, both = len(operator.raw_operator.classes_), margins
    if classes == 2:
        both = graph.node("Concat", [graph.node("Neg", margins), margins], axis=1)
    raw = container.get_options(operator.raw_operator, {"raw_scores": False})["raw_scores"]
    answer(graph, operator, both, both if raw else _probabilities(graph, margins, loss, classes, of_none))


def convert_one_vs_one(scope: Any, operator: Any, container: Any) -> None:
    """The converter of OneVsOneClassifier, likewise: skl2onnx's fails on members that are not linear.

    A class has the votes of its pairs, and between those of as many its margins, which add less than half a vote:
    s / (3 (|s| + 1)), s their sum, as `decision_function` has it. Members without margins give the probability of
    their second class in the place of it, whatever way it goes. The others are refused before (`traps`).
    """
    classifier = operator.raw_operator
    graph = Nodes(scope, container)
    if are_linear(classifier):
        margins, border = _margins(scope, operator, container, graph), graph.constant(np.array(0.0))
    else:
        pairs = [_shares(scope, operator, graph, m) for m in classifier.estimators_]
        border, margins = (
            graph.node(
                "Concat", [graph.node("Gather", [p, graph.constant(np.array([i]))], axis=1) for p in pairs], axis=1
            )
            for i in (0, 1)
        )
    count = len(classifier.classes_)
    first, second = np.triu_indices(count, 1)
    of_first, of_second = np.eye(count)[first], np.eye(count)[second]  # [pairs, classes]
    wins = graph.node("Cast", graph.node("Greater", [margins, border]), to=DOUBLE)
    # Each first of a pair has its vote, which a win of the second takes away and gives to that one.
    moved = graph.node("MatMul", [wins, graph.constant(of_second - of_first)])
    votes = graph.node("Add", [moved, graph.constant(of_first.sum(axis=0, keepdims=True))])
    sums = graph.node("MatMul", [margins, graph.constant(of_second - of_first)])
    size = graph.node("Add", [graph.node("Abs", sums), graph.constant(np.array(1.0))])
    part = graph.node("Div", [sums, graph.node("Mul", [size, graph.constant(np.array(3.0))])])
    scores = graph.node("Add", [votes, part])
    answer(graph, operator, scores, scores)


def _shares(scope: Any, operator: Any, graph: Nodes, member: Any) -> str:
    """The name of [rows, 2], float64: the probabilities of a member's two classes."""
    from skl2onnx import get_model_alias
    from skl2onnx.common.data_types import Int64TensorType, guess_tensor_type

    local = scope.declare_local_operator(get_model_alias(type(member)), member)
    local.inputs = operator.inputs
    local.outputs.append(scope.declare_local_variable("vote", Int64TensorType()))
    shares = scope.declare_local_variable("shares", guess_tensor_type(operator.inputs[0].type))
    local.outputs.append(shares)
    return graph.node("Cast", shares.onnx_name, to=DOUBLE)


def answer(graph: Nodes, operator: Any, decision: str, scores: str) -> None:
    """Both outputs: the first class of the highest decision, and the scores. Two arrays [rows, classes]."""
    from skl2onnx.common.data_types import guess_proto_type

    place = graph.node("ArgMax", decision, axis=1, keepdims=0)
    known = graph.names(operator.raw_operator.classes_)
    graph.node("Gather", [known, place], operator.outputs[0].full_name, axis=0)
    graph.node("Cast", scores, operator.outputs[1].full_name, to=guess_proto_type(operator.outputs[1].type))


def _margins(scope: Any, operator: Any, container: Any, graph: Nodes) -> str:
    """The name of [rows, members], float64."""
    members = operator.raw_operator.estimators_
    if any(_steps(m) or kernels.has_margin(m) for m in members):
        own = [joined(scope, container, before(scope, operator, m)) for m in members]
        return graph.node("Concat", [_margin(graph, v, m) for v, m in zip(own, members, strict=True)], axis=1)
    weights = np.concatenate([np.reshape(m.coef_, (1, -1)) for m in members])
    offsets = [np.ravel(m.intercept_)[0] for m in members]
    return product(graph, graph.node("Cast", joined(scope, container, operator.inputs), to=DOUBLE), weights, offsets)


def _margin(graph: Nodes, values: str, member: Any) -> str:
    """The name of [rows, 1], float64: the margin of one member."""
    last, values = estimators.last_step(member), graph.node("Cast", values, to=DOUBLE)
    if kernels.has_margin(last):
        return product(graph, kernels.values(graph, values, last), last.dual_coef_, last.intercept_)
    return product(graph, values, np.reshape(last.coef_, (1, -1)), np.ravel(last.intercept_)[:1])


def product(graph: Nodes, values: str, weights: Array, offsets: Any) -> str:
    """The name of [rows, margins]: `values` [rows, features] times `weights` [margins, features], and `offsets`."""
    by_feature = np.atleast_2d(weights).T.astype(np.float64)
    offset = np.broadcast_to(np.asarray(offsets, dtype=np.float64).reshape(1, -1), (1, by_feature.shape[1]))
    return graph.node("Add", [graph.node("MatMul", [values, graph.constant(by_feature)]), graph.constant(offset)])


def joined(scope: Any, container: Any, inputs: Any) -> str:
    """The name of [rows, features], of all inputs side by side."""
    from skl2onnx.operator_converters.common import concatenate_variables

    # It has no answer for what a step has made, whose shape is not known yet.
    return str(inputs[0].full_name if len(inputs) == 1 else concatenate_variables(scope, inputs, container))


def before(scope: Any, operator: Any, member: Any) -> Any:
    """What a member's last estimator takes: what its steps make of the inputs, else those themselves."""
    from skl2onnx import get_model_alias

    inputs = operator.inputs
    for step in _steps(member):
        local = scope.declare_local_operator(get_model_alias(type(step)), step)
        local.inputs = inputs
        made = scope.declare_local_variable("member", operator.inputs[0].type.__class__())
        local.outputs.append(made)
        inputs = [made]
    return inputs


def _probabilities(graph: Nodes, margins: str, loss: str, classes: int, of_none: float) -> str:
    """The name of [rows, classes]: the probability of each margin, divided by their sum."""
    if loss == "modified_huber":
        bounded = graph.node("Clip", [margins, graph.constant(np.array(-1.0)), graph.constant(np.array(1.0))])
        half = graph.node("Mul", [bounded, graph.constant(np.array(0.5))])
        each = graph.node("Add", [half, graph.constant(np.array(0.5))])
    else:
        each = falling_sigmoid(graph, graph.node("Neg", margins))
    return of_second(graph, each) if classes == 2 else divided_by_sum(graph, each, of_none)


def falling_sigmoid(graph: Nodes, values: str) -> str:
    """The name of 1 / (1 + exp(`values`)), of their shape.

    ONNX Runtime's own Sigmoid is 0 long before float64 is: all classes of a row may be so, and 0 / 0 is no answer.
    """
    one = graph.constant(np.array(1.0))
    return graph.node("Div", [one, graph.node("Add", [one, graph.node("Exp", values)])])


def of_second(graph: Nodes, second: str) -> str:
    """The name of [rows, 2], of the probability of the second class [rows, 1]."""
    return graph.node("Concat", [graph.node("Sub", [graph.constant(np.array(1.0)), second]), second], axis=1)


def divided_by_sum(graph: Nodes, each: str, of_none: float) -> str:
    """The name of [rows, classes]: `each` divided by the sum of its row; `of_none` throughout where that is 0."""
    total = graph.node("ReduceSum", [each, graph.constant(np.array([1]))], keepdims=1)
    is_zero = graph.node("Equal", [total, graph.constant(np.array(0.0))])
    return graph.node("Where", [is_zero, graph.constant(np.array(of_none)), graph.node("Div", [each, total])])
