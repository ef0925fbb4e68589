"""LightGBM by way of onnxmltools: the scikit-learn API, Booster and .txt files."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
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
from converter.trees import boosters, exact_trees
from converter.trees.exact_trees import EXACT
from converter.trees.tabular import (
    REFUSALS,
    TREES_OPSET,
    as_table,
    finished,
    header_or,
    spelt,
    trees_on_tflite,
)
from edge.compare.answers import plain
from edge.data.tensor import Array
from edge.errors import Needing, one_line
from edge.model.manifest import Feature, Input, Manifest, Output


def export(source: Source, rows: Rows | None, options: Options) -> Artifact:
    """A LightGBM model as ONNX. Raises UnsupportedError with the reason where that would not be honest."""
    if options.target != "onnx":
        raise trees_on_tflite("a LightGBM model")
    booster, classes, names = _open(source, options)
    text = booster.model_to_string()
    refused = boosters.lightgbm_refusal(text)
    if refused:
        raise UnsupportedError(f"{source.name}: {refused}")
    features = tuple(
        Feature(name=n, missing=True)
        for n in header_or(spelt(list(map(str, names)), rows), booster.num_feature(), rows, made_up="Column_")
    )
    original = _Original(booster, features, boosters.lightgbm_objective(text))
    if classes is not None and not original.classifies:
        raise UnsupportedError(
            f"{source.name}: with an objective of its own a classifier gives sums, from which no class follows; train "
            "with 'binary' or 'multiclass', or convert model.booster_ for the sums"
        )
    rows = as_table(rows, features) if rows is not None else made_up(features, original.thresholds())
    proto = _convert(text, original)
    values = tuple(str(i) for i in range(original.classes)) if original.classifies else ()
    labels = tuple(plain(c) for c in classes) if classes is not None and original.classifies else values
    manifest = Manifest(
        name="", task="classify" if original.classifies else "regress",
        inputs=(Input(name="input", kind="table", dtype="float64", shape=(None, len(features)), features=features),),
        outputs=(
            Output(name="label", role="label", values=values if values != labels else ()),
            Output(name="scores", role="scores"),
        ) if original.classifies else (Output(name="value", role="value"),),
        labels=labels,
    )  # fmt: skip
    artifact = finished("lightgbm", proto, manifest, original, rows, source)
    ranks = (boosters.RANKS,) if original.objective.startswith(boosters.LIGHTGBM_RANKS) else ()
    return replace(artifact, notes=(EXACT, *ranks, *artifact.notes))


def _open(source: Source, options: Options) -> tuple[Any, Any, list[str]]:
    """The booster, its classes where it has names for them, and its features."""
    with Needing("the LightGBM exporter", "lightgbm", "convert-lightgbm"):
        import lightgbm
    if source.form == "lightgbm-txt":
        text = source.file.read_text("utf-8", errors="replace")
        # LightGBM ends the process on some files that are cut short; the last section tells a whole one.
        if "end of trees" not in text:
            raise UnrecognisedError(
                f"{source.name}: a LightGBM model that is cut short (no 'end of trees'); save it again"
            )
        try:
            booster = lightgbm.Booster(model_str=text)
        except lightgbm.basic.LightGBMError as exc:
            raise UnrecognisedError(f"{source.name}: LightGBM cannot read it: {one_line(exc)}; save it again") from exc
        _refuse_pandas_categories(booster, source)
        return booster, None, booster.feature_name()
    model = deserialise.native(source, options)
    if isinstance(model, lightgbm.Booster):
        _refuse_pandas_categories(model, source)
        return model, None, model.feature_name()
    if not isinstance(model, lightgbm.LGBMModel):
        raise deserialise.no_model(source, model, "a LightGBM model")
    try:
        booster = model.booster_
    except lightgbm.sklearn.LGBMNotFittedError:
        raise UnsupportedError(
            f"{source.name}: the {type(model).__name__} is not fitted; call fit before saving it"
        ) from None
    _refuse_pandas_categories(booster, source)
    names = getattr(model, "feature_names_in_", None)
    return booster, getattr(model, "classes_", None), list(booster.feature_name() if names is None else names)


def _refuse_pandas_categories(booster: Any, source: Source) -> None:
    if getattr(booster, "pandas_categorical", None):
        raise UnsupportedError(
            f"{source.name}: it was trained on pandas categories, which the device has not; encode them and train again"
        )


@dataclass(frozen=True)
class _Original:
    """The booster's own answers."""

    booster: Any
    features: tuple[Feature, ...]
    objective: str

    @property
    def classifies(self) -> bool:
        return self.objective.startswith(("binary", "multiclass"))

    @property
    def classes(self) -> int:
        match = re.search(r"num_class:(\d+)", self.objective)
        return int(match.group(1)) if match else 2

    def answers(self, rows: Rows) -> dict[str, Array]:
        """Arrays [rows, ...] by output name."""
        answers = np.asarray(self.booster.predict(table(rows, self.features)))
        if not self.classifies:
            return {"value": answers}
        scores = np.stack([1 - answers, answers], axis=1) if answers.ndim == 1 else answers
        return {"label": np.array([str(i) for i in np.argmax(scores, axis=1)], dtype=object), "scores": scores}

    def thresholds(self) -> list[tuple[int, float]]:
        """(feature's place, number) pairs at which the trees decide."""
        pairs: list[tuple[int, float]] = []
        for places, values in re.findall(
            r"^split_feature=(.*)$[\s\S]*?^threshold=(.*)$", self.booster.model_to_string(), re.M
        ):
            pairs += [(int(f), float(t)) for f, t in zip(places.split(), values.split(), strict=True)]
        return pairs


def _convert(text: str, original: _Original) -> Any:
    with Needing("the LightGBM exporter", "onnxmltools", "convert-lightgbm"):
        import lightgbm
        import onnxmltools
        from onnxmltools.convert.common.data_types import FloatTensorType
    try:
        marks = exact_trees.Marks()
        mended, sigmoid = boosters.lightgbm_mended(text, marks)
        proto = onnxmltools.convert_lightgbm(
            lightgbm.Booster(model_str=mended),
            initial_types=[("input", FloatTensorType([None, len(original.features)]))],
            target_opset=TREES_OPSET,
            zipmap=False,
        )
    except REFUSALS as exc:
        raise UnsupportedError(f"onnxmltools cannot convert this LightGBM model: {one_line(exc)}") from exc
    names = [o.name for o in proto.graph.output]
    for old, new in zip(names, ("label", "scores") if original.classifies else ("value",), strict=False):
        graph.rename_output(proto, old, new)
    proto.graph.input[0].type.tensor_type.elem_type = graph.library().TensorProto.DOUBLE
    exact_trees.restore(proto, marks)
    if sigmoid:
        graph.append(proto, "Sigmoid", "value", "value")
    return proto


def form_of(probe: Probe) -> str:
    """The form of LightGBM's text file."""
    return "lightgbm-txt" if probe.head.startswith((b"tree\n", b"tree\r\n")) else ""


EXPORTER = ExporterInfo(
    edge_api=1, export=export, recognise=form_of, packages=("lightgbm",), suffixes=(".txt",),
    distributions=("lightgbm", "onnxmltools"),
)  # fmt: skip
