"""CalibratedClassifierCV by sigmoids: in float64, as scikit-learn computes it, whatever the classifiers inside are.

skl2onnx has it in float32, where sigmoids of several classes are 0 or 1 long before they are so in float64, and asks a
pipeline inside for probabilities, where scikit-learn asks it for margins.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converter.errors import UnsupportedError
from converter.exporters.sklearn import estimators, linear_members, traps
from converter.exporters.sklearn.nodes import DOUBLE, Nodes


def convert(scope: Any, operator: Any, container: Any) -> None:
    """The converter of CalibratedClassifierCV, by skl2onnx's convention."""
    graph = Nodes(scope, container)
    classifier = operator.raw_operator
    each = [_probabilities(scope, operator, container, graph, m) for m in classifier.calibrated_classifiers_]
    mean = graph.node("Div", [graph.node("Sum", each), graph.constant(np.array(float(len(each))))])
    linear_members.answer(graph, operator, mean, mean)


def _probabilities(scope: Any, operator: Any, container: Any, graph: Nodes, member: Any) -> str:
    """The name of [rows, classes]: what one classifier and its calibrators say of each class."""
    classes = member.classes.tolist()
    margins = _margins(scope, operator, container, graph, traps.thawed(member.estimator))
    slopes = np.array([[c.a_ for c in member.calibrators]], dtype=np.float64)
    offsets = np.array([[c.b_ for c in member.calibrators]], dtype=np.float64)
    scaled = graph.node("Add", [graph.node("Mul", [margins, graph.constant(slopes)]), graph.constant(offsets)])
    found = linear_members.falling_sigmoid(graph, scaled)
    if len(classes) == 2:
        return linear_members.of_second(graph, found)
    # A class that the rows of this member lacked has no column there.
    places = [classes.index(c) for c in member.estimator.classes_.tolist()][: slopes.size]
    spread = graph.node("MatMul", [found, graph.constant(np.eye(len(classes))[places])])
    return linear_members.divided_by_sum(graph, spread, of_none=1.0 / len(classes))


def _margins(scope: Any, operator: Any, container: Any, graph: Nodes, estimator: Any) -> str:
    """The name of [rows, classes], float64: what is calibrated; of two classes [rows, 1], that of the second."""
    last, inputs = estimators.last_step(estimator), linear_members.before(scope, operator, estimator)
    if linear_members.has_plain_margins(last):
        values = graph.node("Cast", linear_members.joined(scope, container, inputs), to=DOUBLE)
        return linear_members.product(graph, values, last.coef_, last.intercept_)
    from skl2onnx import get_model_alias
    from skl2onnx.common.data_types import Int64TensorType

    if hasattr(last, "decision_function"):
        if not container.has_options(last, "raw_scores"):
            kind = estimators.kind_of(last)
            raise UnsupportedError(
                f"CalibratedClassifierCV: it calibrates the margins of {kind}, and ONNX has its probabilities alone; "
                f"convert {kind} without it, or calibrate LogisticRegression, LinearSVC, SVC or a forest"
            )
        for options in (container, scope):
            options.add_options(id(last), {"raw_scores": True})
    local = scope.declare_local_operator(get_model_alias(type(last)), last)
    local.inputs = inputs
    scores = scope.declare_local_variable("uncalibrated", operator.inputs[0].type.__class__())
    local.outputs.append(scope.declare_local_variable("uncalibrated_label", Int64TensorType()))
    local.outputs.append(scores)
    found = graph.node("Cast", scores.full_name, to=DOUBLE)
    if len(last.classes_) > 2:
        return found
    return graph.node("Gather", [found, graph.constant(np.array([1]))], axis=1)
