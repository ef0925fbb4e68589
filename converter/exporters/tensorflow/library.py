"""TensorFlow, opened quietly, and its TFLite converter: what the Keras and the SavedModel exporters share."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

from converter.artifact import Artifact
from converter.errors import UnsupportedError
from converter.graph import graph, litert_names
from converter.networks.planning import Plan
from converter.quiet import quiet
from converter.source import Source
from edge.data.tensor import TensorSpec
from edge.errors import needs

OPSET = 18
PREFERRED = ("serving_default", "serve")
# What TensorFlow, Keras and their converters raise for what they cannot convert or read.
REFUSALS = (
    RuntimeError, ValueError, TypeError, KeyError, AttributeError, NotImplementedError, IndexError, AssertionError,
    OSError, EOFError, SystemError, LookupError,
)  # fmt: skip


def tensorflow() -> Any:
    """The module `tensorflow`. Raises ConfigError where it is not installed."""
    return _library("tensorflow", "the TensorFlow exporter", "convert-tensorflow")


def keras() -> Any:
    """The module `keras` on TensorFlow. Raises ConfigError where it is not, UnsupportedError for another backend."""
    tensorflow()
    module = _library("keras", "the Keras exporter", "convert-tensorflow")
    if module.backend.backend() != "tensorflow":
        raise UnsupportedError(
            f"Keras runs on {module.backend.backend()} here; the converter needs KERAS_BACKEND=tensorflow"
        )
    return module


def tf2onnx() -> Any:
    """The module `tf2onnx`. Raises ConfigError where it is not installed."""
    return _library("tf2onnx", "TensorFlow to ONNX", "convert-tensorflow")


def _library(name: str, what: str, extra: str) -> Any:
    try:
        with quiet():
            return importlib.import_module(name)
    except ImportError as exc:
        missing = (exc.name or name).partition(".")[0]
        raise needs(what, missing, extra) from None


@contextmanager
def refusing(what: str, hint: str = "") -> Iterator[None]:
    """Turns what TensorFlow and its converters raise into an UnsupportedError that gives the reason in a line."""
    tf = tensorflow()
    with quiet():
        # The TFLite converter's error stands in no public module.
        from tensorflow.lite.python.convert_phase import ConverterError
    try:
        with quiet():
            yield
    except (*REFUSALS, tf.errors.OpError, ConverterError) as exc:
        raise UnsupportedError(f"{what}: {why(exc)}{hint}") from exc


def why(exc: BaseException) -> str:
    """The line that says what is wrong: the first that speaks of an error, else the first."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    telling = [line for line in lines if "error:" in line.lower()] or lines or [type(exc).__name__]
    return telling[0].rpartition("error: ")[2][:240]


def standardise(proto: Any) -> None:
    """Writes what tf2onnx left as TensorFlow's own with operators of ONNX, in place. Raises UnsupportedError."""
    graph.erf_for_erfc(proto)
    unknown = graph.unknown_operators(proto)
    if unknown:
        raise UnsupportedError(
            f"{', '.join(unknown)} of TensorFlow has no counterpart in ONNX; TFLite may have one (-o OUT.tflite), "
            "or do that step before the model"
        )


def fixed(spec: TensorSpec, plan: Plan, batch: int | None) -> list[int | None]:
    """The shape of an input: free as it is (`batch` None), or for `batch` rows as long as the sample's are."""
    own = [d if isinstance(d, int) else None for d in (spec.shape or ())]
    if batch is None:
        return own
    place = [s.name for s in plan.network.inputs].index(spec.name)
    rows = plan.rows.arrays.get(plan.manifest.inputs[place].name)
    lengths = own[1:] if rows is None or plan.rows.table else rows.shape[1:]
    return [batch, *(d if d is not None else n for d, n in zip(own[1:], lengths, strict=True))]


def tflite_artifact(
    loaded: Callable[[str, int | None], Any], plan: Plan, outputs: Sequence[str], source: Source
) -> Artifact:
    """The TFLite file of a SavedModel.

    `loaded(folder, batch)` gives it, restored, using `folder`, for any number of rows (None) or for that many.
    `outputs` are its signature's names in the network's order. Raises UnsupportedError.
    """
    notes: tuple[str, ...] = ()
    try:
        model = _convert(loaded, None)
    except UnsupportedError:
        # Lists of tensors, which recurrent layers become, need every dimension fixed.
        model = _convert(loaded, 1)
        notes = ("takes one row at a time: TFLite has recurrent layers for a fixed number of rows only",)
    return _renamed(plan, model, outputs).artifact("tflite", model, source, *notes)


def _convert(loaded: Callable[[str, int | None], Any], batch: int | None) -> bytes:
    tf = tensorflow()
    with TemporaryDirectory(prefix="edge-convert-") as folder:
        model = loaded(folder, batch)
        signature = signature_of(model)[1]
        with refusing(
            "TFLite has no way to run this model", "; ONNX may (-o OUT.onnx), or do that step before the model"
        ):
            converted: bytes = tf.lite.TFLiteConverter.from_concrete_functions([signature], model).convert()
    return converted


def signature_of(loaded: Any) -> tuple[str, Any]:
    """The signature of a SavedModel that serves, by name. Raises UnsupportedError for none or several."""
    signatures = dict(loaded.signatures)
    if not signatures:
        raise UnsupportedError(
            "a SavedModel without signatures does not say what it takes; save it with signatures=..., "
            "or use model.export(folder) in Keras"
        )
    name = next((n for n in PREFERRED if n in signatures), sorted(signatures)[0])
    if name not in PREFERRED and len(signatures) > 1:
        raise UnsupportedError(
            f"a SavedModel with several signatures ({', '.join(sorted(signatures))}), none of which is called "
            f"{PREFERRED[0]}; save it again with the one you mean: m = tf.saved_model.load(FOLDER); "
            f"tf.saved_model.save(m, OTHER, signatures=m.signatures[{name!r}])"
        )
    return name, signatures[name]


def _renamed(plan: Plan, model: bytes, outputs: Sequence[str]) -> Plan:
    """The plan under the names of a .tflite file."""
    names = litert_names.read(model)
    inputs = {i.name: names.inputs[i.name] for i in plan.manifest.inputs if i.name in names.inputs}
    if not inputs:
        inputs = dict(zip((i.name for i in plan.manifest.inputs), names.inputs.values(), strict=True))
    own = zip(plan.network.outputs, outputs, strict=True)
    return plan.renamed(inputs, {plan.answers[n]: names.outputs[o] for n, o in own}, names.tensors)
