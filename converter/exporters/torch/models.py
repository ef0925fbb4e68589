"""PyTorch models behind one door: an nn.Module, an exported program (.pt2), TorchScript."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from converter.errors import SampleFileError, UnrecognisedError, UnsafeError, UnsupportedError
from converter.exporters.torch import arguments, pt2, reasons
from converter.networks.planning import Network, Squashed
from converter.options import Options
from converter.quiet import quiet
from converter.rows.rows import Rows
from converter.rows.tensors import batches
from converter.source import Source
from converter.sources import deserialise
from edge.data.tensor import Array, Tensors, TensorSpec
from edge.errors import needs, one_line

CHUNK = 64
# An example with one row would make torch.export take that one as a constant.

# What torch raises for damaged or foreign files, and for what it cannot trace.
UNREADABLE = (
    RuntimeError, ValueError, TypeError, KeyError, AttributeError, EOFError, OSError, AssertionError, IndexError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TorchModel:
    """A model in eval mode on the CPU. `keep` are the positions of the flat outputs that have a row axis."""

    kind: Literal["module", "program", "script"]
    model: Any
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    keep: tuple[int, ...]
    all_outputs: tuple[str, ...]
    squashed: Squashed = ""
    notes: tuple[str, ...] = ()

    @property
    def callable(self) -> Any:
        """What takes tensors by position."""
        return _by_position(self.model) if self.kind == "program" else self.model

    @property
    def one_row(self) -> bool:
        """True where it takes exactly one row."""
        return any(spec.shape is not None and spec.shape[:1] == (1,) for spec in self.inputs)

    def network(self) -> Network:
        """The model as `planning.plan` wants it."""
        call, names = self.callable, [s.name for s in self.inputs]

        def forward(tensors: Tensors) -> list[Array]:
            parts = [run(call, [part[n] for n in names]) for part in batches(tensors, 1 if self.one_row else CHUNK)]
            return [np.concatenate([p[i] for p in parts]) for i in self.keep]

        return Network(
            "torch",
            self.inputs,
            self.outputs,
            forward,
            layout="NCHW",
            vocabulary=arguments.vocabulary(self.model),
            squashed=self.squashed,
        )


def library() -> Any:
    """The module `torch`. Raises ConfigError where it is not installed."""
    try:
        with quiet():
            import torch
    except ImportError:
        raise needs("the PyTorch exporter", "torch", "convert-torch") from None
    return torch


def run(call: Any, arrays: Sequence[Array]) -> list[Array]:
    """The flat outputs of a module for some arrays."""
    return [np.asarray(t.detach().numpy()) for _, t in flat(_call(call, arrays))]


def flat(value: Any, name: str = "output") -> list[tuple[str, Any]]:
    """The tensors in whatever a module returns, with names: of fields, or numbered."""
    if isinstance(value, Mapping):
        return [pair for key, inner in value.items() for pair in flat(inner, str(key))]
    if isinstance(value, (tuple, list)):
        fields = getattr(value, "_fields", None) or [f"{name}{i}" for i in range(len(value))]
        return [pair for field, inner in zip(fields, value, strict=True) for pair in flat(inner, field)]
    return [(name, value)] if hasattr(value, "detach") else []


def load(source: Source, rows: Rows | None, options: Options) -> TorchModel:
    """The model of a source.

    Raises UnsafeError where opening would run code, UnsupportedError for a file without an architecture,
    SampleFileError where rows are needed to know what the model takes.
    """
    torch = library()
    model = _read(source, options)
    if isinstance(model, torch.export.ExportedProgram):
        return _program(model, source)
    if not isinstance(model, torch.nn.Module) and not isinstance(model, Mapping):
        raise deserialise.no_model(source, model, "a PyTorch module")
    if not isinstance(model, torch.nn.Module):
        raise UnsupportedError(
            f"{source.name} holds a {type(model).__name__}, not a model: weights (a state_dict) say nothing of the "
            "architecture; load them into the module and save that with torch.export.save"
        )
    if any(torch.nn.parameter.is_lazy(p) for p in model.parameters()):
        raise UnsupportedError(
            f"{source.name}: it has layers that have no weights yet (LazyLinear and the like); train it before"
        )
    scripted = isinstance(model, torch.jit.ScriptModule)
    half = sorted(arguments.precisions(model) & arguments.HALF) if not scripted else []
    ready = model if scripted else _ready(model, source)
    with quiet():
        ready.eval()
    specs = arguments.specs_of(ready, rows, options, source)
    example = arguments.example_of(specs, rows)
    try:
        outputs = _first(ready, example, source)
    except UNREADABLE as exc:
        why = reasons.of_call(ready, exc, [s.name for s in specs])
        raise SampleFileError(f"{source.name}: the model does not take the sample: {why}") from exc
    described = _described("script" if scripted else "module", ready, specs, outputs, len(example[0]))
    notes = (reasons.HALF.format(kinds=" and ".join(half)),) if half else ()
    return replace(described, squashed=_squashed(ready, example, described.keep), notes=notes)


def _first(model: Any, arrays: Sequence[Array], source: Source) -> list[tuple[str, Any]]:
    """The flat outputs of a first call. Raises UnsupportedError where the model keeps something in its buffers."""
    before = {n: b.clone() for n, b in model.named_buffers()}
    outputs = flat(_call(model, arrays))
    written = [n.removeprefix("inner.") for n, b in model.named_buffers() if n in before and not b.equal(before[n])]
    statistics = [n for n in written if n.rpartition(".")[2] in ("running_mean", "running_var")]
    if statistics:
        raise UnsupportedError(f"{source.name}: {reasons.BATCH_STATISTICS.format(names=', '.join(statistics[:2]))}")
    if written:
        raise UnsupportedError(
            f"{source.name}: what it writes into {', '.join(written)} counts for the next input, and a file keeps "
            "nothing: take that as an input and give it back as an output (h_in and h_out, for instance)"
        )
    return outputs


def _ready(model: Any, source: Source) -> Any:
    """A copy for the CPU: what the user holds stays as it is, also whether it is training.

    Half precision becomes float32, which holds every number of it; float64 stays, for the file has to answer alike.
    """
    try:
        ready = (copy.deepcopy(model) if source.form == "object" else model).cpu()
        return ready.float() if arguments.precisions(ready) & arguments.HALF else ready
    except (RuntimeError, TypeError) as exc:
        why = reasons.why(exc)
        raise UnsupportedError(f"{source.name}: the module cannot be copied to the CPU: {why}") from exc


def _call(model: Any, arrays: Sequence[Array]) -> Any:
    """What a module returns for arrays. Raises RuntimeError or ValueError where it does not take them."""
    torch = library()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the device's engine: times are compared, and small models only lose by more
    try:
        with torch.no_grad():
            return model(*(torch.from_numpy(np.array(a)) for a in arrays))
    except (RuntimeError, ValueError):
        raise
    except Exception as exc:  # of a module's own code, which raises whatever it likes
        raise RuntimeError(f"{type(exc).__name__}: {exc}".rstrip(": ")) from exc
    finally:
        torch.set_num_threads(threads)


def _read(source: Source, options: Options) -> Any:
    torch = library()
    if source.form == "object":
        return source.value
    if source.form == "pickle":
        return deserialise.native(source, options)
    try:
        if source.form == "pt2":
            if not options.trust_pickle:
                pt2.require_safe(source.file)
            with quiet():
                return torch.export.load(source.file)
        if source.form == "torchscript":
            with quiet():
                return torch.jit.load(source.file, map_location="cpu")
        if source.form == "torch-zip":
            return _from_zip(source, options)
    except ModuleNotFoundError as exc:
        raise deserialise.missing_module(source, exc) from exc
    except (*UNREADABLE, ImportError) as exc:
        raise UnrecognisedError(f"{source.name}: PyTorch cannot read it: {one_line(exc)}; save it again") from exc
    raise UnrecognisedError(f"{source.name}: a {source.form} file holds no PyTorch model; leave --framework out")


def _from_zip(source: Source, options: Options) -> Any:
    """What `torch.save` wrote: weights are safe to read, a whole module is a pickle."""
    torch = library()
    imports = pt2.globals_of(source.file.read_bytes(), source.name)
    strange = [g for g in imports if not pt2.is_plain(g)]
    other = deserialise.own_export(source, strange)
    if strange and not options.trust_pickle:
        raise UnsafeError(
            f"{source.name} is a pickled module: opening it runs whatever it says, and it imports "
            f"{', '.join(strange[:12])}; --trust-pickle opens it all the same (torch.export.save needs no trust"
            + (f"; its own library exports it too: {other})" if other else ")")
        )
    if strange:
        deserialise.log.warning("%s is opened as a trusted pickle; it imports %s", source.name, ", ".join(strange))
    with quiet():
        return torch.load(source.file, map_location="cpu", weights_only=not strange)


def _program(program: Any, source: Source) -> TorchModel:
    """An exported program: it says itself what it takes."""
    values = {n.name: n.meta.get("val") for n in program.graph.nodes if n.op == "placeholder"}
    specs = []
    for name in _tensors_of(program):
        value = values.get(name)
        if value is None or not hasattr(value, "shape"):
            raise UnsupportedError(f"{source.name}: input {name!r} is no tensor; export the model with tensors only")
        _require_known(value.dtype, f"{source.name}: input {name!r}")
        shape = tuple(d if isinstance(d, int) else (None if i == 0 else str(d)) for i, d in enumerate(value.shape))
        specs.append(TensorSpec(name=name, dtype=str(value.dtype).removeprefix("torch."), shape=shape))
    batch = {s.shape[0] for s in specs if s.shape}
    if batch - {None, 1}:
        raise UnsupportedError(
            f"{source.name}: exported for exactly {max(b for b in batch if isinstance(b, int))} rows at once, the "
            "device has one; export with dynamic_shapes={...: {0: Dim.AUTO}}, or with an example of one row"
        )
    count = 1 if 1 in batch else arguments.EXAMPLE_ROWS
    example = [np.zeros((count, *s.fixed(free=4)[1:]), dtype=s.dtype) for s in specs]
    call = _by_position(program)
    try:
        with quiet():
            outputs = _first(call, example, source)
    except UNREADABLE as exc:
        raise UnsupportedError(f"{source.name}: the program does not run: {one_line(exc)}; export it again") from exc
    described = _described("program", program, tuple(specs), outputs, count)
    return replace(described, squashed=_squashed(call, example, described.keep))


def _given(program: Any) -> list[Any]:
    """What an exported program was given, in the order of its leaves: tensors by name, and constants with a value."""
    signature = program.graph_signature
    return [s.arg for s in signature.input_specs if s.kind.name == "USER_INPUT"]


def _tensors_of(program: Any) -> list[str]:
    return [arg.name for arg in _given(program) if not hasattr(arg, "value")]


def _by_position(program: Any) -> Any:
    """A module that takes the tensors of an exported program by position, whatever it was called with."""
    torch = library()
    given, form = _given(program), program.call_spec.in_spec

    class ByPosition(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.inner = program.module()

        def forward(self, *tensors: Any) -> Any:
            left = iter(tensors)
            leaves = [arg.value if hasattr(arg, "value") else next(left) for arg in given]
            arguments, keywords = form.unflatten(leaves)
            return self.inner(*arguments, **keywords)

    module = ByPosition()
    module.training = False  # an exported program refuses to change it
    return module


# What the backward functions of operators are called that only move numbers about.
_MOVES = (
    "View", "UnsafeView", "Reshape", "ReshapeAlias", "Squeeze", "Unsqueeze", "Transpose", "Permute", "T", "Clone",
    "ToCopy", "Alias", "Expand", "Copy", "Slice", "Select",
)  # fmt: skip
_LINEAR = ("Addmm", "Mm", "Bmm", "Add", "Linear", "Convolution", "Mv", "Addmv", "Baddbmm", "LogSoftmax")


def _squashed(call: Any, example: Sequence[Array], keep: Sequence[int]) -> Squashed:
    """What the network applies last, as the graph that it leaves for its gradients says; "" where it does not."""
    torch = library()
    if len(keep) != 1:
        return ""
    try:
        with torch.enable_grad(), quiet():
            given = [torch.from_numpy(np.array(a)) for a in example]
            for tensor in given:
                tensor.requires_grad_(tensor.is_floating_point())
            _, output = flat(call(*given))[keep[0]]
    except UNREADABLE:
        return ""
    function = output.grad_fn
    while function is not None:
        name = re.sub(r"Backward\d*$", "", function.name().rpartition("::")[2])
        if name in ("Sigmoid", "Softmax"):
            return "sigmoid" if name == "Sigmoid" else "softmax"
        if name in _LINEAR:
            return "none"
        if name not in _MOVES or not function.next_functions:
            return ""
        function = function.next_functions[0][0]
    return ""


def _require_known(dtype: Any, what: str) -> None:
    """Raises UnsupportedError for numbers that neither numpy nor the device has."""
    if dtype.is_complex:
        raise UnsupportedError(f"{what} is complex numbers; give torch.view_as_real of them, or their abs()")
    if str(dtype) == "torch.bfloat16":
        raise UnsupportedError(f"{what} is bfloat16, which numpy and the device have not; take float32 there: .float()")


def _described(
    kind: Literal["module", "program", "script"], model: Any, specs: tuple[TensorSpec, ...], found: Any, count: int
) -> TorchModel:
    for name, tensor in found:
        _require_known(tensor.dtype, f"output {name!r}")
    keep = tuple(i for i, (_, t) in enumerate(found) if t.ndim and t.shape[0] == count)
    if not keep:
        shapes = ", ".join(str(list(t.shape)) for _, t in found) or "none"
        raise UnsupportedError(f"no output has a row for each row of the input (shapes: {shapes}){reasons.NO_ROWS}")
    names = _unique([n for n, _ in found], taken={s.name for s in specs})
    return TorchModel(kind, model, specs, tuple(names[i] for i in keep), keep, tuple(names))


def _unique(names: Sequence[str], taken: set[str]) -> list[str]:
    unique: list[str] = []
    for name in names:
        free, number = name, 2
        while free in taken or free in unique:
            free, number = f"{name}{number}", number + 1
        unique.append(free)
    return unique
