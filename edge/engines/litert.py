"""LiteRT, the engine of .tflite files; tflite-runtime, its older name, where that is what is installed.

An interpreter is one set of buffers: who takes it runs it alone. There are as many as threads may run at once, a
further thread waits. XNNPACK is on by default; the weights that it packs are in memory once for each interpreter.
Inputs whose free dimensions change are resized; the interpreter keeps the last shape, so a steady stream pays
for it once.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import numpy as np

from edge.data import magic
from edge.data.tensor import STRING, Quantization, Tensors, TensorSpec, fits
from edge.describe import tflite_metadata
from edge.engines import probe
from edge.engines.chatter import held_back
from edge.errors import ConfigError, ModelError, SampleError, first_line, needs, one_line
from edge.model.container import read_head
from edge.plugins.protocols import EngineOptions

_ERRORS = (ValueError, RuntimeError)
"""What the interpreter raises, for a file and for a tensor alike."""
_MORE = {1: 16_000, 2: 16_000, 4: 224}
"""A usual size of free dimensions by the rank of an input: a second of sound, a picture."""


_VARIABLE = 142
"""The operator that makes a variable of the model's own: VAR_HANDLE of the schema's `BuiltinOperator`."""
_RECURRENT = frozenset({16, 24, 27, 35, 44, 46, 52})
"""Operators that keep a state in tensors of their own: LSTM, RNN, SVDF, and those of sequences, in one direction (RNN,
LSTM) and in both (RNN, LSTM)."""


Shapes: TypeAlias = Mapping[str, tuple[int, ...]]


class _Interpreter:
    """One set of buffers, and the shapes of its inputs: that thread's which took it."""

    def __init__(self, library: Any, shapes: Shapes) -> None:
        self.library, self.shapes = library, shapes


class LiteRt:
    """One .tflite file, loaded."""

    name = "litert"

    def __init__(self, make: Callable[[], Any], version: str, operators: frozenset[int], instances: int = 1) -> None:
        """`make` gives an interpreter with its tensors allocated; one is made for each of the `instances`, but for a
        model that remembers. `operators` are those of the file, by number."""
        self.version = version
        self._make = make
        interpreter = make()
        self._has_variables = _VARIABLE in operators
        self.remembers = self._has_variables or not operators.isdisjoint(_RECURRENT)
        details_in, details_out = interpreter.get_input_details(), interpreter.get_output_details()
        self.inputs = _specs(details_in)
        self.outputs = _specs(details_out)
        self.metadata: Mapping[str, str] = {}
        self._in = {s.name: (int(d["index"]), s) for s, d in zip(self.inputs, details_in, strict=True)}
        self._out = [(s.name, int(d["index"])) for s, d in zip(self.outputs, details_out, strict=True)]
        shapes = {s.name: tuple(int(n) for n in d["shape"]) for s, d in zip(self.inputs, details_in, strict=True)}
        self._free: SimpleQueue[_Interpreter] = SimpleQueue()
        self._free.put(_Interpreter(interpreter, shapes))
        for _ in range(0 if self.remembers else instances - 1):
            self._free.put(_Interpreter(make(), shapes))

    def infer(self, tensors: Tensors) -> dict[str, Any]:
        absent = [n for n in self._in if n not in tensors]
        if absent or len(tensors) != len(self._in):
            raise SampleError(f"the model takes {', '.join(self._in)}; it was given {', '.join(tensors) or 'nothing'}")
        interpreter = self._free.get()
        try:
            if any(tensors[n].shape != shape for n, shape in interpreter.shapes.items()):
                self._resize(interpreter, {n: tuple(tensors[n].shape) for n in self._in})
            for name, (index, spec) in self._in.items():
                interpreter.library.set_tensor(index, _native(tensors[name], spec))
            interpreter.library.invoke()
            # get_tensor copies, so the next inference leaves these alone.
            return {name: interpreter.library.get_tensor(index) for name, index in self._out}
        except _ERRORS as exc:
            raise SampleError(f"the model refuses this input: {first_line(exc)}") from exc
        finally:
            self._free.put(interpreter)

    def _resize(self, interpreter: _Interpreter, shapes: Shapes) -> None:
        for name, shape in shapes.items():
            wanted = self._in[name][1].shape or ()
            if 0 in shape:
                raise SampleError(f"input {name!r}: shape {list(shape)} holds nothing")
            if not fits(shape, wanted):
                raise SampleError(f"input {name!r}: shape {list(shape)}; the model takes {_shown(wanted)}")
        try:
            self._set_shapes(interpreter, shapes)
        except _ERRORS:
            # Back to what worked, or every later sample would fail as this one does.
            self._set_shapes(interpreter, interpreter.shapes)
            raise
        interpreter.shapes = shapes

    def _set_shapes(self, interpreter: _Interpreter, shapes: Shapes) -> None:
        for name, shape in shapes.items():
            interpreter.library.resize_tensor_input(self._in[name][0], list(shape))
        interpreter.library.allocate_tensors()

    def reset(self) -> None:
        """Forgets what earlier samples left in the model's own variables (a recurrent or streaming model)."""
        if not self.remembers:
            return
        interpreter = self._free.get()
        try:
            interpreter.library.reset_all_variables()
            if self._has_variables:
                # The library has no other way to empty these.
                interpreter.library = self._make()
                self._set_shapes(interpreter, interpreter.shapes)
        finally:
            self._free.put(interpreter)

    def close(self) -> None:
        """Once nothing infers any more: the interpreters' memory goes back, whatever still refers to the engine."""
        self._in = {}  # from now on each input is refused
        with contextlib.suppress(Empty):
            while True:
                self._free.get_nowait()


def load(path: Path, options: EngineOptions) -> LiteRt:
    """Reads a .tflite file. Raises ModelError for one that cannot run, ConfigError for a delegate that cannot load.

    `options.provider`: "cpu" or "xnnpack" (the same), "builtin" (without XNNPACK), or the path of a delegate's
    library, with its options as a query: `libedgetpu.so.1?device=usb:0`.
    """
    library, version = _library()
    if not magic.is_tflite(read_head(path)):
        raise ModelError(
            f"{path.name}: not a TensorFlow Lite file (no TFL3 at byte 4); a model is an .onnx or a .tflite file"
        )
    settings = _settings(library, options)
    if "experimental_delegates" not in settings and not options.own_file:
        # A delegate's device does not survive a fork; files for one are the user's own.
        probe.require_survival(
            path, f"litert-{version}", options.cache_dir, lambda: _try(_open(library, path, settings))
        )
    try:
        operators = tflite_metadata.operators(path)
        return LiteRt(lambda: _open(library, path, settings), version, operators, options.instances)
    except ValueError as exc:  # a damaged name among its tensors
        raise ModelError(f"{path.name}: {_explain(exc)}") from exc


def loads_at_once(path: Path, options: EngineOptions) -> bool:
    """True where `load` will not fork a child. Raises OSError, ConfigError."""
    name = f"litert-{version()}"
    return options.own_file or (options.cache_dir is not None and probe.has_survived(path, name, options.cache_dir))


def providers() -> list[str]:
    """Those that need no further library, cpu (with XNNPACK) first."""
    return ["cpu", "builtin"]


def version() -> str:
    """The library's, before any model is loaded. Raises ConfigError where it is not installed."""
    return _library()[1]


def _library() -> tuple[Any, str]:
    with contextlib.suppress(ImportError):
        from ai_edge_litert import interpreter

        return interpreter, metadata.version("ai-edge-litert")
    with contextlib.suppress(ImportError):
        from tflite_runtime import interpreter

        return interpreter, metadata.version("tflite-runtime")
    raise needs("a .tflite model", "ai-edge-litert", "tflite")


def _settings(library: Any, options: EngineOptions) -> dict[str, Any]:
    settings: dict[str, Any] = {"num_threads": options.threads}
    provider = options.provider
    if provider.lower() in ("cpu", "xnnpack"):
        return settings
    if provider.lower() == "builtin":
        resolver = library.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        return {**settings, "experimental_op_resolver_type": resolver}
    name, _, query = provider.partition("?")
    if ".so" not in name:
        raise ConfigError(
            f"--provider {provider}: LiteRT knows cpu, xnnpack, builtin and the path of a delegate's library (.so)"
        )
    try:
        ctypes.CDLL(name)  # the library's own loader leaves a half-made object behind where there is nothing
        delegate = library.load_delegate(name, dict(parse_qsl(query)))
    except (OSError, ValueError) as exc:
        raise ConfigError(f"--provider {provider}: the delegate does not load: {one_line(exc)}") from exc
    return {**settings, "experimental_delegates": [delegate]}


def _open(library: Any, path: Path, settings: Mapping[str, Any]) -> Any:
    try:
        with held_back(b"INFO:"):  # "INFO: Created ... delegate"
            interpreter = library.Interpreter(model_path=str(path), **settings)
            allocate(interpreter)
    except (*_ERRORS, MemoryError) as exc:
        raise ModelError(f"{path.name}: {_explain(exc)}") from exc
    return interpreter


def allocate(interpreter: Any) -> None:
    """Free dimensions are 1 at first, which is too little for some models (a convolution over sound): then more."""
    try:
        interpreter.allocate_tensors()
    except _ERRORS as exc:
        for detail in interpreter.get_input_details():
            free = [i for i, d in enumerate(detail.get("shape_signature", ())) if d < 0]
            if not free:
                continue
            more = _MORE.get(len(detail["shape"]), 64)
            shape = [more if i in free and (i or len(free) == 1) else int(d) for i, d in enumerate(detail["shape"])]
            interpreter.resize_tensor_input(detail["index"], shape)
        try:
            interpreter.allocate_tensors()
        except _ERRORS:
            raise exc from None


def _try(interpreter: Any) -> None:
    """One inference on zeros, in the child process of a trial."""
    for detail in interpreter.get_input_details():
        if detail["dtype"] is not np.bytes_:
            interpreter.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
    interpreter.invoke()


def _specs(details: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    names: dict[str, int] = {}
    specs = []
    for at, detail in enumerate(details):
        # Names need not be unique in a .tflite file, nor be there.
        name = detail["name"] or f"tensor_{at}"
        seen = names[name] = names.get(name, 0) + 1
        signature = detail.get("shape_signature")
        dims = detail["shape"] if signature is None or len(signature) != len(detail["shape"]) else signature
        specs.append(
            TensorSpec(
                name=name if seen == 1 else f"{name}#{seen}",
                dtype=_dtype(detail["dtype"]),
                shape=tuple(int(d) if d >= 0 else None for d in dims),
                quantization=_quantization(detail),
            )
        )
    return tuple(specs)


def _dtype(dtype: Any) -> str:
    name = np.dtype(dtype).name
    return STRING if name.startswith(("bytes", "object", "str")) else name


def _quantization(detail: dict[str, Any]) -> Quantization | None:
    scale, zero_point = detail["quantization"]
    if not scale or np.dtype(detail["dtype"]).kind not in "iu":
        return None
    return Quantization(scale=float(scale), zero_point=int(zero_point))


def _native(array: Any, spec: TensorSpec) -> Any:
    if array.dtype.name != spec.dtype and spec.dtype != STRING:
        raise SampleError(f"input {spec.name!r}: {array.dtype.name} values; the model takes {spec.dtype}")
    return array


def _shown(shape: tuple[Any, ...]) -> str:
    return "[" + ", ".join("?" if d is None else str(d) for d in shape) + "]"


def _explain(exc: BaseException) -> str:
    """Why a file does not load, with the way out."""
    reason = first_line(exc)
    if isinstance(exc, MemoryError):
        return "it needs more memory than there is; quantise it with edge-convert"
    if "custom op" in reason:
        what = reason.partition("custom op: ")[2].partition(".")[0].split(" ")[0]
        return f"LiteRT has no operator {what!r}: it is a custom one; convert the model again without it"
    if "Select TensorFlow op" in reason or "Flex" in reason:
        return "it holds TensorFlow operators that LiteRT has not; convert it again with TFLITE_BUILTINS only"
    if "Didn't find op" in reason:
        return f"this LiteRT is too old for it: {reason}; pip install -U 'edge-run[tflite]'"
    return f"LiteRT cannot load it: {reason}; it is damaged or of another schema: copy or convert it again"
