"""CatBoost by its own ONNX export: .cbm files and native objects."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from converter.artifact import Artifact
from converter.errors import UnrecognisedError, UnsupportedError
from converter.graph import decide, graph
from converter.graph.zipmap import without_zipmap
from converter.options import Options
from converter.plugins import ExporterInfo
from converter.rows.rows import Rows
from converter.rows.synthetic import made_up
from converter.rows.tensors import table
from converter.source import Probe, Source
from converter.sources import deserialise
from converter.trees import boosters
from converter.trees.tabular import as_table, finished, header_or, trees_on_tflite
from edge.compare.answers import plain
from edge.data.tensor import Array
from edge.errors import Needing, one_line
from edge.model.manifest import Feature, Input, Manifest, Output

_RANKS = ("YetiRank", "PairLogit", "QueryRMSE", "QuerySoftMax", "LambdaMart", "StochasticRank")


def export(source: Source, rows: Rows | None, options: Options) -> Artifact:
    """A CatBoost model as ONNX. Raises UnsupportedError for categorical, text and embedding features."""
    if options.target != "onnx":
        raise trees_on_tflite("a CatBoost model")
    model = _open(source, options)
    _refuse(model, source.name)
    trained = list(model.feature_names_)
    names = header_or(None if trained == [str(i) for i in range(len(trained))] else trained, len(trained), rows)
    features = tuple(Feature(name=n, missing=True) for n in names)
    labels = tuple(plain(c) for c in model.classes_)
    truths = _are_truths(labels)
    original = _Original(model, features, labels, tuple(str(i) for i in range(2)) if truths else labels)
    rows = as_table(rows, features) if rows is not None else made_up(features, original.thresholds())
    proto = _convert(_numbered(model) if truths else model, bool(labels))
    threshold = _threshold(model)
    if threshold is not None and len(labels) == 2:
        decide.by_threshold(without_zipmap(proto), threshold, _label_constants(proto, original.values), reached=False)
    manifest = Manifest(
        name="", task="classify" if labels else "regress",
        inputs=(Input(name=proto.graph.input[0].name, kind="table", shape=(None, len(features)), features=features),),
        outputs=(Output(name="label", role="label", values=original.values if truths else ()),
                 Output(name="scores", role="scores")) if labels
        else (Output(name="value", role="value"),),
        labels=original.labels,
    )  # fmt: skip
    artifact = finished("catboost", proto, manifest, original, rows, source)
    return artifact.noting(boosters.RANKS) if _loss(model).startswith(_RANKS) else artifact


def _open(source: Source, options: Options) -> Any:
    with Needing("the CatBoost exporter", "catboost", "convert-catboost"):
        import catboost
    if source.form == "catboost-cbm":
        try:
            return catboost.CatBoost().load_model(str(source.file))
        except catboost.CatBoostError as exc:
            raise UnrecognisedError(f"{source.name}: CatBoost cannot read it: {one_line(exc)}; save it again") from exc
    model = deserialise.native(source, options)
    if not isinstance(model, catboost.CatBoost):
        raise deserialise.no_model(source, model, "a CatBoost model")
    return model


def _loss(model: Any) -> str:
    """What it was trained to make small, with its parameters."""
    return str(model.get_all_params().get("loss_function", ""))


def _refuse(model: Any, name: str) -> None:
    if not model.is_fitted():
        raise UnsupportedError(f"{name}: the {type(model).__name__} is not fitted; call fit before saving it")
    loss = _loss(model).partition(":")[0]
    if loss in ("MultiLogloss", "MultiCrossEntropy", "MultiRMSE", "MultiRMSEWithMissingValues"):
        raise UnsupportedError(f"{name}: {loss} gives several answers a row; convert one model for each of them")
    if loss == "MultiQuantile":
        raise UnsupportedError(f"{name}: {loss} gives several answers a row; train Quantile:alpha=... for each of them")
    if loss == "RMSEWithUncertainty":
        raise UnsupportedError(f"{name}: CatBoost cannot write the variance of {loss} as ONNX; train with RMSE")
    if loss.startswith("PythonUserDefined") and len(model.classes_):
        raise UnsupportedError(
            f"{name}: CatBoost writes no probabilities as ONNX for an objective of the trainer's own ({loss}); train "
            "with Logloss or MultiClass"
        )
    scale = model.get_scale_and_bias()[0]
    if scale != 1:
        raise UnsupportedError(
            f"{name}: CatBoost cannot write a scale of {scale:g} as ONNX; multiply the answers behind the model, and "
            "set_scale_and_bias(1, ...)"
        )
    if any(isinstance(c, float) and not c.is_integer() for c in np.asarray(model.classes_).tolist()):
        raise UnsupportedError(f"{name}: CatBoost cannot write classes that are fractions as ONNX; train on text")
    policy = str(model.get_all_params().get("grow_policy", "SymmetricTree"))
    if policy != "SymmetricTree":
        raise UnsupportedError(
            f"{name}: CatBoost cannot write trees of grow_policy={policy} as ONNX; train with SymmetricTree"
        )
    for kind, indices in (
        ("categorical", model.get_cat_feature_indices()), ("text", model.get_text_feature_indices()),
        ("embedding", model.get_embedding_feature_indices()),
    ):  # fmt: skip
        if indices:
            raise UnsupportedError(
                f"{name}: CatBoost cannot write its {len(indices)} {kind} features as ONNX; encode them and train again"
            )


@dataclass(frozen=True)
class _Original:
    """The model's own answers."""

    model: Any
    features: tuple[Feature, ...]
    labels: tuple[str, ...]
    values: tuple[str, ...]
    """The classes as the label output of the converted model gives them."""

    def answers(self, rows: Rows) -> dict[str, Array]:
        """Arrays [rows, ...] by output name."""
        data = table(rows, self.features)
        if not self.labels:
            import catboost

            kind = "Exponent" if _has_log_link(self.model) else "RawFormulaVal"
            # Of the base class: that of CatBoostRanker takes no kind.
            return {"value": np.asarray(catboost.CatBoost.predict(self.model, data, prediction_type=kind))}
        scores = np.asarray(self.model.predict(data, prediction_type="Probability"))
        given = np.asarray(self.model.predict(data, prediction_type="Class")).reshape(-1)
        named = dict(zip(self.labels, self.values, strict=True))
        return {"label": np.array([named[plain(v)] for v in given], dtype=object), "scores": scores}

    def thresholds(self) -> list[tuple[int, float]]:
        """(feature's place, number) pairs at which the trees decide."""
        borders = self.model.get_borders() if hasattr(self.model, "get_borders") else {}
        return [(int(f), float(t)) for f, values in borders.items() for t in values]


def _threshold(model: Any) -> float | None:
    """The probability that its owner chose for the second of two classes; CatBoost's ONNX export leaves it out."""
    chosen = model.get_metadata().get("binclass_probability_threshold")
    return None if chosen is None else float(chosen)


def _label_constants(proto: Any, values: tuple[str, ...]) -> Array:
    """The classes in order as the label output gives them: int64 or text."""
    kind = next(o for o in proto.graph.output if o.name == "label").type.tensor_type.elem_type
    names = np.array(values, dtype=object)
    return names.astype(np.int64) if kind == graph.library().TensorProto.INT64 else names


def _are_truths(labels: tuple[str, ...]) -> bool:
    return bool(labels) and set(labels) <= {"True", "False"}


def _numbered(model: Any) -> Any:
    """The model with the classes 0 and 1: False and True are none that CatBoost can write as ONNX."""
    with TemporaryDirectory(prefix="edge-convert-") as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json")
        content = json.loads(path.read_bytes())
        parameters = content["model_info"]["class_params"]
        count = len(parameters["class_names"])
        parameters |= {"class_label_type": "Integer", "class_names": list(range(count))}
        path.write_text(json.dumps(content))
        return type(model)().load_model(str(path), format="json")


def _convert(model: Any, classifies: bool) -> Any:
    import catboost

    with TemporaryDirectory(prefix="edge-convert-") as folder:
        path = Path(folder) / "model.onnx"
        try:
            model.save_model(
                str(path), format="onnx", export_parameters={"onnx_domain": "edge", "onnx_model_version": 1}
            )
        except catboost.CatBoostError as exc:
            raise UnsupportedError(f"CatBoost cannot write this model as ONNX: {one_line(exc)}") from exc
        proto = graph.parse(path.read_bytes())
    names = [o.name for o in proto.graph.output]
    for old, new in zip(names, ("label", "scores") if classifies else ("value",), strict=False):
        graph.rename_output(proto, old, new)
    if _loss(model).startswith("MultiClassOneVsAll"):
        _squash_each(proto)
    if not classifies and _has_log_link(model):
        graph.append(proto, "Exp", "value", "value")
    return proto


def _squash_each(proto: Any) -> None:
    """Gives each class a probability of its own, in place: CatBoost writes a softmax over them, whatever the loss."""
    for node in proto.graph.node:
        for attribute in node.attribute:
            if attribute.name == "post_transform" and attribute.s == b"SOFTMAX":
                attribute.s = b"LOGISTIC"


def _has_log_link(model: Any) -> bool:
    """True where CatBoostRegressor.predict takes the exponent, which the ONNX export leaves out."""
    return _loss(model).startswith(("Poisson", "Tweedie"))


def form_of(probe: Probe) -> str:
    """The form of CatBoost's binary file."""
    return "catboost-cbm" if probe.head.startswith(b"CBM1") else ""


EXPORTER = ExporterInfo(
    edge_api=1, export=export, recognise=form_of, packages=("catboost",), suffixes=(".cbm",),
    distributions=("catboost",),
)  # fmt: skip
