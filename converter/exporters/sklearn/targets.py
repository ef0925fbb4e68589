"""TransformedTargetRegressor: its regressor is converted, and what turns the answer back is put behind it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from converter.graph import decide, graph
from edge.data.tensor import Array

Step = tuple[str, Array | None]
"""An operator of ONNX and its second input, where it has one."""

_FUNCTIONS: dict[Callable[..., Any], list[tuple[str, float | None]]] = {
    np.exp: [("Exp", None)],
    np.expm1: [("Exp", None), ("Sub", 1.0)],
    np.log: [("Log", None)],
    np.log1p: [("Add", 1.0), ("Log", None)],
    np.sqrt: [("Sqrt", None)],
    np.square: [("Pow", 2.0)],
    np.reciprocal: [("Reciprocal", None)],
    np.negative: [("Neg", None)],
    np.abs: [("Abs", None)],
}


def of(model: Any) -> Any:
    """The TransformedTargetRegressor that gives the answer; None where another estimator does."""
    if getattr(model, "steps", None):
        return of(model.steps[-1][1])
    return model if type(model).__name__ == "TransformedTargetRegressor" else None


def without(model: Any) -> Any:
    """The model with the regressor in its place, whose answer is not turned back."""
    if of(model) is None:
        return model
    if getattr(model, "steps", None):
        changed = copy.copy(model)
        changed.steps = [*model.steps[:-1], (model.steps[-1][0], without(model.steps[-1][1]))]
        return changed
    return model.regressor_


def refusal(model: Any) -> str:
    """Why an answer cannot be turned back in ONNX; "" where it can, or where nothing is to be done."""
    target = of(model)
    if target is None or _steps(target.transformer_) is not None:
        return ""
    transformer = target.transformer_
    function = getattr(transformer, "inverse_func", None)
    what = getattr(function, "__name__", "a function") if function is not None else type(transformer).__name__
    return (
        f"what turns its answers back ({what}) has no counterpart in ONNX; take a scaler, or one of numpy's "
        f"{', '.join(f.__name__ for f in _FUNCTIONS)}"
    )


def turn_back(proto: Any, model: Any, output: str) -> None:
    """Puts what turns the answer back behind the output, in place."""
    target = of(model)
    for operator, operand in (_steps(target.transformer_) or []) if target is not None else []:
        graph.append(proto, operator, output, output, operand)


def of_perceptron(proto: Any, model: Any) -> None:
    """Several numbers a row, which skl2onnx puts one below the other, and the exponent of a Poisson loss, in place."""
    if model.n_outputs_ > 1:
        decide.constant(proto, "_numbers_a_row", np.array([-1, model.n_outputs_], dtype=np.int64))
        graph.rename_output(proto, "value", "_column_of_numbers")
        helper = graph.library().helper
        proto.graph.node.append(helper.make_node("Reshape", ["_column_of_numbers", "_numbers_a_row"], ["value"]))
        kind = proto.graph.output[0].type.tensor_type.elem_type
        proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("value", kind, [None, model.n_outputs_]))
    if model.out_activation_ == "exp":
        graph.append(proto, "Exp", "value", "value")


def _steps(transformer: Any) -> list[Step] | None:
    """The inverse of a fitted transformer; None where it is not known."""
    kind = type(transformer).__name__
    if kind == "Pipeline":
        parts = [_steps(step) for _, step in reversed(transformer.steps)]
        return None if any(p is None for p in parts) else [step for p in parts if p is not None for step in p]
    if transformer is None or transformer == "passthrough":
        return []
    if kind == "FunctionTransformer":
        return _inverse_function(transformer)
    factors = {
        "StandardScaler": [("Mul", "scale_"), ("Add", "mean_")],
        "MinMaxScaler": [("Sub", "min_"), ("Div", "scale_")],
        "MaxAbsScaler": [("Mul", "scale_")],
        "RobustScaler": [("Mul", "scale_"), ("Add", "center_")],
    }.get(kind)
    if factors is None:
        return None
    values = [(operator, getattr(transformer, name)) for operator, name in factors]
    return [(operator, np.asarray(v)) for operator, v in values if v is not None]


def _inverse_function(transformer: Any) -> list[Step] | None:
    if transformer.inverse_func is None:
        return []
    try:
        steps = _FUNCTIONS.get(transformer.inverse_func)
    except TypeError:  # an object that cannot be looked up
        return None
    if steps is None or transformer.inv_kw_args:
        return None
    return [(operator, None if value is None else np.array([value])) for operator, value in steps]
