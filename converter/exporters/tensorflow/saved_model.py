"""A TensorFlow SavedModel: to ONNX by tf2onnx, to TFLite by TensorFlow's converter, both from its signature.

Never by `from_saved_model`: after `tf.saved_model.save(keras_model)` that answers NaN to everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from converter.artifact import Artifact
from converter.errors import UnrecognisedError, UnsafeError, UnsupportedError
from converter.exporters.tensorflow import library
from converter.graph import dims
from converter.graph.graph import keep_outputs, rename_output
from converter.networks import planning
from converter.networks.planning import Network, Plan
from converter.options import Options
from converter.plugins import ExporterInfo
from converter.quiet import quiet
from converter.rows.rows import Rows
from converter.rows.tensors import batches
from converter.source import Probe, Source
from edge.data.tensor import Array, Tensors, TensorSpec

CHUNK = 64
# Operators by which a graph reads or writes files or runs Python.
_OUTSIDE = {
    "PyFunc", "PyFuncStateless", "EagerPyFunc", "ReadFile", "WriteFile", "MergeV2Checkpoints", "SaveV2", "Save",
    "ShardedFilename", "PrintV2", "DebugIdentity", "MatchingFiles", "WholeFileReaderV2",
}  # fmt: skip
# Those are part of how every SavedModel is restored; they are only called at loading, for its own variables.
_RESTORING = {"MergeV2Checkpoints", "SaveV2", "ShardedFilename"}


@dataclass(frozen=True, slots=True)
class _Signature:
    """`loaded` has to live as long as the function: it holds the variables."""

    function: Any
    loaded: Any
    specs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]


def export(source: Source, rows: Rows | None, options: Options) -> Artifact:
    """A SavedModel as ONNX or TFLite. Raises UnsafeError for a graph that reaches outside, UnsupportedError."""
    signature = _open(source, options)
    plan = planning.plan(_network(signature), rows, options, source)
    if options.target == "tflite":
        return _as_tflite(signature, plan, source)
    proto = _as_onnx(signature, plan)
    return plan.declared_by(proto).artifact("onnx", proto.SerializeToString(), source)


def _open(source: Source, options: Options) -> _Signature:
    tf = library.tensorflow()
    if source.form == "object":
        loaded = source.value if hasattr(source.value, "signatures") else _resaved(tf, source)
    else:
        if not options.trust_pickle:
            _require_inside(source)
        try:
            with quiet():
                loaded = tf.saved_model.load(str(source.file))
        except (*library.REFUSALS, tf.errors.OpError) as exc:
            raise UnrecognisedError(
                f"{source.name}: TensorFlow cannot read it: {library.why(exc)}; save it again"
            ) from exc
    _, function = library.signature_of(loaded)
    given = function.structured_input_signature[1]
    specs = tuple(
        TensorSpec(name=n, dtype=t.dtype.name, shape=None if t.shape.rank is None else tuple(t.shape.as_list()))
        for n, t in given.items()
    )
    text = [s.name for s in specs if s.dtype == "string"]
    if text:
        raise UnsupportedError(
            f"{source.name}: its input {text[0]!r} is text, for which neither file has the operators of TensorFlow; "
            "look words up before the model (StringLookup, TextVectorization), and export what takes their numbers"
        )
    if any(s.shape is None for s in specs):
        raise UnsupportedError(f"{source.name}: its inputs have no rank; export it with tensors of a known shape")
    return _Signature(function, loaded, specs, tuple(function.structured_outputs))


def _resaved(tf: Any, source: Source) -> Any:
    """A tf.Module in memory, by way of a folder: that gives it a signature."""
    refusing = library.refusing(f"{source.name} cannot be saved by TensorFlow")
    with TemporaryDirectory(prefix="edge-convert-") as folder, refusing:
        tf.saved_model.save(source.value, folder)
        return tf.saved_model.load(folder)


def _require_inside(source: Source) -> None:
    """Raises UnsafeError for a graph with operators that reach files or Python."""
    library.tensorflow()
    with quiet():
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped,unused-ignore]
        from tensorflow.core.protobuf import saved_model_pb2
    try:
        saved = saved_model_pb2.SavedModel.FromString((source.file / "saved_model.pb").read_bytes())
    except (DecodeError, OSError) as exc:
        raise UnrecognisedError(f"{source.name}: saved_model.pb is cut short or damaged; save it again") from exc
    outside: set[str] = set()
    for meta in saved.meta_graphs:
        outside |= {n.op for n in meta.graph_def.node if n.op not in _RESTORING}
        for function in meta.graph_def.library.function:
            restores = function.signature.name.startswith(("__inference__traced_save", "__inference__traced_restore"))
            outside |= {n.op for n in function.node_def if not (restores and n.op in _RESTORING)}
    strange = sorted(outside & _OUTSIDE)
    if strange:
        raise UnsafeError(
            f"{source.name}: its graph uses {', '.join(strange)}, which reaches outside the model; "
            "--trust-pickle opens it all the same"
        )


def _network(signature: _Signature) -> Network:
    tf = library.tensorflow()
    one_row = any(s.shape and isinstance(s.shape[0], int) for s in signature.specs)

    def forward(tensors: Tensors) -> list[Array]:
        parts: list[list[Array]] = []
        for part in batches(tensors, 1 if one_row else CHUNK):
            outputs = signature.function(**{s.name: tf.constant(part[s.name]) for s in signature.specs})
            parts.append([outputs[n].numpy() for n in signature.outputs])
        return [np.concatenate(p) for p in zip(*parts, strict=True)]

    return Network("tensorflow", signature.specs, signature.outputs, forward)


def _as_onnx(signature: _Signature, plan: Plan) -> Any:
    tf, tf2onnx = library.tensorflow(), library.tf2onnx()
    specs = [tf.TensorSpec(s.shape, s.dtype, name=s.name) for s in signature.specs]

    def serve(*arguments: Any) -> list[Any]:
        outputs = signature.function(**{s.name: a for s, a in zip(signature.specs, arguments, strict=True)})
        return [tf.identity(outputs[n], name=f"result_{i}") for i, n in enumerate(signature.outputs)]

    with library.refusing("tf2onnx cannot convert this SavedModel"):
        function = tf.function(serve, autograph=False, input_signature=specs)
        proto, _ = tf2onnx.convert.from_function(function, input_signature=specs, opset=library.OPSET)
    library.standardise(proto)
    if len(proto.graph.output) != len(signature.outputs):
        raise UnsupportedError("tf2onnx dropped an output of this SavedModel")
    for place, own in enumerate(signature.outputs):
        rename_output(proto, proto.graph.output[place].name, plan.answers[own])
    keep_outputs(proto, [plan.answers[n] for n in signature.outputs])
    return dims.tidy(proto)


def _as_tflite(signature: _Signature, plan: Plan, source: Source) -> Artifact:
    def loaded(folder: str, batch: int | None) -> Any:
        if batch is not None:  # its functions were traced for any number of rows; a new signature does not change that
            raise UnsupportedError(
                f"{source.name}: TFLite has recurrent layers for a fixed number of rows only; convert the Keras file, "
                "or export the SavedModel with a batch of 1 (or keep ONNX: -o OUT.onnx)"
            )
        return signature.loaded

    return library.tflite_artifact(loaded, plan, list(signature.outputs), source)


def form_of(probe: Probe) -> str:
    """The form of a SavedModel's folder."""
    return "saved-model" if (probe.path / "saved_model.pb").is_file() else ""


EXPORTER = ExporterInfo(
    edge_api=1, export=export, recognise=form_of, packages=("tensorflow",), distributions=("tensorflow", "tf2onnx")
)
