"""Boosters of decision trees, XGBoost's and LightGBM's: what must be refused and what has to be mended.

Both keep their model as text that says all, so the traps are found there, and mended there in a copy: the
same for a model file, a native object and a step of a scikit-learn pipeline.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from converter.trees import several_targets
from converter.trees.exact_trees import Marks
from edge.data.tensor import Array
from edge.errors import needs

XGBOOST_CLASSIFIES = ("binary:logistic", "binary:hinge", "multi:softprob", "multi:softmax")
XGBOOST_REGRESSES = (
    "reg:squarederror", "reg:squaredlogerror", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror",
    "reg:logistic", "count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft",
)  # fmt: skip
XGBOOST_RANKS = ("rank:pairwise", "rank:ndcg", "rank:map")
LIGHTGBM_RANKS = ("lambdarank", "rank_xendcg")
RANKS = "the value is a score: it orders the rows of one group (a higher one comes first), and means nothing by itself"


def xgboost_json(booster: Any) -> dict[str, Any]:
    """The whole model of an xgboost.Booster."""
    model: dict[str, Any] = json.loads(booster.save_raw("json"))
    return model


def xgboost_objective(model: dict[str, Any]) -> str:
    """Its objective by name."""
    return str(model["learner"]["objective"]["name"])


def xgboost_refusal(model: dict[str, Any]) -> str:
    """Why an XGBoost model cannot be converted honestly; "" where it can."""
    learner = model["learner"]
    kind, objective = learner["gradient_booster"]["name"], xgboost_objective(model)
    weights = learner["gradient_booster"].get("model", {}).get("weight_drop", ())
    if kind == "dart" or any(float(w) != 1.0 for w in weights):  # since XGBoost 3.4 dart is a gbtree with weights
        return (
            "booster 'dart' weighs its trees and the converter drops the weights: wrong everywhere; train with gbtree"
        )
    if kind == "gblinear":
        return "booster 'gblinear' has no trees to convert; train a linear model of scikit-learn instead"
    known = (*XGBOOST_CLASSIFIES, *XGBOOST_REGRESSES, *XGBOOST_RANKS)
    if objective == "binary:logitraw":
        return f"objective {objective!r} gives margins, from which no class follows; train with 'binary:logistic'"
    if objective not in known:
        return f"objective {objective!r} has no converter; train with one of {', '.join(known)}"
    if reason := several_targets.refusal(model):
        return reason
    if any(t.get("categories_nodes") for t in _xgboost_trees(model)):
        return (
            "categorical splits (enable_categorical) have no counterpart in ONNX; encode the categories and train again"
        )
    return ""


def _xgboost_trees(model: dict[str, Any]) -> list[dict[str, Any]]:
    trees: list[dict[str, Any]] = model["learner"]["gradient_booster"].get("model", {}).get("trees", [])
    return trees


def xgboost_mended(model: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """The model as onnxmltools converts it rightly, and whether a sigmoid has to follow. Every tree counts.

    Feature names make it fail; the sigmoid of reg:logistic it forgets; multi:softmax it leaves without softmax;
    a forest of several classes it takes for one tree a class in turn.
    """
    learner = dict(model["learner"])
    objective = xgboost_objective(model)
    learner["feature_names"], learner["feature_types"], learner["attributes"] = [], [], {}
    learner["gradient_booster"] = _in_turn(learner["gradient_booster"])
    if objective == "reg:logistic":
        numbers = dict(learner["learner_model_param"])
        numbers["base_score"] = _logits(numbers["base_score"])
        learner["learner_model_param"] = numbers
        learner["objective"] = {**learner["objective"], "name": "reg:squarederror"}
    elif objective in XGBOOST_RANKS:  # the answer is the sum of the trees
        learner["objective"] = {**learner["objective"], "name": "reg:squarederror"}
    elif objective.startswith("survival:"):  # the answer is its exponent, which it forgets
        learner["objective"] = {"name": "count:poisson", "poisson_regression_param": {"max_delta_step": "0.7"}}
    elif objective == "multi:softmax":
        learner["objective"] = {**learner["objective"], "name": "multi:softprob"}
    return {**model, "learner": learner}, objective == "reg:logistic"


def _in_turn(booster: dict[str, Any]) -> dict[str, Any]:
    """The trees ordered so that the classes take turns; a sum does not mind the order."""
    inner = booster["model"]
    classes = inner["tree_info"]
    count = max(classes, default=0) + 1
    if inner["gbtree_model_param"].get("num_parallel_tree", "1") == "1":
        return booster
    seen = [0] * count
    turns: list[tuple[int, int, int]] = []
    for place, one in enumerate(classes):
        turns.append((seen[one], one, place))
        seen[one] += 1
    trees = [{**inner["trees"][place], "id": i} for i, (_, _, place) in enumerate(sorted(turns))]
    parameters = {**inner["gbtree_model_param"], "num_parallel_tree": "1"}
    changed = {
        **inner, "trees": trees, "tree_info": [one for _, one, _ in sorted(turns)], "gbtree_model_param": parameters,
        "iteration_indptr": list(range(0, len(trees) + 1, count)),
    }  # fmt: skip
    return {**booster, "model": changed}


def _logits(text: str) -> str:
    """The base scores of a logistic objective, which are probabilities, as margins, in the same notation."""
    values = json.loads(text) if text.startswith("[") else [float(text)]
    margins = [math.log(v / (1 - v)) for v in values]
    return json.dumps(margins) if text.startswith("[") else repr(margins[0])


def lightgbm_refusal(text: str) -> str:
    """Why a LightGBM model, as text, cannot be converted honestly; "" where it can."""
    kinds = {int(v) for line in re.findall(r"^decision_type=(.*)$", text, re.M) for v in line.split()}
    if any((kind >> 2) & 3 == 1 for kind in kinds):
        return "zero_as_missing sends 0 the way of a missing value, which ONNX cannot; train without it"
    if re.search(r"^is_linear=1$", text, re.M):
        return "linear_tree has a linear model in each leaf, which ONNX trees have not; train without it"
    if any(kind & 1 for kind in kinds):
        return "categorical splits send unknown and missing categories another way in ONNX; encode them and train again"
    objective = lightgbm_objective(text)
    if objective.startswith("multiclassova"):
        return "objective 'multiclassova' comes out as a softmax, which it is not; train with 'multiclass'"
    if objective.endswith(" sqrt"):
        return "reg_sqrt squares the answer at the end, which the converter drops; train on the square root yourself"
    if objective.startswith(("cross_entropy_lambda", "xentlambda")):
        return "objective 'cross_entropy_lambda' has no converter; train with 'cross_entropy'"
    if not objective and _header(text, "num_tree_per_iteration") != "1":
        return (
            "an objective of the trainer's own gives several sums a row, of which nobody knows what they mean; train "
            "with 'multiclass'"
        )
    return ""


def lightgbm_objective(text: str) -> str:
    """The objective of a LightGBM model, with its parameters."""
    match = re.search(r"^objective=(.*)$", text, re.M)
    return match.group(1).strip() if match else ""


# The answer is the sum of the trees; onnxmltools does not know these names for it.
_LIGHTGBM_SUMS = ("regression_l1", "l1", "mae", "fair", "mape", "quantile", "huber", *LIGHTGBM_RANKS)


def lightgbm_mended(text: str, marks: Marks) -> tuple[str, bool]:
    """The text as onnxmltools converts it rightly, and whether a sigmoid has to follow.

    A mark stands for every threshold (see `exact_trees`); a random forest's mean becomes a sum of smaller leaves;
    objectives that are unknown there become one that is the same at the end.
    """

    def thresholds(lines: re.Match[str]) -> str:
        exact = _values(lines)
        marked = marks.of(exact, _gaps_go_left(exact, lines.group(2)))
        return f"threshold={_numbers(marked)}\ndecision_type={lines.group(2)}"

    # The tree sizes in the header would no longer be true; LightGBM reads without them.
    changed = re.sub(r"^tree_sizes=.*\n", "", text, flags=re.M)
    changed = re.sub(r"^threshold=(.*)\ndecision_type=(.*)$", thresholds, changed, flags=re.M)
    if re.search(r"^average_output$", text, re.M):
        share = int(_header(text, "num_tree_per_iteration")) / len(re.findall(r"^Tree=\d+$", text, re.M))
        changed = re.sub(r"^average_output\n", "", changed, flags=re.M)
        changed = re.sub(
            r"^leaf_value=(.*)$", lambda line: "leaf_value=" + _numbers(_values(line) * share), changed, flags=re.M
        )
    slope = re.search(r"^objective=binary.* sigmoid:([\d.eE+-]+)", text, re.M)
    if slope is not None and float(slope.group(1)) != 1.0:
        # A steeper sigmoid of the sum is a sigmoid of a larger sum.
        steep = float(slope.group(1))
        changed = re.sub(
            r"^leaf_value=(.*)$", lambda line: "leaf_value=" + _numbers(_values(line) * steep), changed, flags=re.M
        )
        changed = re.sub(r"sigmoid:[\d.eE+-]+", "sigmoid:1", changed)
    name = lightgbm_objective(text).partition(" ")[0]
    sigmoid = name in ("cross_entropy", "xentropy")
    if sigmoid or not name or name in _LIGHTGBM_SUMS:
        changed = re.sub(r"^objective=.*$", "objective=regression", changed, flags=re.M)
        changed = re.sub(r"^\[objective: .*\]$", "[objective: regression]", changed, flags=re.M)
    if not name:  # an objective of the trainer's own leaves no name
        changed = re.sub(r"^feature_names=", "objective=regression\nfeature_names=", changed, count=1, flags=re.M)
    return changed, sigmoid


def _gaps_go_left(thresholds: Array, decisions: str) -> Array:
    """bool [nodes]: whether a missing value takes the branch of the smaller numbers.

    A decision's bits: 1 categories, 2 the left branch is the default, 4 and 8 what counts as missing (8: NaN). Where
    NaN does not, it is compared as 0 (`Tree::NumericalDecision`); among categories it is none of them.
    """
    bits = np.array([int(v) for v in decisions.split()], dtype=np.int64)
    return np.where(bits & 1, False, np.where(bits & 8, bits & 2 != 0, thresholds >= 0))


def _header(text: str, name: str) -> str:
    match = re.search(rf"^{name}=(.*)$", text, re.M)
    return match.group(1).strip() if match else "1"


def _values(line: re.Match[str]) -> Array:
    return np.array([float(v) for v in line.group(1).split()])


def _numbers(values: Array) -> str:
    return " ".join(repr(float(v)) for v in values)


def refusal_inside(estimator: Any) -> str:
    """Why a booster that is a step of a pipeline cannot be converted honestly; "" for whatever else it is."""
    family = _family(estimator)
    if family and type(estimator).__name__.endswith("Ranker"):
        return "inside a pipeline it has no converter; convert it alone, its steps done before"
    if family == "catboost":
        return "inside a pipeline it has no converter; convert the CatBoost model alone, its steps done before"
    if family == "xgboost":
        if not np.isnan(estimator.missing):
            return f"missing={estimator.missing}, but in ONNX a missing value is NaN; train with missing=nan"
        model = xgboost_json(estimator.get_booster())
        if several_targets.count(model) > 1:
            return "several targets come out wrong inside a pipeline; convert the booster alone"
        return xgboost_refusal(model) or _no_sigmoid(xgboost_objective(model), "reg:logistic")
    if family == "lightgbm":
        text = estimator.booster_.model_to_string()
        if getattr(estimator.booster_, "pandas_categorical", None):
            return "it was trained on pandas categories, which the device has not; encode them and train again"
        return lightgbm_refusal(text) or _no_sigmoid(lightgbm_objective(text).partition(" ")[0], "cross_entropy")
    return ""


def _family(estimator: Any) -> str:
    """ "xgboost", "lightgbm" or "catboost" for a fitted booster, else ""."""
    name = type(estimator).__module__.partition(".")[0]
    if name == "catboost":
        return name
    return name if name in ("xgboost", "lightgbm") and estimator.__sklearn_is_fitted__() else ""


def _no_sigmoid(objective: str, forgotten: str) -> str:
    return (
        f"objective {objective!r} loses its sigmoid inside a pipeline; convert the booster alone"
        if objective == forgotten
        else ""
    )


def mend_inside(estimator: Any, marks: Marks) -> None:
    """Mends a booster that is a step of a pipeline, in place."""
    family = _family(estimator)
    if family == "xgboost":
        booster = estimator.get_booster()
        best = booster.attr("best_iteration")
        whole = booster if best is None else booster[: int(best) + 1]
        estimator.load_model(bytearray(json.dumps(xgboost_mended(xgboost_json(whole))[0]).encode()))
    elif family == "lightgbm":
        import lightgbm

        mended = lightgbm_mended(estimator.booster_.model_to_string(), marks)[0]
        estimator._Booster = lightgbm.Booster(model_str=mended)  # noqa: SLF001 - unlike XGBoost's it loads no model
        estimator.boosting_type = "gbdt"  # a forest's mean is in its leaves now


def register(estimators: Iterable[Any]) -> None:
    """Tells skl2onnx of the boosters among the estimators. Raises ConfigError where onnxmltools is not installed."""
    families = {type(e).__module__.partition(".")[0] for e in estimators}
    if not families & {"xgboost", "lightgbm"}:
        return
    try:
        from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
        from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
        from skl2onnx import update_registered_converter
        from skl2onnx.common import shape_calculator as shapes
    except ImportError:
        raise needs("converting a booster inside a pipeline", "onnxmltools", "convert-xgboost") from None
    options = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    one_class, number = (
        shapes.calculate_linear_classifier_output_shapes,
        shapes.calculate_linear_regressor_output_shapes,
    )
    if "xgboost" in families:
        import xgboost as library

        for kind in (library.XGBClassifier, library.XGBRFClassifier):
            update_registered_converter(kind, f"XGBoost{kind.__name__}", one_class, convert_xgboost, options=options)
        for kind in (library.XGBRegressor, library.XGBRFRegressor):
            update_registered_converter(kind, f"XGBoost{kind.__name__}", number, convert_xgboost)
    if "lightgbm" in families:
        import lightgbm

        update_registered_converter(
            lightgbm.LGBMClassifier, "LightGbmLGBMClassifier", one_class, convert_lightgbm, options=options
        )
        update_registered_converter(
            lightgbm.LGBMRegressor, "LightGbmLGBMRegressor", number, convert_lightgbm, options={"split": None}
        )
