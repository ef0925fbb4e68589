"""Support vector machines of two classes, as members of OneVsRestClassifier and OneVsOneClassifier: their margin in
float64, as libsvm computes it. ONNX's operator has float32 alone, which is off where features are not scaled.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converter.exporters.sklearn import estimators
from converter.exporters.sklearn.nodes import Nodes

_KERNELS = ("linear", "poly", "rbf", "sigmoid")


def has_margin(machine: Any) -> bool:
    """Whether it gives a margin alone, by a kernel that ONNX can compute."""
    known = estimators.kind_of(machine) in ("SVC", "NuSVC") and machine.kernel in _KERNELS
    plain = known and not hasattr(machine, "predict_proba") and isinstance(machine.support_vectors_, np.ndarray)
    return plain and len(machine.classes_) == 2


def values(graph: Nodes, given: str, machine: Any) -> str:
    """The name of [rows, support vectors]: the kernel of `given` [rows, features], float64, and each of them.

    scikit-learn has no public name for the gamma that `gamma="scale"` became, and skl2onnx goes by the same one.
    """
    vectors, gamma = machine.support_vectors_, float(getattr(machine, "_gamma"))  # noqa: B009
    products = graph.node("MatMul", [given, graph.constant(vectors.T.astype(np.float64))])
    if machine.kernel == "linear":
        return products
    if machine.kernel == "rbf":
        own = graph.node("ReduceSum", [graph.node("Mul", [given, given]), graph.constant(np.array([1]))], keepdims=1)
        squares = graph.node("Add", [own, graph.constant(np.sum(vectors**2, axis=1, dtype=np.float64).reshape(1, -1))])
        apart = graph.node("Sub", [squares, graph.node("Mul", [products, graph.constant(np.array(2.0))])])
        return graph.node("Exp", graph.node("Mul", [apart, graph.constant(np.array(-gamma))]))
    scaled = graph.node("Mul", [products, graph.constant(np.array(gamma))])
    moved = graph.node("Add", [scaled, graph.constant(np.array(float(machine.coef0)))])
    if machine.kernel == "sigmoid":
        return graph.node("Tanh", moved)
    return graph.node("Pow", [moved, graph.constant(np.array(float(machine.degree)))])
