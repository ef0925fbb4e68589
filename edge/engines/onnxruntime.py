"""ONNX Runtime.

Threads default to 1 and spinning is off: on a small board spinning threads take five times the CPU at
30 Hz and heat it, for microseconds. The session is shared by threads: `InferenceSession.run` is safe.
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np

from edge.data import magic
from edge.data.tensor import STRING, Tensors, TensorSpec, numpy_dtype
from edge.describe import onnx_graph
from edge.engines import probe
from edge.engines.chatter import held_back
from edge.engines.graph_cache import Graph, has_weights_elsewhere
from edge.engines.onnx_file import quantizes_dynamically, without_listed_weights
from edge.errors import BITS_32, ConfigError, ModelError, SampleError, first_line, one_line
from edge.plugins.protocols import EngineOptions

try:
    import onnxruntime as ort
except ImportError as exc:
    fix = BITS_32 if sys.maxsize < 2**32 else "pip install --force-reinstall onnxruntime"
    raise ConfigError(f"an .onnx model needs onnxruntime ({exc}): {fix}") from exc

log = logging.getLogger("edge.model")

_NAME = f"onnxruntime-{ort.__version__}"
_PREFIX = "[ONNXRuntimeError] : "
_OF_DEBIAN = "dist-packages" in Path(ort.__file__).parts
_TWICE = b"Schema error: Trying to register schema"
"""Debian's build has two copies of the operators' schemas, and says so of each, at the first session of a process."""
_MENDED = "1"
"""Counts what is mended in a graph before it is kept: a graph of a release that mended less is made again."""
_SAME = {"float16": 1e-2}
"""How far a mended model may be from the file as it came, as a share of the largest number; else a thousandth."""
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(string)": STRING,
    "tensor(bool)": "bool",
    **{f"tensor({kind}{bits})": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
}

_BYTES = ("int8", "uint8")

_PROVIDERS = {"cpu": "CPUExecutionProvider", "xnnpack": "XnnpackExecutionProvider", "acl": "ACLExecutionProvider"}


Errors: TypeAlias = tuple[type[Exception], ...]


def _errors(*names: str) -> Errors:
    # onnxruntime's exception classes live in its C++ module and share no base but Exception.
    state = ort.capi.onnxruntime_pybind11_state
    return tuple(getattr(state, n) for n in names if hasattr(state, n))


_LOAD_ERRORS: Errors = (
    *_errors("Fail", "InvalidArgument", "NoSuchFile", "InvalidProtobuf", "InvalidGraph", "NotImplemented",
             "RuntimeException", "NoModel", "EPFail", "ModelLoaded", "EngineError"),
    ValueError,  # UnicodeDecodeError too: a damaged name in the message itself
)  # fmt: skip
_RUN_ERRORS: Errors = (
    *_errors("Fail", "InvalidArgument", "RuntimeException", "NotImplemented", "EPFail", "EngineError"),
    ValueError,
    TypeError,
)


class OnnxRuntime:
    """One ONNX file, loaded."""

    name = "onnxruntime"
    version: str = ort.__version__

    couples_rows = False

    def __init__(self, session: ort.InferenceSession, repairs: Sequence[str] = ()) -> None:
        """`repairs`: what was mended in the graph for it to run faster, in a user's words."""
        self.repairs = tuple(repairs)
        self.inputs = tuple(_spec(i) for i in session.get_inputs())
        self.outputs = tuple(_spec(o) for o in session.get_outputs())
        meta = session.get_modelmeta()
        self.metadata: Mapping[str, str] = {
            **({"producer": meta.producer_name} if meta.producer_name else {}),
            **meta.custom_metadata_map,
        }
        self.providers: list[str] = session.get_providers()
        self._output_names = [o.name for o in self.outputs]
        # What `session.run` calls after it has checked again what the library checks itself: a third of a run of 6 us.
        # To bind input and output once brings as much, and would hand out arrays that the next run overwrites.
        # A release that has it no more is asked the long way.
        self._run = getattr(session, "_sess", session).run
        self._run_options = ort.RunOptions()  # else one is made for each run

    def infer(self, tensors: Tensors) -> dict[str, Any]:
        try:
            values = self._run(self._output_names, tensors, self._run_options)
        except _RUN_ERRORS as exc:
            raise SampleError(f"the model refuses this input: {first_line(exc).removeprefix(_PREFIX)}") from exc
        return dict(zip(self._output_names, values, strict=True))

    def close(self) -> None:
        """Once nothing infers any more: the session's memory goes back, whatever still refers to the engine."""
        self._run = _closed


def _closed(*_: object) -> Any:
    raise SampleError("the model was closed")


def load(path: Path, options: EngineOptions) -> OnnxRuntime:
    """Reads an .onnx file. Raises ModelError for one that cannot run, ConfigError for an unknown provider.

    With a `cache_dir` a file that was never seen is first tried in a child process.
    """
    opening = Opening(path, options.threads, _providers(options.provider))
    graph = _graph(path, options)
    if options.cache_dir is not None:
        _require_survival(opening, options.cache_dir, graph)
    try:
        engine = opening.best(graph)
    except _LOAD_ERRORS as exc:
        raise ModelError(f"{path.name}: {_explain(exc, path.suffix)}") from exc
    if any(s.dtype in _BYTES for s in engine.outputs):
        engine.outputs = _quantized(engine.outputs, path)
    if all(s.free_batch for s in engine.inputs):
        engine.couples_rows = quantizes_dynamically(path)
    for what, specs in (("input", engine.inputs), ("output", engine.outputs)):
        for spec in specs:
            # Sequences and maps come out as lists; fed they cannot be.
            if spec.shape is None and (what == "input" or spec.dtype.startswith("tensor")):
                raise ModelError(
                    f"{path.name}: the {what} {spec.name!r} is a {spec.dtype}, which numpy has not; export the model "
                    "again with float32 tensors"
                )
    return engine


def _quantized(outputs: Sequence[TensorSpec], path: Path) -> tuple[TensorSpec, ...]:
    """The outputs, those of 8 bits with the real values that the graph says they stand for."""
    found = onnx_graph.quantized_outputs(path)
    return tuple(
        msgspec.structs.replace(s, quantization=found.get(s.name)) if s.dtype in _BYTES else s for s in outputs
    )


def loads_at_once(path: Path, options: EngineOptions) -> bool:
    """True where `load` will not fork a child. Raises OSError, ConfigError."""
    if options.cache_dir is None:
        return True
    graph = _graph(path, options)
    survived = probe.has_survived(path, _NAME, options.cache_dir)
    return survived and not (graph is not None and graph.is_due)


class Opening:
    """A model file, and how sessions for it are made."""

    def __init__(self, path: Path, threads: int, providers: list[str]) -> None:
        self.path, self._threads, self._providers = path, threads, providers

    def plain(self, save: Path | None = None) -> OnnxRuntime:
        """From the model file, mended where it is the same then; the optimised graph is written to `save`."""
        if has_weights_elsewhere(self.path) or (mended := without_listed_weights(self.path)) is None:
            return self._original(save)
        engine = OnnxRuntime(
            self._open(mended.content, self._settings(save)),
            [f"{mended.weights} weights that the file lists as inputs are constants now"],
        )
        if _answers_alike(self._as_it_came(), engine):
            return engine
        log.warning("mended model answers otherwise, it runs as it came", extra={"path": str(self.path)})
        return self._original(save)

    def _original(self, save: Path | None = None) -> OnnxRuntime:
        return OnnxRuntime(self._open(str(self.path), self._settings(save)))

    def _as_it_came(self) -> OnnxRuntime:
        """With nothing optimised: to compare with, for one answer it is the quicker way."""
        return self.optimised(self.path)

    def optimised(self, graph: Path, repairs: Sequence[str] = ()) -> OnnxRuntime:
        """From an optimised graph, with nothing left to optimise."""
        settings = self._settings()
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        return OnnxRuntime(self._open(str(graph), settings), repairs)

    def best(self, graph: Graph | None) -> OnnxRuntime:
        """From the optimised graph where there is one that can be used."""
        if graph is not None and graph.usable:
            try:
                return self.optimised(graph.path, graph.repairs)
            except _LOAD_ERRORS as exc:
                log.warning("optimised graph does not load", extra={"reason": first_line(exc).removeprefix(_PREFIX)})
                graph.drop()
        return self.plain()

    def _settings(self, save: Path | None = None) -> ort.SessionOptions:
        settings = ort.SessionOptions()
        if save is not None:
            settings.optimized_model_filepath = str(save)
        settings.intra_op_num_threads = self._threads
        settings.inter_op_num_threads = 1
        # A plan of memory for each shape that comes: shapes that vary make ever more of them, and where they do not it
        # saves nothing that could be measured (tests/benchmarks/README.md).
        settings.enable_mem_pattern = False
        settings.log_severity_level = 4  # what matters comes as an exception, in our words
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        settings.add_session_config_entry("session.inter_op.allow_spinning", "0")
        return settings

    def _open(self, model: str | bytes, settings: ort.SessionOptions) -> ort.InferenceSession:
        with held_back(_TWICE) if _OF_DEBIAN else contextlib.nullcontext():
            # Without the fallback, which prints to stdout, where results go, and tries again what has failed.
            return ort.InferenceSession(model, settings, providers=self._providers, enable_fallback=0)


def _graph(path: Path, options: EngineOptions) -> Graph | None:
    # Other providers compile for themselves; what they leave of the graph is not all of it.
    # A file in ONNX Runtime's own format is optimised already.
    if options.cache_dir is None or options.provider.lower() != "cpu" or path.suffix.lower() == ".ort":
        return None
    if not path.is_file():
        return None
    return Graph(path, f"{_NAME} mended {_MENDED}", options.cache_dir)


def _require_survival(opening: Opening, cache_dir: Path, graph: Graph | None) -> None:
    """A file that ends its engine by a signal must not end the service at every start.

    The child also writes the optimised graph. Where it dies of that, it is none, and the model is tried without.
    """
    if graph is not None and graph.is_due:
        try:
            probe.require_survival(opening.path, _NAME, cache_dir, lambda: _try(opening, graph), again=True)
            graph.keep()
            return
        except ModelError:
            graph.discard()
            graph.keep()
    probe.require_survival(opening.path, _NAME, cache_dir, lambda: _try(opening))


def _try(opening: Opening, graph: Graph | None = None) -> None:
    save = None if graph is None else graph.partial
    try:
        engine = opening.plain(save)
    except _LOAD_ERRORS:
        if save is None:
            raise
        save.unlink(missing_ok=True)  # a full disk, a graph that cannot be written
        _try(opening)
        return
    repairs = engine.repairs
    if graph is None or not graph.partial.exists():
        _infer_once(engine)  # else it is what the engine wrote that will run
    del engine  # one at a time: a large model fills the memory
    if graph is not None:
        try:
            _infer_once(opening.optimised(graph.partial))
            graph.notes.write_text("\n".join(repairs), encoding="utf-8")
        except _LOAD_ERRORS:
            graph.partial.unlink(missing_ok=True)


def _infer_once(engine: OnnxRuntime) -> None:
    if all(s.shape is not None for s in engine.inputs):
        with contextlib.suppress(SampleError):  # zeros need not suit it
            engine.infer({s.name: np.zeros(s.fixed(), numpy_dtype(s.dtype)) for s in engine.inputs})


def _answers_alike(original: OnnxRuntime, mended: OnnxRuntime) -> bool:
    """Whether both give the same to noise, but for what a fused kernel rounds otherwise; False where neither runs."""
    if any(s.shape is None for s in original.inputs) or original.inputs != mended.inputs:
        return False
    noise = {s.name: _noise(s) for s in original.inputs}
    try:
        pairs = zip(original.infer(noise).values(), mended.infer(noise).values(), strict=True)
        return all(_alike(np.asarray(a), np.asarray(b)) for a, b in pairs)
    except SampleError:
        return False


def _noise(spec: TensorSpec) -> np.ndarray[Any, Any]:
    dtype = numpy_dtype(spec.dtype)
    if dtype.kind != "f":
        return np.zeros(spec.fixed(), dtype)  # whole numbers are indices as often as not
    # Multiples of the golden ratio, cut to 0 to 1, are as even as noise: numpy's own is a library to load first.
    values: np.ndarray[Any, Any] = np.arange(math.prod(spec.fixed())) * 0.6180339887498949 % 1
    return values.reshape(spec.fixed()).astype(dtype)


def _alike(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.kind != "f":
        return bool(np.array_equal(a, b))
    share = _SAME.get(a.dtype.name, 1e-3)
    largest = float(np.abs(a[np.isfinite(a)]).max(initial=0.0))
    return bool(np.allclose(a, b, rtol=0, atol=share * largest, equal_nan=True))


def providers() -> list[str]:
    """Those that this build of onnxruntime has, by their short names, cpu first."""
    known = ort.get_available_providers()
    return [short for short, full in _PROVIDERS.items() if full in known]


def version() -> str:
    """The library's, before any model is loaded."""
    return OnnxRuntime.version


def _providers(name: str) -> list[str]:
    full = _PROVIDERS.get(name.lower(), name)
    known = ort.get_available_providers()
    if full not in known:
        short = sorted(k for k, v in _PROVIDERS.items() if v in known)
        raise ConfigError(
            f"--provider {name}: this onnxruntime has no {full}; it has {', '.join(short)} ({', '.join(known)})"
        )
    return [full] if full == "CPUExecutionProvider" else [full, "CPUExecutionProvider"]


def _spec(arg: Any) -> TensorSpec:
    dtype = _DTYPES.get(arg.type)
    if dtype is None:
        return TensorSpec(name=arg.name, dtype=arg.type, shape=None)
    shape = tuple(d if isinstance(d, (int, str)) else None for d in arg.shape)
    return TensorSpec(name=arg.name, dtype=dtype, shape=shape)


def _reason(exc: BaseException) -> str:
    """All that onnxruntime says, in one line, without the place in its own source."""
    text = one_line(exc, None).removeprefix(_PREFIX)
    text = re.sub(r"^\d+ : [A-Z_]+ : (Load model from \S+ failed:\s*)?", "", text)
    return re.sub(r"^/\S+:\d+ .*?(&|int|\*|bool)\) ", "", text)[:600]


_FOREIGN = {
    "TRT": "it is TensorRT's own: export the model for ONNX Runtime, or without suppression (nms, end2end)",
    "ai.onnx.contrib": "it is of onnxruntime-extensions, which edge-run does not load: export the model without it",
    "mmdeploy": "it is MMDeploy's own: export the model with a configuration for onnxruntime",
    "org.openvinotoolkit": "it is OpenVINO's own: export the model for ONNX Runtime",
}


def _without(reason: str) -> str:
    """The way out where an operator is missing, by whose it is."""
    for domain, way in _FOREIGN.items():
        if re.search(rf"\b{re.escape(domain)}(:|\.\w)", reason):
            return way
    if "Could not find an implementation" in reason:  # it knows the operator, but not for these numbers
        return (
            "if its numbers are float64 or half, save the model in float32 (model.float() in PyTorch); else export the "
            "model with another opset or exporter (torch.onnx.export: dynamo=True), or without that operator"
        )
    return "export the model with another opset or exporter (torch.onnx.export: dynamo=True), or without that operator"


def _explain(exc: BaseException, suffix: str) -> str:
    """Why a file with such a name does not load, with the way out."""
    reason = _reason(exc)
    kind = type(exc).__name__
    if "Unsupported model IR version" in reason or "is till opset" in reason:
        return (
            f"this onnxruntime ({ort.__version__}) is too old for it: {reason}; pip install -U onnxruntime, or export "
            "it with a lower opset or IR version"
        )
    if kind == "InvalidProtobuf":
        if other := magic.other(b"", suffix):
            return f"this is {other}"
        return "not a whole ONNX file (truncated or damaged); copy or convert it again"
    if kind == "NoSuchFile":
        return "there is no such file; check the path"
    if "xternal data path" in reason:
        return f"its weights are in another file, which must lie beside it, in the same folder: {reason}"
    if kind == "NotImplemented" or "is not a registered function/op" in reason or "No Op registered" in reason:
        return f"onnxruntime {ort.__version__} has no such operator: {reason}; {_without(reason)}"
    if missing := re.search(r"construct locale with name: ?([\w.@-]+)", reason):
        return (
            f"it handles texts as the locale {missing[1]} does, which this system has not: sudo apt install locales, "
            f"then sudo locale-gen {missing[1]} (on Debian after taking its # off in /etc/locale.gen)"
        )
    return f"onnxruntime cannot load it: {reason}; convert the model again with edge-convert"
