"""XGBoost by way of onnxmltools: the scikit-learn API, Booster, .json and .ubj files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from converter.artifact import Artifact
from converter.errors import UnrecognisedError, UnsupportedError
from converter.graph import graph
from converter.options import Options
from converter.plugins import ExporterInfo
from converter.rows.rows import Rows
from converter.rows.synthetic import made_up
from converter.rows.tensors import table
from converter.source import Probe, Source
from converter.sources import deserialise
from converter.trees import boosters, several_targets
from converter.trees.tabular import (
    REFUSALS,
    TREES_OPSET,
    as_table,
    finished,
    header_or,
    suspected_missing,
    trees_on_tflite,
)
from edge.data.tensor import Array
from edge.errors import Needing, first_line, one_line
from edge.model.manifest import Feature, Input, Manifest, Output

_SORTS = (3, 4)
ASCENDING = "quantiles are sorted where they cross, as XGBoost does it from 3.4 on; before, they crossed"


def export(source: Source, rows: Rows | None, options: Options) -> Artifact:
    """An XGBoost model as ONNX. Raises UnsupportedError with the reason where that would not be honest."""
    if options.target != "onnx":
        raise trees_on_tflite("an XGBoost model")
    opened = _open(source, options)
    booster, best = opened.booster, opened.best
    model = boosters.xgboost_json(booster)
    refused = boosters.xgboost_refusal(model)
    if refused:
        raise UnsupportedError(f"{source.name}: {refused}")
    features = tuple(
        Feature(name=n, missing=True) for n in header_or(booster.feature_names, booster.num_features(), rows)
    )
    original = _Original(booster, features, boosters.xgboost_objective(model), best, opened.missing)
    rows = as_table(rows, features) if rows is not None else made_up(features, original.thresholds())
    stopped = booster if best is None else booster[: best + 1]
    proto = _convert(boosters.xgboost_json(stopped), len(features), original)
    scored = original.classifies
    _, targets = several_targets.taken_apart(model)
    manifest = Manifest(
        name="", task="classify" if scored else "regress",
        inputs=(Input(name="input", kind="table", shape=(None, len(features)), features=features),),
        outputs=(Output(name="label", role="label"), Output(name="scores", role="scores")) if scored
        else (Output(name="value", role="value", names=targets.names if targets is not None else ()),),
        labels=tuple(str(i) for i in range(original.classes)) if scored else (),
    )  # fmt: skip
    artifact = finished("xgboost", proto, manifest, original, rows, source)
    artifact = artifact.noting(ASCENDING) if _ascend(targets) else artifact
    artifact = artifact.noting(boosters.RANKS) if original.objective in boosters.XGBOOST_RANKS else artifact
    return artifact if opened.missing_given else artifact.noting(*suspected_missing(artifact.rows, features))


@dataclass(frozen=True, slots=True)
class _Opened:
    """A booster; `best` is the last iteration that counts, `missing` the number that stands for a missing value.

    None: all iterations count, and only NaN is missing; `missing_given` is False where neither the model nor the user
    says so.
    """

    booster: Any
    best: int | None
    missing: float | None
    missing_given: bool


def _open(source: Source, options: Options) -> _Opened:
    """What a source holds. Raises UnrecognisedError, UnsupportedError."""
    with Needing("the XGBoost exporter", "xgboost-cpu", "convert-xgboost"):
        import xgboost
    if source.form in ("xgboost-json", "xgboost-ubj"):
        booster = xgboost.Booster()
        try:
            booster.load_model(source.file)
        except (xgboost.core.XGBoostError, ValueError) as exc:
            raise UnrecognisedError(f"{source.name}: XGBoost cannot read it: {first_line(exc)}; save it again") from exc
        # Booster.predict takes every tree; the scikit-learn API, which leaves its mark, the best iterations.
        best = _best(booster) if booster.attr("scikit_learn") is not None else None
        return _Opened(booster, best, options.missing, missing_given=options.missing is not None)
    model = deserialise.native(source, options)
    if isinstance(model, xgboost.Booster):
        return _Opened(model, None, options.missing, missing_given=options.missing is not None)
    if not isinstance(model, xgboost.XGBModel):
        raise deserialise.no_model(source, model, "an XGBoost model")
    try:
        booster = model.get_booster()
    except (xgboost.core.XGBoostError, AttributeError, ValueError):  # NotFittedError is two of them
        raise UnsupportedError(
            f"{source.name}: the {type(model).__name__} is not fitted; call fit before saving it"
        ) from None
    missing = None if np.isnan(model.missing) else float(model.missing)
    return _Opened(booster, _best(booster), missing, missing_given=True)


def _best(booster: Any) -> int | None:
    text = booster.attr("best_iteration")
    return None if text is None else int(text)


@dataclass(frozen=True)
class _Original:
    """The booster's own answers."""

    booster: Any
    features: tuple[Feature, ...]
    objective: str
    best: int | None
    missing: float | None

    @property
    def classifies(self) -> bool:
        return self.objective in boosters.XGBOOST_CLASSIFIES

    @property
    def classes(self) -> int:
        config = json.loads(self.booster.save_config())
        return max(2, int(config["learner"]["learner_model_param"]["num_class"]))

    def answers(self, rows: Rows) -> dict[str, Array]:
        """Arrays [rows, ...] by output name."""
        import xgboost

        data = xgboost.DMatrix(
            table(rows, self.features), feature_names=self.booster.feature_names,
            feature_types=self.booster.feature_types, missing=np.nan if self.missing is None else self.missing,
        )  # fmt: skip
        until = (0, 0) if self.best is None else (0, self.best + 1)
        if not self.classifies:
            return {"value": self.booster.predict(data, iteration_range=until)}
        if self.objective == "multi:softmax":
            margins = self.booster.predict(data, iteration_range=until, output_margin=True)
            powers = np.exp(margins - margins.max(axis=1, keepdims=True))
            scores = powers / powers.sum(axis=1, keepdims=True)
        else:
            scores = self.booster.predict(data, iteration_range=until)
        if scores.ndim == 1:
            scores = np.stack([1 - scores, scores], axis=1)
        # A tie goes to the first class, as in XGBoost.
        return {"label": np.array([str(i) for i in np.argmax(scores, axis=1)], dtype=object), "scores": scores}

    def thresholds(self) -> list[tuple[int, float]]:
        """(feature's place, number) pairs at which the trees decide."""
        trees = self.booster.trees_to_dataframe()
        inner = trees[trees.Feature != "Leaf"]
        places = {
            n: i for i, n in enumerate(self.booster.feature_names or [f"f{i}" for i in range(len(self.features))])
        }
        return [(places[f], float(s)) for f, s in zip(inner.Feature, inner.Split, strict=True)]


def _convert(model: dict[str, Any], count: int, original: _Original) -> Any:
    with Needing("the XGBoost exporter", "onnxmltools", "convert-xgboost"):
        import onnxmltools
        from onnxmltools.convert.common.data_types import FloatTensorType
    import xgboost

    mended, sigmoid = boosters.xgboost_mended(model)
    mended, targets = several_targets.taken_apart(mended)
    wrapper = xgboost.XGBClassifier() if original.classifies else xgboost.XGBRegressor()
    wrapper.load_model(bytearray(json.dumps(mended).encode()))
    try:
        proto = onnxmltools.convert_xgboost(
            wrapper, initial_types=[("input", FloatTensorType([None, count]))], target_opset=TREES_OPSET
        )
    except REFUSALS as exc:
        raise UnsupportedError(f"onnxmltools cannot convert this XGBoost model: {one_line(exc)}") from exc
    names = [o.name for o in proto.graph.output]
    for old, new in zip(names, ("label", "scores") if original.classifies else ("value",), strict=False):
        graph.rename_output(proto, old, new)
    if targets is not None:
        several_targets.restore(proto, targets, "value")
        if _ascend(targets):
            several_targets.ascend(proto, "value", len(targets.names))
    if sigmoid:
        graph.append(proto, "Sigmoid", "value", "value")
    if original.missing is not None:
        _nan_for(original.missing, proto)
    return proto


def _ascend(targets: several_targets.Targets | None) -> bool:
    """Whether XGBoost answers with its quantiles sorted: from 3.4 on, whichever release has trained the model."""
    import xgboost

    release = tuple(int(number) for number in xgboost.__version__.split(".")[:2])
    return targets is not None and targets.quantiles and release >= _SORTS


def _nan_for(missing: float, proto: Any) -> None:
    """Puts NaN in place of the number that stands for a missing value, at the input and in place."""
    onnx = graph.library()
    for node in proto.graph.node:
        node.input[:] = ["input_or_nan" if name == "input" else name for name in node.input]
    for name, value in (("missing_number", missing), ("not_a_number", np.nan)):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value, dtype=np.float32), name))
    proto.graph.node.insert(0, onnx.helper.make_node("Equal", ["input", "missing_number"], ["is_missing"]))
    proto.graph.node.insert(
        1, onnx.helper.make_node("Where", ["is_missing", "not_a_number", "input"], ["input_or_nan"])
    )


def form_of(probe: Probe) -> str:
    """The form of a file of XGBoost's own: binary JSON, or JSON."""
    if probe.head.startswith(b"{L") and b"learner" in probe.head[:32]:
        return "xgboost-ubj"
    return "xgboost-json" if isinstance(probe.json, dict) and "learner" in probe.json else ""


EXPORTER = ExporterInfo(
    edge_api=1, export=export, recognise=form_of, packages=("xgboost",), suffixes=(".json", ".ubj"),
    distributions=("xgboost-cpu", "xgboost", "onnxmltools"),
)  # fmt: skip
