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
from converter.rows.synthetic import made_up, spread_of
from converter.source import Probe, Source
from converter.sources import deserialise
from converter.trees import boosters
from converter.trees.tabular import (
    REFUSALS,
    TREES_OPSET,
    as_table,
    finished,
    header_or,
    matrix,
    reason,
    trees_on_tflite,
)
from edge.data.tensor import Array
from edge.errors import needs
from edge.model.manifest import Feature, Input, Manifest, Output


def export(source: Source, rows: Rows | None, options: Options) -> Artifact:
    """An XGBoost model as ONNX. Raises UnsupportedError with the reason where that would not be honest."""
    if options.target != "onnx":
        raise trees_on_tflite("an XGBoost model")
    booster, best = _open(source, options)
    model = boosters.xgboost_json(booster)
    refused = boosters.xgboost_refusal(model)
    if refused:
        raise UnsupportedError(f"{source.name}: {refused}")
    features = tuple(
        Feature(name=n, missing=True) for n in header_or(booster.feature_names, booster.num_features(), rows)
    )
    rows = as_table(rows, features) if rows is not None else made_up(features, *_spread(booster, len(features)))
    original = _Original(booster, features, boosters.xgboost_objective(model), best)
    stopped = booster if best is None else booster[: best + 1]
    proto = _convert(boosters.xgboost_json(stopped), len(features), original)
    scored = original.classifies
    manifest = Manifest(
        name="", task="classify" if scored else "regress",
        inputs=(Input(name="input", kind="table", shape=(None, len(features)), features=features),),
        outputs=(Output(name="label", role="label"), Output(name="scores", role="scores")) if scored
        else (Output(name="value", role="value"),),
        labels=tuple(str(i) for i in range(original.classes)) if scored else (),
    )  # fmt: skip
    return finished("xgboost", proto, manifest, original.answers, rows, source)


def _open(source: Source, options: Options) -> tuple[Any, int | None]:
    """The booster, and the best iteration where its predictions stop there."""
    try:
        import xgboost
    except ImportError:
        raise needs("the XGBoost exporter", "xgboost-cpu", "convert-xgboost") from None
    if source.form in ("xgboost-json", "xgboost-ubj"):
        booster = xgboost.Booster()
        try:
            booster.load_model(source.file)
        except (xgboost.core.XGBoostError, ValueError) as exc:
            text = (str(exc).strip() or "damaged").splitlines()[0]  # a stack trace follows
            raise UnrecognisedError(f"{source.name}: XGBoost cannot read it: {text[:200]}; save it again") from exc
        # Booster.predict takes every tree; the scikit-learn API, which leaves its mark, the best iterations.
        return booster, _best(booster) if booster.attr("scikit_learn") is not None else None
    model = deserialise.native(source, options)
    if isinstance(model, xgboost.Booster):
        return model, None
    if not isinstance(model, xgboost.XGBModel):
        raise UnsupportedError(f"{source.name} holds a {type(model).__name__}, not an XGBoost model")
    if not np.isnan(model.missing):
        raise UnsupportedError(
            f"{source.name}: missing={model.missing}, but in ONNX a missing value is NaN; train with missing=nan"
        )
    try:
        booster = model.get_booster()
    except (xgboost.core.XGBoostError, AttributeError, ValueError):  # NotFittedError is two of them
        raise UnsupportedError(
            f"{source.name}: the {type(model).__name__} is not fitted; call fit before saving it"
        ) from None
    return booster, _best(booster)


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
            matrix(rows, self.features, "float32"), feature_names=self.booster.feature_names,
            feature_types=self.booster.feature_types,
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


def _convert(model: dict[str, Any], count: int, original: _Original) -> Any:
    try:
        import onnxmltools
        from onnxmltools.convert.common.data_types import FloatTensorType
    except ImportError:
        raise needs("the XGBoost exporter", "onnxmltools", "convert-xgboost") from None
    import xgboost

    mended, sigmoid = boosters.xgboost_mended(model)
    wrapper = xgboost.XGBClassifier() if original.classifies else xgboost.XGBRegressor()
    wrapper.load_model(bytearray(json.dumps(mended).encode()))
    try:
        proto = onnxmltools.convert_xgboost(
            wrapper, initial_types=[("input", FloatTensorType([None, count]))], target_opset=TREES_OPSET
        )
    except REFUSALS as exc:
        raise UnsupportedError(f"onnxmltools cannot convert this XGBoost model: {reason(exc)}") from exc
    names = [o.name for o in proto.graph.output]
    for old, new in zip(names, ("label", "scores") if original.classifies else ("value",), strict=False):
        graph.rename_output(proto, old, new)
    if sigmoid:
        graph.append(proto, "Sigmoid", "value", "value")
    return proto


def _spread(booster: Any, count: int) -> tuple[Array, Array]:
    table = booster.trees_to_dataframe()
    inner = table[table.Feature != "Leaf"]
    names = list(booster.feature_names or [f"f{i}" for i in range(count)])
    return spread_of([(names.index(f), float(s)) for f, s in zip(inner.Feature, inner.Split, strict=True)], count)


def form_of(probe: Probe) -> str:
    """The form of a file of XGBoost's own: binary JSON, or JSON."""
    if probe.head.startswith(b"{L") and b"learner" in probe.head[:32]:
        return "xgboost-ubj"
    return "xgboost-json" if isinstance(probe.json, dict) and "learner" in probe.json else ""


EXPORTER = ExporterInfo(
    edge_api=1, export=export, recognise=form_of, packages=("xgboost",), suffixes=(".json", ".ubj"),
    distributions=("xgboost-cpu", "xgboost", "onnxmltools"),
)  # fmt: skip
