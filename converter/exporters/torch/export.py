"""PyTorch: to ONNX by the dynamo exporter (TorchScript by the legacy one), to TFLite by litert-torch.

The batch is free in ONNX, and so is the length of a sequence where the file proves that it answers rightly at
another length; TFLite takes one row. A module that does not say what it takes needs `--sample`.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from msgspec import structs

from converter.artifact import Artifact
from converter.errors import UnsupportedError
from converter.exporters.torch import arguments, models, reasons, translations
from converter.exporters.torch.arguments import EXAMPLE_ROWS
from converter.exporters.torch.models import TorchModel
from converter.graph import dims, graph, litert_names
from converter.networks import planning
from converter.networks.planning import Plan, picture_layout
from converter.options import Options
from converter.plugins import ExporterInfo
from converter.proof import device
from converter.quiet import quiet
from converter.rows.rows import Rows
from converter.source import Probe, Source
from edge.data.tensor import Array, TensorSpec
from edge.engines import choose
from edge.errors import ModelError, needs
from edge.plugins.protocols import EngineOptions

OPSET = 18
ONE_ROW = "takes one row at a time: the model depends on the number of rows it was exported with"
# What the exporters raise for what they cannot convert; torch's own classes are RuntimeErrors.
_REFUSALS = (*models.UNREADABLE, NotImplementedError, NameError)


def export(source: Source, rows: Rows | None, options: Options) -> Artifact:
    """A PyTorch model as ONNX or TFLite. Raises UnsupportedError with the reason where it cannot be."""
    model = models.load(source, rows, options)
    if options.target == "tflite":
        return _as_tflite(model, source, rows, options)
    if model.kind == "module" and any(getattr(m, "proj_size", 0) for m in model.model.modules()):
        raise UnsupportedError(f"{source.name}: {reasons.PROJECTED}")
    plan = planning.plan(model.network(), rows, options, source)
    proto, note = _best_onnx(model, plan)
    plan = plan.declared_by(proto)
    return plan.artifact("onnx", proto.SerializeToString(), source, *note, *model.notes)


# --- ONNX -----------------------------------------------------------------------------------------------


def _best_onnx(model: TorchModel, plan: Plan) -> tuple[Any, tuple[str, ...]]:
    """The file that is free in most dimensions among those that answer rightly."""
    if model.one_row:
        return _onnx(model, plan, lengths=False, batch=False), (ONE_ROW,)
    refused: ModelError | None = None
    free_lengths = model.kind == "module" and any(_length_axis(s, plan) is not None for s in model.inputs)
    for lengths, batch in ((True, True), (False, True), (False, False)):
        if lengths and not free_lengths:
            continue
        try:
            proto = _onnx(model, plan, lengths=lengths, batch=batch)
        except UnsupportedError as exc:
            refused = refused or exc
            continue
        fixed = any(isinstance(graph.dims(i)[0], int) for i in proto.graph.input)
        if batch and (fixed or not _right_at_other_sizes(proto, model, plan)):
            continue
        return proto, () if batch else (ONE_ROW,)
    raise refused or UnsupportedError("the exported file does not answer as the module does")


def _length_axis(spec: TensorSpec, plan: Plan) -> int | None:
    """The axis of an input that may be a length: [rows, length] of whole numbers, else [rows, length, features]."""
    shape = spec.shape or ()
    kind = next(i.kind for i, s in zip(plan.manifest.inputs, plan.network.inputs, strict=True) if s.name == spec.name)
    whole = spec.dtype.startswith("int")
    return 1 if kind == "tensor" and len(shape) == (2 if whole else 3) else None


def _onnx(model: TorchModel, plan: Plan, *, lengths: bool, batch: bool) -> Any:
    torch = models.library()
    example = arguments.example_of(model.inputs, plan.rows)
    args = tuple(torch.from_numpy(np.array(a if batch else a[:1])) for a in example)
    names = [s.name for s in model.inputs]
    common: dict[str, Any] = {
        "input_names": names, "output_names": list(model.all_outputs), "opset_version": OPSET, "verbose": False,
        "external_data": False,
    }  # fmt: skip
    translated = {"dynamo": True, "custom_translation_table": translations.table()}
    try:
        with quiet():
            if model.kind == "program":
                proto = torch.onnx.export(model.model, (), **translated, **common).model_proto
            elif model.kind == "script":
                axes = {n: {0: "batch"} for n in (*names, *model.outputs)} if batch else None
                file = io.BytesIO()
                torch.onnx.export(model.model, args, file, dynamo=False, dynamic_axes=axes, **common)
                proto = graph.parse(file.getvalue())
            else:
                shapes = _dynamic_shapes(model, plan, lengths=lengths) if batch else None
                proto = torch.onnx.export(
                    _flattened(_traceable(model.model)), args, dynamic_shapes=shapes, **translated, **common
                ).model_proto
    except ImportError as exc:
        raise needs("the PyTorch exporter", exc.name or "onnxscript", "convert-torch") from exc
    except _REFUSALS as exc:
        raise UnsupportedError(f"PyTorch cannot export this model to ONNX: {reasons.why(exc)}") from exc
    for own, wanted in plan.answers.items():
        graph.rename_output(proto, own, wanted)
    graph.keep_outputs(proto, [plan.answers[n] for n in model.outputs])
    return dims.tidy(proto)


def _dynamic_shapes(model: TorchModel, plan: Plan, *, lengths: bool) -> dict[str, Any]:
    torch = models.library()
    auto = torch.export.Dim.AUTO
    each = []
    for spec in model.inputs:
        length = _length_axis(spec, plan) if lengths else None
        each.append({0: auto} if length is None else {0: auto, length: auto})
    return {"arguments": tuple(each)}


def _traceable(module: Any) -> Any:
    """The module; where parts of pytorch-tabnet decide in Python, a copy that decides nothing and answers alike.

    Its ghost normalisation counts chunks by the number of rows, which fixes it: at inference a plain one normalises
    each row by the same statistics. Its embedding asks a tensor which columns are categories, which none can trace.
    """

    def is_theirs(part: Any, name: str) -> bool:
        kind = type(part)
        return kind.__name__ == name and kind.__module__.partition(".")[0] == "pytorch_tabnet"

    if not any(is_theirs(part, name) for part in module.modules() for name in ("GBN", "EmbeddingGenerator")):
        return module
    changed = copy.deepcopy(module)
    for part in list(changed.modules()):
        if is_theirs(part, "EmbeddingGenerator") and not part.skip_embedding:
            part.continuous_idx = part.continuous_idx.tolist()
        for name, child in part.named_children():
            if is_theirs(child, "GBN"):
                setattr(part, name, child.bn)
    return changed


def _flattened(module: Any) -> Any:
    """The module with its tensors as one tuple, whatever it returns."""
    torch = models.library()

    class Flattened(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *arguments: Any) -> tuple[Any, ...]:
            return tuple(t for _, t in models.flat(self.inner(*arguments)))

    flattened = Flattened()
    flattened.training = False  # what is inside is in eval mode already; an exported program would refuse to be told
    return flattened


def _right_at_other_sizes(proto: Any, model: TorchModel, plan: Plan) -> bool:
    """True where the file answers as the module for another number of rows, and another length, than were traced."""
    dims = {i.name: graph.dims(i) for i in proto.graph.input}
    example = arguments.example_of(model.inputs, plan.rows)
    with TemporaryDirectory(prefix="edge-convert-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(proto.SerializeToString())
        try:
            engine = choose.load(path, EngineOptions())
            for rows, shorter in ((1, False), (EXAMPLE_ROWS + 2, False), (2, True)):
                given = {
                    s.name: _resized(a, rows, dims[s.name], shorter=shorter)
                    for s, a in zip(model.inputs, example, strict=True)
                }
                wanted = models.run(model.callable, [given[s.name] for s in model.inputs])
                got = device.run(engine, given)
                if not all(_close(wanted[i], got[plan.answers[model.all_outputs[i]]]) for i in model.keep):
                    return False
        except (ModelError, RuntimeError, ValueError):
            return False  # it does not run at that size
    return True


def _resized(array: Array, rows: int, dims: Sequence[int | str | None], *, shorter: bool) -> Array:
    shape = (rows, *array.shape[1:])
    resized = np.resize(array, shape)
    if not shorter:
        return resized
    ends = [
        max(1, n // 2) if i and not isinstance(d, int) else n for i, (n, d) in enumerate(zip(shape, dims, strict=True))
    ]
    return resized[tuple(slice(0, end) for end in ends)]


def _close(wanted: Array, got: Array) -> bool:
    return wanted.shape == got.shape and bool(np.allclose(wanted, got, rtol=1e-3, atol=1e-3, equal_nan=True))


# --- TFLite ---------------------------------------------------------------------------------------------


def _as_tflite(model: TorchModel, source: Source, rows: Rows | None, options: Options) -> Artifact:
    if model.kind == "script":
        raise UnsupportedError(
            f"{source.name}: TorchScript does not become TFLite; save it with torch.export.save, or convert to ONNX"
        )
    try:
        with quiet():
            import litert_torch
    except ImportError:
        raise needs("PyTorch to TFLite", "litert-torch", "convert-tflite") from None
    module, notes = _flattened(model.callable), ["TFLite takes one row at a time"]
    if picture_layout((model.inputs[0].shape or ()), "NCHW") == "NCHW" and len(model.inputs) == 1:
        # Cameras and TFLite have the channels last; so the file has no transpose at its beginning.
        model, rows = _channels_last(model, rows)
        module = litert_torch.to_channel_last_io(module, args=[0])
        model = replace(model, kind="module", model=module)
        options = replace(options, layout="NHWC")
        notes.append("the picture's channels come last in the file (NHWC)")
    plan = planning.plan(model.network(), rows, options, source)
    torch = models.library()
    example = tuple(torch.from_numpy(np.array(a[:1])) for a in arguments.example_of(model.inputs, plan.rows))
    try:
        with quiet(), torch.no_grad():
            content = litert_torch.convert(module, example).model_content()
    except _REFUSALS as exc:
        why = reasons.why(exc)
        raise UnsupportedError(f"litert-torch cannot convert this model: {why}; ONNX may: -o OUT.onnx") from exc
    names = litert_names.read(content)
    inputs = dict(zip((i.name for i in plan.manifest.inputs), names.inputs.values(), strict=True))
    outputs = list(names.outputs.values())
    made_outputs = {plan.answers[n]: outputs[i] for n, i in zip(model.outputs, model.keep, strict=True)}
    plan = plan.renamed(inputs, made_outputs, names.tensors)
    return plan.artifact("tflite", content, source, *notes, *model.notes)


def _channels_last(model: TorchModel, rows: Rows | None) -> tuple[TorchModel, Rows | None]:
    (spec,) = model.inputs
    shape = spec.shape or ()
    if rows is not None and not rows.table and rows.array.dtype != object and rows.array.shape[1:] == shape[1:]:
        rows = replace(rows, arrays={n: np.moveaxis(a, 1, -1) for n, a in rows.arrays.items()})
    moved = structs.replace(spec, shape=(shape[0], shape[2], shape[3], shape[1]))
    return replace(model, inputs=(moved,)), rows


# torch.save before it wrote zip archives: a pickle of its magic number comes first.
_BARE = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


def form_of(probe: Probe) -> str:
    """The form of a file of PyTorch's own: an exported program, TorchScript, or what `torch.save` wrote."""
    if probe.head.startswith(_BARE):
        return "torch-zip"
    if "archive_format" in probe.leaves or "serialized_exported_program.json" in probe.members:
        return "pt2"
    if "data.pkl" not in probe.leaves:
        return ""
    scripted = "constants.pkl" in probe.leaves or any(leaf.startswith("code/") for leaf in probe.leaves)
    return "torchscript" if scripted else "torch-zip"


EXPORTER = ExporterInfo(
    edge_api=1, export=export, recognise=form_of, packages=("torch", "torchvision"),
    suffixes=(".pt2", ".pt", ".pth"), distributions=("torch", "onnxscript", "litert-torch"),
)  # fmt: skip
