"""XGBoost models of several targets, or quantiles: each tree counts for one of them.

onnxmltools knows of one target only. It gets the trees as if they had one, and the ensemble that it writes is told
afterwards which tree counts for which.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from converter.graph import graph

_SUMS = (
    "reg:squarederror", "reg:squaredlogerror", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror",
)  # fmt: skip
"""Objectives whose answer is the sum of the trees."""


@dataclass(frozen=True, slots=True)
class Targets:
    """`of_tree` is each tree's target, `start` what each target's sum begins with, `names` are theirs.

    `quantiles`: they are quantiles of one number.
    """

    of_tree: tuple[int, ...]
    start: tuple[float, ...]
    names: tuple[str, ...]
    quantiles: bool


def count(model: dict[str, Any]) -> int:
    """How many numbers an XGBoost model, as JSON, gives for a row."""
    return int(model["learner"]["learner_model_param"].get("num_target", "1"))


def refusal(model: dict[str, Any]) -> str:
    """Why several targets cannot be converted; "" where they can, or where there is one."""
    if count(model) < 2:
        return ""
    trees = model["learner"]["gradient_booster"]["model"]["trees"]
    if any(int(t["tree_param"].get("size_leaf_vector", "1")) > 1 for t in trees):
        return "multi_strategy 'multi_output_tree' has several numbers in a leaf; train with 'one_output_per_tree'"
    objective = model["learner"]["objective"]["name"]
    if objective not in _SUMS:
        return f"several targets of {objective!r} have no converter; train one model for each"
    return ""


def taken_apart(model: dict[str, Any]) -> tuple[dict[str, Any], Targets | None]:
    """A model (as `boosters.xgboost_mended` gives it) as one of one target, and its targets; None where it has one."""
    number = count(model)
    if number < 2:
        return model, None
    learner = dict(model["learner"])
    booster, parameters = dict(learner["gradient_booster"]), dict(learner["learner_model_param"])
    inner = dict(booster["model"])
    score = json.loads(parameters["base_score"])
    start = score if isinstance(score, list) else [score]
    quantiles = json.loads(learner["objective"].get("quantile_loss_param", {}).get("quantile_alpha", "[]"))
    are_quantiles = len(quantiles) == number
    names = tuple(f"q{q:g}" for q in quantiles) if are_quantiles else tuple(f"value{i}" for i in range(number))
    starts = tuple(start if len(start) == number else start * number)
    targets = Targets(tuple(inner["tree_info"]), starts, names, are_quantiles)
    trees = len(inner["trees"])
    inner |= {"tree_info": [0] * trees, "iteration_indptr": list(range(trees + 1))}
    parameters |= {"num_target": "1", "base_score": "[0]" if isinstance(score, list) else "0"}
    learner |= {
        "gradient_booster": {**booster, "model": inner}, "learner_model_param": parameters,
        "objective": {"name": "reg:squarederror", "reg_loss_param": {}},
    }  # fmt: skip
    return {**model, "learner": learner}, targets


def restore(proto: Any, targets: Targets, output: str) -> None:
    """Gives each tree of the ensemble back to its target, in place."""
    helper = graph.library().helper
    (node,) = (n for n in proto.graph.node if n.op_type == "TreeEnsembleRegressor")
    written = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    changed = {
        "n_targets": len(targets.start),
        "base_values": list(targets.start),
        "target_ids": [targets.of_tree[tree] for tree in written["target_treeids"]],
    }
    kept = [a for a in node.attribute if a.name not in changed]
    del node.attribute[:]
    node.attribute.extend([*kept, *(helper.make_attribute(n, v) for n, v in changed.items())])
    (value,) = (o for o in proto.graph.output if o.name == output)
    value.type.tensor_type.shape.dim[-1].dim_value = len(targets.start)


def ascend(proto: Any, output: str, number: int) -> None:
    """Sorts the `number` numbers of each row of an output in ascending order, in place."""
    onnx = graph.library()
    crossing = f"{output}_crossing"
    graph.rename_output(proto, output, crossing)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([number], dtype=np.int64), f"{output}_number"))
    proto.graph.node.append(
        onnx.helper.make_node("TopK", [crossing, f"{output}_number"], [output, f"{output}_order"], largest=0, sorted=1)
    )
    (value,) = (o for o in proto.graph.output if o.name == crossing)
    value.name = output
