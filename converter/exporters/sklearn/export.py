"""scikit-learn by way of skl2onnx: classifiers, regressors, outlier detectors, pipelines, transformers.

A table of numbers is one input; where text or a choice of columns by name comes in, each column is an input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from converter.artifact import Artifact
from converter.errors import REFUSES_ROWS, UnsupportedError, rows_refused
from converter.exporters.sklearn import (
    attempts,
    decisions,
    estimators,
    neighbours,
    own_converters,
    sentences,
    stand_ins,
    targets,
    traps,
)
from converter.exporters.sklearn.precision import Precision
from converter.exporters.sklearn.synthetic import table_rows, thresholds_of_features
from converter.graph import decide, graph
from converter.graph.zipmap import without_zipmap
from converter.options import Options
from converter.plugins import ExporterInfo
from converter.proof import challenges, missing
from converter.rows.rows import Rows
from converter.source import Source
from converter.sources import deserialise
from converter.trees import boosters, exact_trees
from converter.trees.tabular import REFUSALS, as_table, trees_on_tflite
from edge.compare.answers import plain
from edge.data.tensor import STRING, Array, Tensors
from edge.errors import needs
from edge.model.manifest import Feature, Input, Manifest, Output, Task

OPSET = {"": 17, "ai.onnx.ml": 3}

_OUTPUTS = ("label", "scores", "score", "value", "output")


def export(source: Source, rows: Rows | None, options: Options) -> Artifact:
    """A scikit-learn model as ONNX. Raises UnsupportedError with the reason where that would not be honest."""
    if options.target != "onnx":
        raise trees_on_tflite("a scikit-learn model")
    model = deserialise.native(source, options)
    if not hasattr(model, "get_params"):
        raise deserialise.no_model(source, model, "a scikit-learn estimator")
    check_fitted(model, source.name)
    model = traps.thawed(model)
    traps.refuse(model)
    names = estimators.feature_names(model, rows)
    features = _features(model, names, rows)
    rows = rows if rows is not None else table_rows(model, features)
    rows = as_table(rows, features)
    return attempts.best(partial(_attempt, model, features, rows, source), attempts.ways(model, rows), options)


def _attempt(
    model: Any, features: tuple[Feature, ...], rows: Rows, source: Source, dtype: Precision, widen: bool
) -> Artifact:
    predict = Predictor(model, features, dtype=dtype)
    features = missing.accepted(features, predict.answers, rows)
    inputs = _inputs(model, features, dtype)
    return assemble(_convert(model, inputs, dtype, widen=widen), predict, inputs, rows, source)


def check_fitted(model: Any, name: str) -> None:
    """Raises UnsupportedError for an estimator that was never trained."""
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(model)
    except NotFittedError:
        raise UnsupportedError(f"{name}: the {type(model).__name__} is not fitted; call fit before saving it") from None


def _features(model: Any, names: Sequence[str], rows: Rows | None) -> tuple[Feature, ...]:
    text = estimators.text_columns(model, names)
    if rows is not None and rows.table:
        unused = estimators.dropped_columns(model, names)
        text |= {n for n in unused if n in rows.arrays and not rows.is_number(n)}
    known = estimators.known_values(model, names)
    return tuple(Feature(name=n, kind="text", values=known.get(n, ())) if n in text else Feature(name=n) for n in names)


def _inputs(model: Any, features: tuple[Feature, ...], dtype: Precision) -> tuple[Input, ...]:
    separate = any(f.kind == "text" for f in features) or estimators.wants_columns(model, [f.name for f in features])
    if not separate:
        return (Input(name="input", kind="table", dtype=dtype, shape=(None, len(features)), features=features),)
    # skl2onnx looks for a column by its name, but writes "a b" as "a_b", and an output may have the same name.
    return tuple(
        Input(
            name=f"{f.name}_in" if f.name in _OUTPUTS else f.name,
            kind="column",
            dtype=STRING if f.kind == "text" else dtype,
            shape=(None, 1),
            features=(f,),
        )
        for f in features
    )


def _column(one: Input) -> str:
    """The name by which skl2onnx knows an input."""
    return one.features[0].name if one.kind == "column" else one.name


def _convert(model: Any, inputs: Sequence[Input], dtype: Precision, *, widen: bool) -> Any:
    """The ONNX model that skl2onnx makes, traps mended."""
    try:
        import skl2onnx
        from skl2onnx.common import data_types
    except ImportError:
        raise needs("the scikit-learn exporter", "skl2onnx", "convert-sklearn") from None
    tensors = {
        STRING: data_types.StringTensorType,
        "float32": data_types.FloatTensorType,
        "float64": data_types.DoubleTensorType,
    }
    marks = exact_trees.Marks()
    mended = traps.mend(targets.without(decisions.without_threshold(model)[0]), marks, dtype)
    boosters.register(estimators.walk(mended))
    try:
        proto = skl2onnx.convert_sklearn(
            mended, initial_types=[(_column(i), tensors[i.dtype]([None, *i.shape[1:]])) for i in inputs],
            target_opset=OPSET, options=traps.options(mended),
            custom_conversion_functions=own_converters.converters(dtype),
            custom_shape_calculators=own_converters.shapes(),
        )  # fmt: skip
    except REFUSALS as exc:
        raise UnsupportedError(stand_ins.why_not(exc, model)) from exc
    graph.name_inputs(proto, [i.name for i in inputs])
    proto = without_zipmap(proto)
    neighbours.weigh_by_distance(proto)
    exact_trees.restore(proto, marks, widen=widen)
    return proto


class Predictor:
    """The original model behind one door: rows in, its own answers out, by output name."""

    def __init__(self, model: Any, features: tuple[Feature, ...], *, dtype: Precision = "float32") -> None:
        self.model = model
        self.features = features
        self.task = task_of(model)
        self.dtype = dtype
        self._named = hasattr(model, "feature_names_in_")
        self._documents = estimators.kind_of(estimators.first_step(model)) in estimators.TEXT_VECTORIZERS

    @property
    def classes(self) -> Array | None:
        """The classes in order, of a classifier with one output."""
        classes = getattr(self.model, "classes_", None)
        return np.asarray(classes) if classes is not None and not isinstance(classes, list) else None

    def rows(self, rows: Rows) -> Any:
        """What goes into the model's own `predict`."""
        frame = estimators.frame(rows, self.features, named=self._named)
        return [t if isinstance(t, str) else "" for t in frame[:, 0]] if self._documents else frame

    def answers(self, rows: Rows) -> dict[str, Array]:
        """Arrays [rows, ...] by output name: the `Reference` of an artifact. Raises RowsRefusedError."""
        frame = self.rows(rows)
        try:
            return self._answers(frame)
        except REFUSES_ROWS as exc:
            raise rows_refused(exc) from exc

    def also_right(self, rows: Rows, answers: Tensors) -> Array:
        """bool [rows]: the `AlsoRight` of an artifact whose neighbours may be equally far."""
        frame = self.rows(rows)
        if len(neighbours.asking(self.model)) > neighbours.are_asked(self.model):
            return self._as_in_the_file.right(frame, answers)
        return neighbours.also_right(self.model, frame, answers)

    @cached_property
    def _as_in_the_file(self) -> Predictor:
        model = neighbours.as_in_a_file(self.model, partial(_alone, dtype=self.dtype))
        return Predictor(model, self.features, dtype=self.dtype)

    def right(self, frame: Any, answers: Tensors) -> Array:
        """bool [rows]: whether a file gives what this model gives, or another of its choices of neighbours."""
        right = neighbours.alike(self._answers(frame), answers)
        return right | neighbours.also_right(self.model, frame, answers)

    def _answers(self, frame: Any) -> dict[str, Array]:
        model = self.model
        if self.task == "classify" and self.classes is not None:
            predicted = np.asarray(model.predict(frame))
            if predicted.ndim > 1 and predicted.shape[1] > 1:
                raise traps.several_answers(model)
            answers = {"label": np.array([given(v) for v in predicted.reshape(-1)], dtype=object)}
            scores = self._scores(frame)
            return answers if scores is None else {**answers, "scores": scores}
        if self.task == "classify":
            return {"label": np.array([plain(v) for v in model.predict(frame)], dtype=object)}  # the cluster's number
        if self.task == "anomaly":
            return {"score": -np.asarray(model.decision_function(frame)).reshape(-1)}
        if self.task == "regress":
            return {"value": np.asarray(model.predict(frame), dtype=np.float64)}
        transformed = model.transform(frame)
        return {"output": np.asarray(transformed.todense() if hasattr(transformed, "todense") else transformed)}

    def _scores(self, frame: Any) -> Array | None:
        call = self._callable("predict_proba") or self._callable("decision_function")
        if call is None:
            return None
        scores = np.asarray(call(frame), dtype=np.float64)
        # One column is the margin of the second of two classes; it has no place beside the label.
        return scores if scores.ndim == 2 and scores.shape[1] == _count(self.classes) else None

    def _callable(self, name: str) -> Callable[[Any], Any] | None:
        return getattr(self.model, name, None)


_ANSWERS: dict[Task, tuple[str, ...]] = {"classify": ("label", "scores"), "regress": ("value",), "raw": ("output",)}


def _alone(part: Any, *, dtype: Precision) -> Callable[[Array], Tensors]:
    """What a part of a model answers to rows, converted by itself; see `neighbours.as_in_a_file`."""
    import onnxruntime as ort

    features = tuple(Feature(name=f"x{i}") for i in range(part.n_features_in_))
    proto = _convert(part, _inputs(part, features, dtype), dtype, widen=False)
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = _ANSWERS[task_of(part)]
    return lambda rows: dict(zip(names, session.run(None, {"input": rows.astype(dtype)}), strict=True))


def given(value: Any) -> str:
    """A class as the label output of the converted model gives it: skl2onnx makes True a 1."""
    return str(int(value)) if isinstance(value, (bool, np.bool_)) else plain(value)


def _count(classes: Array | None) -> int:
    return 0 if classes is None else len(classes)


def task_of(model: Any) -> Task:
    """The task of an estimator. Raises UnsupportedError for several answers at once."""
    from sklearn.base import is_classifier, is_clusterer, is_outlier_detector, is_regressor

    if is_outlier_detector(model):
        return "anomaly"
    if is_classifier(model):
        if isinstance(getattr(model, "classes_", None), list) or traps.is_multilabel(model):
            raise traps.several_answers(model)
        return "classify"
    if is_regressor(model):
        return "regress"
    if hasattr(model, "transform") and not is_clusterer(model):
        return "raw"
    if hasattr(model, "predict"):
        return "classify"  # a cluster, or the component of a mixture
    raise UnsupportedError(f"{type(model).__name__} can only judge the rows it was trained on, not new ones")


def assemble(proto: Any, predict: Predictor, inputs: tuple[Input, ...], rows: Rows, source: Source) -> Artifact:
    """The artifact of a converted estimator: its outputs named by what they are."""
    shaped = {"classify": _classifier, "anomaly": _detector, "regress": _regressor, "raw": _transformer}
    outputs, labels = shaped[predict.task](proto, predict, missing.whole_rows(rows, predict.features) or rows)
    manifest = Manifest(
        name="", task=predict.task, inputs=inputs, outputs=outputs, labels=labels,
        threshold=0.0 if predict.task == "anomaly" else None,
    )  # fmt: skip
    artifact = Artifact(
        framework="scikit-learn", target="onnx", model=proto.SerializeToString(), manifest=manifest,
        reference=predict.answers, rows=rows, notes=traps.notes(predict.model, predict.dtype),
        source_bytes=source.size, open_because=neighbours.OPEN,
        also_right=predict.also_right if neighbours.asking(predict.model) else None,
    )  # fmt: skip
    texts = sentences.by_column(
        predict.model, [f.name for f in manifest.features], np.random.default_rng(1), challenges.COUNT
    )
    questions = challenges.of_table(
        rows, manifest.features, predict.answers, thresholds_of_features(predict.model), texts
    )
    return replace(missing.usable(missing.proven(artifact)), challenges=questions)


def _classifier(proto: Any, predict: Predictor, rows: Rows) -> tuple[tuple[Output, ...], tuple[str, ...]]:
    names = [o.name for o in proto.graph.output]
    graph.rename_output(proto, names[0], "label")
    scored = "scores" in predict.answers(rows.take([0])) and len(names) > 1
    if len(names) > 1:
        graph.rename_output(proto, names[1], "scores")
    classes = predict.classes
    last = estimators.last_step(predict.model)
    graph.keep_outputs(proto, ["label", "scores"] if scored else ["label"])
    if classes is None:
        labels = tuple(str(i) for i in range(estimators.cluster_count(predict.model)))
    else:
        labels = tuple(plain(c) for c in classes)
    values = labels if classes is None else tuple(given(c) for c in classes)
    if estimators.kind_of(last) == "QuadraticDiscriminantAnalysis":
        decisions.one_label_a_row(proto)
    if classes is not None and scored:
        _decide(proto, predict.model, classes)
    label = Output(name="label", role="label", values=values if values != labels else ())
    return (label, Output(name="scores", role="scores")) if scored else (label,), labels


def _as_given(classes: Array) -> Array:
    """The classes as the label output gives them: int64 or text."""
    names = np.array([given(c) for c in classes], dtype=object)
    return names.astype(np.int64) if classes.dtype.kind in "iub" else names


def _decide(proto: Any, model: Any, classes: Array) -> None:
    """Puts right the labels that skl2onnx decides otherwise than the original, in place."""
    threshold = decisions.without_threshold(model)[1]
    given_as = _as_given(classes)
    if threshold is not None:
        decide.by_threshold(proto, threshold.value, given_as, positive=threshold.positive)
    elif estimators.kind_of(estimators.last_step(model)) in ("RandomForestClassifier", "ExtraTreesClassifier"):
        decisions.whole_votes(proto, given_as)
    else:
        decisions.exact_means(proto)  # of forests inside, which an OneVsRestClassifier compares


def _detector(proto: Any, predict: Predictor, rows: Rows) -> tuple[tuple[Output, ...], tuple[str, ...]]:
    # decision_function is below 0 for an outlier; a score that grows with strangeness reads the right way.
    names = [o.name for o in proto.graph.output]
    graph.append(proto, "Neg", names[1], "score")
    graph.keep_outputs(proto, ["score"])
    return (Output(name="score", role="score"),), ()


def _regressor(proto: Any, predict: Predictor, rows: Rows) -> tuple[tuple[Output, ...], tuple[str, ...]]:
    graph.rename_output(proto, proto.graph.output[0].name, "value")
    graph.keep_outputs(proto, ["value"])
    last = estimators.last_step(predict.model)
    if estimators.kind_of(last) == "HistGradientBoostingRegressor" and last.loss in ("poisson", "gamma"):
        graph.append(proto, "Exp", "value", "value")  # skl2onnx leaves the logarithm
    if estimators.kind_of(last) == "MLPRegressor":
        targets.of_perceptron(proto, last)
    targets.turn_back(proto, predict.model, "value")
    graph.declare_trees_float(proto)
    value = predict.answers(rows.take([0]))["value"]
    count = int(np.prod(value.shape[1:]))
    names = ("value",) if count == 1 else tuple(f"value{i}" for i in range(count))
    return (Output(name="value", role="value", names=names),), ()


def _transformer(proto: Any, predict: Predictor, rows: Rows) -> tuple[tuple[Output, ...], tuple[str, ...]]:
    graph.rename_output(proto, proto.graph.output[0].name, "output")
    graph.keep_outputs(proto, ["output"])
    return (Output(name="output"),), ()


EXPORTER = ExporterInfo(
    edge_api=1, export=export, packages=("sklearn", "imblearn"), distributions=("scikit-learn", "skl2onnx")
)
