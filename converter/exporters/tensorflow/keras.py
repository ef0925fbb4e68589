"""Keras 3 (.keras, .h5, models in memory): to ONNX by its own export, to TFLite by TensorFlow's converter.

A recurrent layer becomes TFLite only for a fixed batch: then the file takes one row at a time.
"""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from converter.artifact import Artifact
from converter.errors import UnrecognisedError, UnsafeError, UnsupportedError
from converter.exporters.tensorflow import half, layers, library
from converter.graph import dims, graph
from converter.networks import planning
from converter.networks.planning import Network, Plan, Squashed
from converter.options import Options
from converter.plugins import ExporterInfo
from converter.quiet import quiet
from converter.rows.rows import Rows
from converter.rows.tensors import batches, feed
from converter.source import Probe, Source
from edge.data.tensor import Array, Tensors, TensorSpec

CHUNK = 64
# Layers whose `groups` Keras 2 wrote into the file and Keras 3 does not take.
_NO_GROUPS = {
    "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D", "Conv1DTranspose", "Conv2DTranspose",
    "Conv3DTranspose",
}  # fmt: skip
_RESHAPES = {"Flatten", "Reshape", "Dropout", "Permute", "RepeatVector"}
_LINEAR = {"Dense", "Conv1D", "Conv2D", "Conv3D", "EinsumDense", "SeparableConv2D"}
# Layers that carry code, or load it from elsewhere; Keras itself refuses only the first.
_CARRY_CODE = {"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "FlaxLayer", "JaxLayer"}


def export(source: Source, rows: Rows | None, options: Options) -> Artifact:
    """A Keras model as ONNX or TFLite. Raises UnsafeError for a file with code in it, UnsupportedError."""
    model = _read(source, options)
    model, plan = _planned(model, rows, options, source)
    model = _without_augmentation(model, plan)
    if options.target == "tflite":
        return _as_tflite(model, plan, source)
    proto = _as_onnx(model, plan)
    return plan.declared_by(proto).artifact("onnx", proto.SerializeToString(), source)


def _planned(model: Any, rows: Rows | None, options: Options, source: Source) -> tuple[Any, Plan]:
    """The model that is exported, and its plan: itself, or the same in float32 where it computes in half precision.

    TFLite has no layers in float64, and ONNX Runtime but some: there the file has to answer as the original does.
    """
    network = _network(model, source)
    exact = options.target == "onnx" and any(s.dtype == "float64" for s in network.inputs)
    kinds = half.policies(model, double=not exact)
    if not kinds:
        return model, planning.plan(network, rows, options, source)
    model = half.in_float32(model, source)
    single = _network(model, source)
    original = half.answered_by(single, network)
    if kinds == ("float64",):
        plan = planning.plan(original, rows, options, source)
        return _called(model, plan), plan
    plan = planning.plan(single, rows, options, source)
    return model, half.told(plan, replace(plan, network=original), kinds)


def _read(source: Source, options: Options) -> Any:
    if source.form == "object":
        keras = library.keras()
        if not isinstance(source.value, keras.Model):
            raise UnsupportedError(f"a {type(source.value).__name__} is no keras.Model; put the layer into one")
        return source.value
    if not options.trust_pickle:
        _require_no_code(source)
    keras = library.keras()
    try:
        with quiet(), TemporaryDirectory(prefix="edge-convert-") as folder:
            file = _for_keras_3(source, Path(folder))
            return keras.saving.load_model(file, compile=False, safe_mode=not options.trust_pickle)
    except TypeError as exc:
        raise UnsupportedError(
            f"{source.name}: Keras cannot build it again: {_strange_arguments(exc)}; import what it needs and pass the "
            "model itself to converter.convert, or save it anew with the Keras that wrote it (Keras 2: pip install "
            "tf-keras)"
        ) from exc
    except (*library.REFUSALS, zipfile.BadZipFile) as exc:
        own = re.search(r"Unknown \w+: '?([\w.>]+)", str(exc))
        if own is not None:
            raise UnsupportedError(
                f"{source.name}: {own[1]} is no layer or function of Keras; import what defines it and pass the model "
                "itself to converter.convert"
            ) from exc
        raise UnrecognisedError(f"{source.name}: Keras cannot read it: {library.why(exc)}; save it again") from exc


def _for_keras_3(source: Source, folder: Path) -> Path:
    """The file itself; of an .h5 file with settings that Keras 3 does not know, and that say nothing, a copy without.

    Keras 2 wrote `groups` for every convolution. Raises UnsupportedError for a number of groups that says something.
    """
    if source.form != "hdf5":
        return source.file
    config = _config(source)
    named = [part for part in layers.parts(config) if part["class_name"] in _NO_GROUPS]
    grouped = [layer for layer in named if isinstance(layer.get("config"), dict) and "groups" in layer["config"]]
    if not grouped:
        return source.file
    for layer in grouped:
        groups = layer["config"].pop("groups")
        if groups != 1:
            raise UnsupportedError(
                f"{source.name}: a {layer['class_name']} has groups={groups}, which Keras 3 cannot build; convert it "
                "with Keras 2: pip install tf-keras, then model.export(folder), and convert that folder"
            )
    import h5py

    copy = folder / source.file.name
    shutil.copyfile(source.file, copy)
    with h5py.File(copy, "r+") as file:
        file.attrs["model_config"] = json.dumps(config).encode()
    return copy


def _strange_arguments(exc: TypeError) -> str:
    """The line that names what a layer does not take, out of a page of its whole configuration."""
    phrases = ("nrecognized keyword", "unexpected keyword")
    lines = [line.strip() for line in str(exc).splitlines() if any(words in line for words in phrases)]
    return (lines[-1] if lines else library.why(exc))[:200]


def _require_no_code(source: Source) -> None:
    """Before anything is opened by Keras: its safe mode knows of Lambda, not of layers that load code."""
    strange = sorted(set(_classes(_config(source))) & _CARRY_CODE)
    if strange:
        raise UnsafeError(
            f"{source.name} holds {', '.join(s.strip('_') for s in strange)}, which runs code from the file; "
            "--trust-pickle opens it all the same (or write the function as a layer)"
        )


def _config(source: Source) -> Any:
    try:
        if source.form == "keras":
            with zipfile.ZipFile(source.file) as archive:
                return json.loads(archive.read("config.json"))
        import h5py

        with h5py.File(source.file, "r") as file:
            text = file.attrs.get("model_config")
    except ImportError:
        library.keras()  # names the extra
        raise
    except (zipfile.BadZipFile, KeyError, OSError, ValueError, RecursionError) as exc:
        raise UnrecognisedError(f"{source.name}: cut short or damaged ({exc}); save it again") from exc
    if text is None:
        raise UnsupportedError(
            f"{source.name} holds weights without an architecture; save the whole model: model.save('model.keras')"
        )
    return json.loads(text)


def _classes(config: Any) -> Iterator[str]:
    return (part["class_name"] for part in layers.parts(config))


def _is_augmentation(layer: Any) -> bool:
    return layers.augments(type(layer).__name__)


def _without_augmentation(model: Any, plan: Plan) -> Any:
    """The model without layers that do nothing at inference; parity compares it with the whole one."""
    keras = library.keras()
    if not any(_is_augmentation(layer) for layer in model.layers):
        return model
    if isinstance(model, keras.Sequential):
        kept = [layer for layer in model.layers if not _is_augmentation(layer)]
        taken = model.inputs[0]
        first = keras.Input(batch_shape=taken.shape, dtype=taken.dtype, name=taken.name)
        return _called(keras.Sequential([first, *kept]), plan)

    def call(layer: Any, *arguments: Any, **named: Any) -> Any:
        return arguments[0] if _is_augmentation(layer) else layer(*arguments, **named)

    try:
        clone = keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)
    except library.REFUSALS:
        return model  # a model class of its own: its converter says what it cannot do
    return _called(clone, plan)


def _called(model: Any, plan: Plan) -> Any:
    """The model after one row has gone through it: Keras exports no other."""
    row = list(feed(plan.rows.take([0]), plan.manifest.inputs).values())
    model.predict_on_batch(library.keras().tree.pack_sequence_as(_structure(model), row))
    return model


def _network(model: Any, source: Source) -> Network:
    keras = library.keras()
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not inputs or not outputs:
        raise UnsupportedError(
            f"{source.name}: a {type(model).__name__} that was never called, or is a class of its own, does not say "
            "what it takes; call it once and convert the folder that model.export(folder) writes"
        )
    specs = tuple(TensorSpec(name=t.name, dtype=str(t.dtype), shape=tuple(t.shape)) for t in inputs)
    texts = [s.name for s in specs if s.dtype == "string"]
    if texts:
        raise UnsupportedError(
            f"{source.name}: the input {texts[0]!r} is text, for which neither file has the operators of Keras; look "
            "words up before the model (StringLookup, TextVectorization), and convert what takes their numbers"
        )
    layers.refuse(model, source)
    one_row = any(s.shape and isinstance(s.shape[0], int) for s in specs)
    names = [s.name for s in specs]
    structure = _structure(model)

    def forward(tensors: Tensors) -> list[Array]:
        parts: list[list[Array]] = []
        for part in batches(tensors, 1 if one_row else CHUNK):
            given = keras.tree.pack_sequence_as(structure, [part[n] for n in names])
            parts.append([np.asarray(v) for v in keras.tree.flatten(model.predict_on_batch(given))])
        return [np.concatenate(p) for p in zip(*parts, strict=True)]

    return Network(
        "keras", specs, _output_names(model, specs), forward, vocabulary=_vocabulary(model), squashed=_squashed(model)
    )


def _structure(model: Any) -> Any:
    """The inputs as the model wants them: alone, in a list, or by name. A Sequential has but one."""
    return model.inputs[0] if isinstance(model, library.keras().Sequential) else model.input


def _output_names(model: Any, specs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """The model's, made unlike each other and unlike the inputs."""
    names: list[str] = []
    if isinstance(getattr(model, "output", None), dict):
        return tuple(sorted(model.output))  # in the order in which Keras flattens it
    for name in getattr(model, "output_names", ["output"]):  # a Sequential has one, and no name for it
        taken = {*names, *(s.name for s in specs)}
        names.append(name if name not in taken else f"{name}_{len(names)}")
    return tuple(names)


def _vocabulary(model: Any) -> int:
    sizes = [layer.input_dim for layer in layers.walk(model) if type(layer).__name__ == "Embedding"]
    return int(sizes[0]) if sizes else 2


def _squashed(model: Any) -> Squashed:
    """What the last layer applies that does not only reshape; "" for what is not known."""
    telling = [layer for layer in layers.walk(model) if type(layer).__name__ not in _RESHAPES]
    if len(model.outputs) != 1 or not telling:
        return ""
    name = getattr(getattr(telling[-1], "activation", None), "__name__", "")
    kind = type(telling[-1]).__name__
    if "softmax" in (name, kind.lower()):
        return "softmax"
    if "sigmoid" in (name, kind.lower()):
        return "sigmoid"
    return "none" if name == "linear" and kind in _LINEAR else ""


def _as_onnx(model: Any, plan: Plan) -> Any:
    library.tf2onnx()  # Keras would say in many words that it is not there
    with TemporaryDirectory(prefix="edge-convert-") as folder:
        path = Path(folder) / "model.onnx"
        with _numbers_for_tensors(model), library.refusing("Keras cannot export this model to ONNX"):
            model.export(path, format="onnx", verbose=False, opset_version=library.OPSET)
        proto = graph.parse(path.read_bytes())
    library.standardise(proto)
    strange = [i.name for i in proto.graph.input][len(plan.network.inputs) :]
    if strange:
        raise UnsupportedError(
            f"a layer computes with tensors that are no weights ({', '.join(strange[:3])}), and Keras leaves them out "
            "of ONNX; keep them as weights of the layer, or convert to TFLite: -o OUT.tflite"
        )
    for place, own in enumerate(plan.network.outputs):
        graph.rename_output(proto, proto.graph.output[place].name, plan.answers[own])
    return dims.tidy(proto)


@contextmanager
def _numbers_for_tensors(model: Any) -> Iterator[None]:
    """What Normalization has learned as plain numbers while it lasts: tensors would become inputs of the ONNX file."""
    learned = [layer for layer in layers.walk(model) if type(layer).__name__ == "Normalization"]
    kept = [(layer, layer.mean, layer.variance) for layer in learned]
    try:
        for layer, mean, variance in kept:
            layer.mean, layer.variance = np.asarray(mean), np.asarray(variance)
        yield
    finally:
        for layer, mean, variance in kept:
            layer.mean, layer.variance = mean, variance


def _as_tflite(model: Any, plan: Plan, source: Source) -> Artifact:
    def exported(folder: str, batch: int | None) -> Any:
        """The model as a SavedModel; by `export`, for `tf.saved_model.save` loses the weights on the way to TFLite."""
        tf = library.tensorflow()
        specs = [tf.TensorSpec(library.fixed(s, plan, batch), s.dtype, name=s.name) for s in plan.network.inputs]
        with library.refusing("Keras cannot export this model for TFLite"):
            structured = library.keras().tree.pack_sequence_as(_structure(model), specs)
            model.export(folder, format="tf_saved_model", verbose=False, input_signature=[structured])
            return tf.saved_model.load(folder)

    outputs = [f"output_{i}" for i in range(len(plan.network.outputs))]
    if isinstance(getattr(model, "output", None), dict):
        outputs = list(plan.network.outputs)  # the signature has the keys
    return library.tflite_artifact(exported, plan, outputs, source)


def form_of(probe: Probe) -> str:
    """The form of a file of Keras's own: a zip archive, or HDF5."""
    if probe.head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "hdf5"
    return "keras" if "config.json" in probe.members and any(n.endswith(".weights.h5") for n in probe.members) else ""


EXPORTER = ExporterInfo(
    edge_api=1, export=export, recognise=form_of, packages=("keras",), suffixes=(".keras", ".h5"),
    distributions=("keras", "tensorflow", "tf2onnx"),
)  # fmt: skip
