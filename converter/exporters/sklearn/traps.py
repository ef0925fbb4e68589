"""Where skl2onnx lies or fails: refused with the reason, or mended before the conversion.

Each was measured (scikit-learn 1.9, skl2onnx 1.20) and has a test that fails without its entry here.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np

from converter.errors import UnsupportedError
from converter.exporters.sklearn import estimators, linear_members, members, one_hot, precision, stand_ins, targets
from converter.exporters.sklearn.precision import Precision
from converter.sources import deserialise
from converter.trees import boosters
from converter.trees.exact_trees import EXACT, Marks

_NO_OPERATOR = {
    "GaussianProcessClassifier": "it needs a linear solver, which ONNX has not; use SVC(probability=True)",
    "OutputCodeClassifier": "ONNX has no distances to its code words; use OneVsRestClassifier or OneVsOneClassifier",
    "RadiusNeighborsClassifier": "ONNX has no neighbours within a radius; use KNeighborsClassifier",
    "RadiusNeighborsRegressor": "ONNX has no neighbours within a radius; use KNeighborsRegressor",
    "RegressorChain": "skl2onnx cannot hand an answer on to the next one; use MultiOutputRegressor",
    "SplineTransformer": "ONNX has no B-splines; use PolynomialFeatures or KBinsDiscretizer",
}


_LETTER = r"[\p{L}\p{N}_]"
_TRANSLATED = {r"\w": _LETTER, r"\d": r"\p{N}", r"[a-zA-Z]": "[a-zA-Z]", r"[a-z]": "[a-z]", r"\S": r"\S"}
_PART = re.compile(r"(\\w|\\d|\\S|\[[A-Za-z0-9_-]+\])(\+|\{\d+,?\d*\})?")


def _token_expression(pattern: str) -> str:
    """A pattern of words as ONNX Runtime's tokenizer (RE2) writes it, or "" where it cannot.

    It knows no \\b; between words of letters, as every pattern takes as many as it can, there is a border anyway.
    """
    inner = pattern.removeprefix("(?u)").removeprefix(r"\b").removesuffix(r"\b")
    parts = [(m.group(1), m.group(2) or "") for m in _PART.finditer(inner)]
    if "".join(kind + count for kind, count in parts) != inner or not parts:
        return ""
    if inner == r"\w\w+":
        return _LETTER + "{2,}"
    return "".join(_TRANSLATED.get(kind, kind) + count for kind, count in parts)


_ENCODERS = "OneHotEncoder, OrdinalEncoder or TargetEncoder of scikit-learn, in a ColumnTransformer"
_STRANGERS = {
    "category_encoders": f"use {_ENCODERS}",
    "feature_engine": f"use {_ENCODERS}, its SimpleImputer, or do that step before the model",
    **deserialise.WRAPPERS,
}
"""Packages whose classes look like scikit-learn's and are none of them, and what to take instead."""

_IMPUTERS = ("KNNImputer", "SimpleImputer")

EXACT_IN_FLOAT64 = 2**53

ROUNDED_ALONE = "tree thresholds rounded down to float32: exact for inputs that are float32"

CAPITALS = "text: capital letters beyond A to Z stay capitals on the device; send such words in small letters"
UNKNOWN_AS_ZEROS = (
    "OneHotEncoder: a number that it does not know is answered as if it were none of its categories (zeros), where "
    "scikit-learn refuses the row (handle_unknown='error')"
)


def refuse(model: Any) -> None:
    """Raises UnsupportedError for an estimator whose conversion would be wrong or would not run."""
    if reason := targets.refusal(model):
        raise UnsupportedError(f"TransformedTargetRegressor: {reason}")
    for estimator in estimators.walk(targets.without(model)):
        kind = estimators.kind_of(estimator)
        package = type(estimator).__module__.partition(".")[0]
        if package in _STRANGERS:
            raise UnsupportedError(f"{package}'s {kind} has no counterpart in ONNX; {_STRANGERS[package]}")
        reason = _NO_OPERATOR.get(kind) or _reason(kind, estimator)
        if reason:
            raise UnsupportedError(f"{kind}: {reason}")
    for inner in estimators.walk(model):
        classes = getattr(inner, "classes_", None)
        if isinstance(classes, np.ndarray) and len(classes) == 1:
            raise UnsupportedError(
                f"{estimators.kind_of(inner)}: it was trained on one class only ({classes[0]}) and always answers that"
            )
    last = estimators.kind_of(estimators.last_step(model))
    if last in ("RFE", "RFECV"):
        raise UnsupportedError(
            f"{last}: it ends the model, where ONNX only selects; use make_pipeline({last}(...), estimator)"
        )
    _refuse_empty_text(model)
    _refuse_hidden_columns(model)


def _refuse_empty_text(model: Any) -> None:
    """A device takes an empty text for a missing one, and here the two are answered otherwise."""
    filled = _behind_imputers(model)
    for encoder in estimators.walk(model):
        for known in getattr(encoder, "categories_", ()):
            values = np.asarray(known, dtype=object).tolist()
            if id(encoder) in filled and any(isinstance(v, str) for v in values) and any(map(_is_gap, values)):
                raise UnsupportedError(
                    f"{estimators.kind_of(encoder)}: it knows a missing text as a category, for the imputer before it "
                    "fills only one of None and NaN, which are one and the same to a device; fill both "
                    "(frame.fillna(np.nan), or missing_values=None) and train again"
                )
            if "" in values and (id(encoder) in filled or any(map(_is_gap, values))):
                raise UnsupportedError(
                    f"{estimators.kind_of(encoder)}: it knows the empty text as a category, and missing texts too, "
                    "which are one and the same to a device; give the empty ones a name ('none') and train again"
                )


def _is_gap(value: Any) -> bool:
    return value is None or value != value


def _behind_imputers(model: Any) -> set[int]:
    """The `id` of each part that is given texts whose gaps a step before it has filled."""
    found = set[int]()
    for pipeline in estimators.walk(model):
        steps = getattr(pipeline, "steps", None)
        fills = False
        for _, step in steps if isinstance(steps, list) else ():
            parts = list(estimators.walk(step))
            if fills:
                found.update(map(id, parts))
            fills = fills or any(_is_text_imputer(e) and e.missing_values != "" for e in parts)
    return found


def _refuse_hidden_columns(model: Any) -> None:
    """skl2onnx gives columns to a pipeline that begins with a ColumnTransformer, and to nothing around it."""
    first = estimators.first_step(model)
    kind = estimators.kind_of(first)
    if hasattr(first, "transformers_") or kind == "FeatureUnion" or not estimators.selects_by_name(model):
        return
    raise UnsupportedError(
        f"{kind}: a ColumnTransformer inside of it gets no columns in ONNX; put it in front: "
        f"make_pipeline(columns, {kind}(...))"
    )


def _reason(kind: str, estimator: Any) -> str:
    categorical = getattr(estimator, "is_categorical_", None)
    if kind.startswith("HistGradientBoosting") and categorical is not None and np.any(categorical):
        return (
            "categorical_features cannot be converted: skl2onnx takes their bit sets for thresholds and gives wrong "
            "answers (by up to 0.87); encode the categories with OrdinalEncoder or OneHotEncoder and train without it"
        )
    large = _largest_category(estimator) if kind.endswith("Encoder") else 0
    if large > EXACT_IN_FLOAT64:
        return (
            f"its categories are whole numbers beyond 2^53 ({large}), which float64 cannot tell apart; give them as "
            "text (astype(str)) and train again"
        )
    if reason := _of_what_was_trained(kind, estimator) if estimators.is_fitted(estimator) else "":
        return reason
    if kind == "QuantileTransformer" and estimator.output_distribution != "uniform":
        return "output_distribution='normal' needs a function that ONNX has not; take 'uniform'"
    if kind == "MaxAbsScaler" and getattr(estimator, "clip", False):
        return "clip=True is lost in ONNX; use MinMaxScaler(clip=True)"
    if kind.startswith("GradientBoosting") and estimator.init is not None and not isinstance(estimator.init, str):
        return "a model in init= has no converter; train without it, or with init='zero'"
    if kind == "CalibratedClassifierCV" and estimator.method in ("isotonic", "temperature"):
        return (
            f"method={estimator.method!r} comes out otherwise in ONNX, or not at all; calibrate with method='sigmoid'"
        )
    if kind == "KNNImputer" and (callable(estimator.weights) or callable(estimator.metric)):
        return "Python code cannot become ONNX; take weights='distance' or 'uniform', and the metric that there is"
    if getattr(estimator, "add_indicator", False) and (kind not in _IMPUTERS or _is_text_imputer(estimator)):
        return "add_indicator=True has no converter; impute without it, or give the indicator as a column of its own"
    if kind == "FunctionTransformer" and getattr(estimator, "func", None) is not None:
        name = getattr(estimator.func, "__name__", "a function")
        return f"Python code ({name}) cannot become ONNX; do that step before the model"
    words = kind in ("CountVectorizer", "TfidfVectorizer") and estimator.analyzer == "word"
    if words and not _token_expression(estimator.token_pattern or ""):
        return (
            f"token_pattern={estimator.token_pattern!r} has no counterpart in ONNX; take the default, or letters and "
            "digits such as '[a-z0-9]+'"
        )
    return boosters.refusal_inside(estimator)


def _of_what_was_trained(kind: str, estimator: Any) -> str:
    if kind in ("OneVsRestClassifier", "OneVsOneClassifier"):
        return members.refusal(kind, estimator)
    if kind == "StackingClassifier" and "predict" in estimator.stack_method_:
        return "stack_method='predict' hands classes on, which ONNX cannot; use 'predict_proba'"
    if kind == "StackingClassifier" and any(
        hasattr(m, "steps") and estimators.kind_of(estimators.last_step(m)) == "LinearSVC"
        for m in estimator.estimators_
    ):
        return (
            "a member of it is a pipeline that ends in LinearSVC, whose margins ONNX loses there; let the steps stand "
            "before it: make_pipeline(..., StackingClassifier([(..., LinearSVC())]))"
        )
    if kind == "BaggingClassifier" and not hasattr(estimator.estimators_[0], "predict_proba"):
        return "its members have no probabilities and vote, which comes out otherwise in ONNX; use some that have"
    return ""


def _largest_category(encoder: Any) -> int:
    """The largest whole number, without its sign, among the categories of an encoder; 0 where there is none."""
    categories = getattr(encoder, "categories_", None)
    values = [v for c in categories or () if np.asarray(c).dtype.kind in "iuO" for v in np.asarray(c).tolist()]
    return max((abs(v) for v in values if type(v) is int), default=0)


def is_multilabel(model: Any) -> bool:
    """True for a classifier that gives several answers a row."""
    last = estimators.last_step(model)
    return bool(
        getattr(last, "multilabel_", False)
        or isinstance(getattr(last, "classes_", None), list)
        or (getattr(last, "outputs_2d_", False) and hasattr(last, "classes_"))
        or (getattr(last, "out_activation_", "") == "logistic" and getattr(last, "n_outputs_", 1) > 1)
    )


def several_answers(model: Any) -> UnsupportedError:
    """The refusal of a classifier that gives several answers a row."""
    last = estimators.last_step(model)
    kind = estimators.kind_of(last)
    alone = kind in ("MultiOutputClassifier", "OneVsRestClassifier")
    way_out = (
        f"convert its {len(last.estimators_)} classifiers one by one (estimators_[0], ...)"
        if alone
        else f"train one {kind} for each column of y (y[:, 0], ...)"
    )
    behind = ", each behind the steps before it" if alone and last is not model else ""
    return UnsupportedError(f"{kind} gives several answers a row, and a device has one class for it; {way_out}{behind}")


def options(model: Any) -> dict[int, dict[str, Any]]:
    """skl2onnx's options by the identity of each estimator inside."""
    by_estimator: dict[int, dict[str, Any]] = {}
    for estimator in estimators.walk(model):
        kind = estimators.kind_of(estimator)
        if kind == "StandardScaler":
            # By default it multiplies by 1/std: one unit in the last place off, and a tree behind it takes the
            # other branch in 0.5 to 1.2 % of the rows.
            by_estimator[id(estimator)] = {"div": "div"}
        elif kind == "LinearSVC":
            by_estimator[id(estimator)] = {"raw_scores": True}
        elif kind == "OneVsRestClassifier" and not hasattr(estimator, "predict_proba"):
            by_estimator[id(estimator)] = {
                "raw_scores": True
            }  # it would divide margins by their sum, as if probabilities
        elif kind == "VotingClassifier" and estimator.voting == "hard":
            # The highest margin is the member's vote; its probabilities may have rounded to 1 for several classes.
            members = [m for m in estimator.estimators_ if linear_members.decides_by_margins(m)]
            by_estimator.update({id(m): {"raw_scores": True} for m in members})
        elif kind in ("TfidfVectorizer", "CountVectorizer"):
            # Any other locale may not exist on the device, and the model would not load.
            by_estimator[id(estimator)] = {"locale": "C"}
            if estimator.analyzer == "word":
                by_estimator[id(estimator)]["tokenexp"] = _token_expression(estimator.token_pattern)
    return by_estimator


def mend(model: Any, marks: Marks, dtype: Precision = "float32") -> Any:
    """A copy of the model that skl2onnx converts as the original answers, once the marked thresholds are restored."""
    changed = copy.deepcopy(model)
    for estimator in list(estimators.walk(changed)):
        kind = estimators.kind_of(estimator)
        if _is_text_imputer(estimator):
            estimator.missing_values = ""  # a missing text comes as "": there is no NaN among strings
        elif kind in ("OneHotEncoder", "OrdinalEncoder", "TargetEncoder") and hasattr(estimator, "categories_"):
            estimator.categories_ = [_without_nan(c) for c in estimator.categories_]
        elif kind in ("VotingClassifier", "VotingRegressor"):
            if kind == "VotingClassifier":
                estimator.flatten_transform = False  # concerns `transform` alone, and skl2onnx stops at it
            if estimator.weights is not None:
                estimator.weights = np.asarray(estimator.weights, dtype=np.float64)  # it sums them as an array
        if kind == "KBinsDiscretizer" and estimator.encode == "onehot":
            estimator.encode = "onehot-dense"  # the same numbers; ONNX has no sparse tensors
        _without_passthrough(estimator)
        _plain_columns(estimator)
        stand_ins.put_in(estimator)
        boosters.mend_inside(estimator, marks)
        _mark_thresholds(estimator, marks)
        if dtype == "float64":
            precision.cast_before_trees(estimator)
    return changed


def _mark_thresholds(estimator: Any, marks: Marks) -> None:
    tree = getattr(estimator, "tree_", None)
    if tree is not None and np.any(tree.missing_go_to_left):  # trained with gaps: skl2onnx forgets where they go
        inner = tree.children_left != tree.children_right
        tree.threshold[inner] = marks.of(tree.threshold[inner], tree.missing_go_to_left[inner], single=True)
    for grown in estimators.histogram_trees(estimator):
        nodes = grown.nodes
        nodes["num_threshold"] = marks.of(nodes["num_threshold"], nodes["missing_go_to_left"] > 0)


def _without_passthrough(pipeline: Any) -> None:
    """Takes out steps that do nothing: skl2onnx stops at one that comes first or last."""
    from sklearn.preprocessing import FunctionTransformer

    steps = getattr(pipeline, "steps", None)
    if isinstance(steps, list):
        doing = [step for step in steps if step[1] is not None and not isinstance(step[1], str)]
        pipeline.steps = doing or [("as_it_is", FunctionTransformer())]


def _plain_columns(estimator: Any) -> None:
    """Columns counted from the end, named in a slice, or marked by a mask, which skl2onnx takes for the places 0 and 1:
    as it knows them, places or a list of names."""
    chosen = getattr(estimator, "transformers_", None)
    if not isinstance(chosen, list):
        return
    names = [str(n) for n in getattr(estimator, "feature_names_in_", ())]
    places = list(range(estimator.n_features_in_))
    for at, (name, operation, columns) in enumerate(chosen):
        plain = columns
        if isinstance(columns, slice) and (isinstance(columns.start, str) or isinstance(columns.stop, str)):
            plain = estimators.column_names(columns, names)
        elif estimators.is_mask(columns):
            plain = [place for place, on in zip(places, columns, strict=True) if on]
        elif isinstance(columns, (list, np.ndarray)) and any(_is_negative(c) for c in columns):
            plain = [places[c] for c in columns]
        elif _is_negative(columns):
            plain = places[columns]
        chosen[at] = (name, operation, plain)


def _is_negative(column: Any) -> bool:
    return isinstance(column, (int, np.integer)) and int(column) < 0


def thawed(model: Any) -> Any:
    """The model as it predicts: the best one of a search, that of a FrozenEstimator; samplers (imblearn) left out."""
    if estimators.kind_of(model) == "FrozenEstimator":
        return thawed(model.estimator)
    if estimators.kind_of(model) == "SelfTrainingClassifier":
        return thawed(model.estimator_)
    best = getattr(model, "best_estimator_", None)
    if best is not None:
        return thawed(best)
    steps = getattr(model, "steps", None)
    if not isinstance(steps, list):
        return model
    kept = [(name, thawed(step)) for name, step in steps if not hasattr(step, "fit_resample")]
    theirs = type(model).__module__.partition(".")[0] == "sklearn"
    if theirs and len(kept) == len(steps) and all(a[1] is b[1] for a, b in zip(kept, steps, strict=True)):
        return model
    from sklearn.pipeline import Pipeline

    return Pipeline(kept)


def _without_nan(categories: Any) -> Any:
    """Text categories with "" for a missing one, which is how it comes; others as they are."""
    if not estimators.has_text(categories):
        return categories
    return np.array(["" if c is None or c != c else c for c in categories], dtype=object)


def _is_text_imputer(estimator: Any) -> bool:
    statistics = getattr(estimator, "statistics_", None)
    return (
        estimators.kind_of(estimator) == "SimpleImputer" and statistics is not None and estimators.has_text(statistics)
    )


def notes(model: Any, dtype: Precision) -> tuple[str, ...]:
    """What the report has to say about a conversion that is not quite the original."""
    parts = list(estimators.walk(model))
    encoders = [e for e in parts if estimators.kind_of(e) == "OneHotEncoder" and hasattr(e, "categories_")]
    said = (UNKNOWN_AS_ZEROS,) if any(one_hot.takes_unknown(e) for e in encoders) else ()
    boosted = any(estimators.histogram_trees(e) for e in parts)
    if any(estimators.kind_of(e) in estimators.TEXT_VECTORIZERS and e.lowercase for e in parts):
        return (CAPITALS, *said)
    if dtype == "float64":
        return (EXACT if boosted else "computed in float64, as the original does", *said)
    return (ROUNDED_ALONE, *said) if boosted else said
