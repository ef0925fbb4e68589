"""Puts parts together: a model file to a pipeline, settings to sources, sinks, spools and lanes.

Alone in knowing all parts; they do not know each other.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edge import registry
from edge.config import Settings
from edge.data.result import ModelRef, Result, Skipped
from edge.data.sample import ModelInput, Payload, Sample
from edge.data.tensor import Array, Tensors
from edge.engines import stateful
from edge.errors import ConfigError, SampleError
from edge.flow.durability import Durability, LaneOptions
from edge.flow.gate import Gate, Rules
from edge.flow.lane import Lane
from edge.flow.pipeline import Pipeline, Watch
from edge.flow.written import Identity
from edge.model import container, foreign, golden, labels
from edge.model.foreign import Hints
from edge.model.manifest import Input, Manifest
from edge.model.names import topic_part
from edge.postprocess.segment import Segmenter
from edge.protocols import Clock, Engine, EngineOptions, Postprocessor, Preprocessor, Sink, Source, SourceContext, Spool
from edge.sinks.console import ConsoleSink
from edge.sinks.file import FileSink
from edge.spool.memory import MemorySpool
from edge.spool.sqlite import SqliteSpool
from edge.telemetry.clock import SystemClock
from edge.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from edge.server.app import HttpServer
    from edge.server.parts import Served

ENGINES = {"onnx": "onnxruntime", "tflite": "litert"}
FILES = {
    ".csv": "csv",
    ".jsonl": "lines",
    ".ndjson": "lines",
    ".npy": "arrays",
    ".npz": "arrays",
    ".wav": "wav",
    **dict.fromkeys((".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v"), "video"),
}
SCHEMES = ("mqtt", "synthetic", "camera", "picamera", "rtsp", "rtsps", "microphone")
IMAGE_KEYS = {
    "input_size": "size",
    "layout": "layout",
    "color": "color",
    "resize": "resize",
    "mean": "mean",
    "std": "std",
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model file, its engine and what it says of itself.

    `guesses` are flags that say what was guessed, `warnings` what the user should hear.
    """

    path: Path
    engine: Engine
    manifest: Manifest
    sha256: str
    guesses: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def ref(self) -> ModelRef:
        return ModelRef(self.manifest.name, self.manifest.version, self.sha256)


def load_file(
    path: Path, options: EngineOptions | None = None, *, engine: str = "auto", hints: Hints | None = None
) -> Loaded:
    """Opens a model file with the engine for its kind; `hints` help where it says nothing of itself.

    Raises ModelError, ConfigError.
    """
    kind = container.kind_of(path)
    name = ENGINES[kind] if engine == "auto" else engine
    if name != ENGINES[kind] and name in ENGINES.values():
        raise ConfigError(
            f"--engine {engine}: {path.name} is an {kind} file; leave --engine out, or say {ENGINES[kind]}"
        )
    loaded: Engine = registry.find("edge.engines", name)(path, options or EngineOptions())
    sha = container.sha256(path)
    manifest = container.read_manifest(path, loaded.metadata)
    if manifest is not None and manifest.inputs:
        return Loaded(path, loaded, _named(manifest, path), sha)
    found = foreign.describe(path, loaded, hints)
    golden.forget(loaded)
    guessed = found.manifest
    if manifest is not None:
        said = {f: getattr(manifest, f) for f in manifest.__struct_fields__ if getattr(manifest, f)}
        guessed = msgspec.structs.replace(guessed, **said)
    return Loaded(path, loaded, _named(guessed, path), sha, found.guesses, found.warnings)


def _named(manifest: Manifest, path: Path) -> Manifest:
    return msgspec.structs.replace(manifest, name=topic_part(manifest.name or path.stem))


def hints(settings: Settings) -> Hints:
    """What the settings say of a model that says nothing of itself. Raises ConfigError."""
    keys = ("task", "decoder", "layout", "color", "mean", "std", "resize", "window", "hop", "sample_rate", "frontend")
    said = {k: settings.said(k) for k in keys}
    names = labels.read(settings.labels) if settings.labels is not None else ()
    return Hints(
        labels=names,
        size=settings.said("input_size"),
        activation=_activation(settings),
        sound=settings.source is not None and split_source(settings.source)[0] in ("wav", "microphone"),
        **said,
    )


def _activation(settings: Settings) -> str | None:
    said: str | None = settings.activation
    return "" if said == "none" else said


def override(loaded: Loaded, settings: Settings) -> Loaded:
    """The manifest with what flags, variables or the file say instead."""
    keys = ("task", "threshold", "top_k", "decoder", "nms")
    said: dict[str, Any] = {k: settings.said(k) for k in keys if settings.said(k) is not None}
    if "task" in said and "decoder" not in said and said["task"] != loaded.manifest.task:
        said["decoder"] = ""
    if settings.activation is not None:
        said["activation"] = _activation(settings)
    if settings.said("labels") is not None:
        said["labels"] = labels.read(settings.labels)
    if settings.said("name"):
        said["name"] = topic_part(settings.name)
    image = {field: settings.said(key) for key, field in IMAGE_KEYS.items() if settings.said(key) is not None}
    if image:
        said["inputs"] = _with_image(loaded.manifest.inputs, image)
    manifest = msgspec.structs.replace(loaded.manifest, **said)
    rest = tuple(g for g in loaded.guesses if not any(_flag(k) == g.partition(" ")[0] for k in settings.given))
    return replace(loaded, manifest=manifest, guesses=rest)


def _flag(key: str) -> str:
    return "--" + key.replace("_", "-")


def _with_image(inputs: Sequence[Input], fields: Mapping[str, Any]) -> tuple[Input, ...]:
    if not any(i.kind == "image" for i in inputs):
        flags = ", ".join(_flag(k) for k, f in IMAGE_KEYS.items() if f in fields)
        raise ConfigError(f"{flags}: this model takes no picture; leave it out")
    return tuple(msgspec.structs.replace(i, **fields) if i.kind == "image" else i for i in inputs)


def make_preprocessor(loaded: Loaded, *, ignore_unknown: bool = False) -> Preprocessor:
    """By the kind of the first input that is neither constant nor a state. Raises ModelError."""
    kinds = [
        "window" if i.kind == "table" and i.window is not None else i.kind
        for i in loaded.manifest.inputs
        if i.kind != "constant" and not i.state_from
    ]
    kind = {"column": "table"}.get(kinds[0], kinds[0]) if kinds else "tensor"
    made: Preprocessor = registry.find("edge.preprocess", kind)(loaded.manifest, loaded.engine.inputs)
    if ignore_unknown and hasattr(made, "ignore_unknown"):
        made.ignore_unknown = True
    return made


def make_postprocessor(loaded: Loaded) -> Postprocessor:
    """By the manifest's decoder, else its task. Raises ModelError, ConfigError."""
    name = loaded.manifest.decoder or loaded.manifest.task
    if name == "detect":
        shapes = ", ".join(f"{o.name} {list(o.shape or ())}" for o in loaded.engine.outputs)
        raise ConfigError(f"--task detect: no decoder is known to fit the outputs {shapes}; name one with --decoder")
    made: Postprocessor = registry.find("edge.postprocess", name)(loaded.manifest, loaded.engine.outputs)
    return made


def make_pipeline(loaded: Loaded, device: str, options: PipelineOptions | None = None) -> Pipeline:
    """A pipeline of its own on the model's engine."""
    options = options or PipelineOptions()
    decode = make_postprocessor(loaded)
    identity = Identity(device, loaded.ref, loaded.manifest.task, options.boot)
    return Pipeline(
        stateful.wrap(loaded.engine, loaded.manifest),
        make_preprocessor(loaded, ignore_unknown=options.ignore_unknown),
        decode,
        identity,
        reserved_id="id" not in {f.name for f in loaded.manifest.features},
        max_input=options.max_input,
        clock_synced=options.clock_synced,
        seq=options.seq,
        watch=options.watch,
    )


def masks_of(loaded: Loaded) -> Callable[[Tensors, ModelInput], Array]:
    """What gives the class of each pixel. Raises ConfigError where the model is no segmentation."""
    decode = make_postprocessor(loaded)
    if not isinstance(decode, Segmenter):
        raise ConfigError(f"--mask: {loaded.path.name} does {loaded.manifest.task}, no segmentation; leave it out")
    return decode.mask


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """`boot` tells two lives of the process apart; `max_input` is in bytes; `seq` is shared by the pipelines of a
    boot."""

    boot: str = ""
    ignore_unknown: bool = False
    max_input: int = 32_000_000
    clock_synced: Callable[[], bool] = lambda: True
    seq: Iterator[int] | None = None
    watch: Watch | None = None


class Model:
    """A model in a program of one's own: `edge.load("model.onnx").predict(row)`."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self._pipeline = make_pipeline(loaded, "local", PipelineOptions(boot=secrets.token_hex(4)))
        self._clock = SystemClock()

    @property
    def manifest(self) -> Manifest:
        """What the file says of itself, or what was guessed."""
        return self.loaded.manifest

    def predict(self, x: Payload) -> Result:
        """The result of one sample: a row (dict, list or vector), a picture (bytes, or height x width x 3 RGB
        uint8), an array. Raises SampleError where the model cannot take it, or where it is a batch."""
        results = self.predict_batch(x)
        if len(results) != 1:
            raise SampleError(f"{len(results)} results where one belongs: use predict_batch")
        return results[0]

    def predict_batch(self, x: Payload) -> list[Result]:
        """The results of a batch, in order. Raises SampleError at the first that cannot be used."""
        sample = Sample(x, "python", self._clock.monotonic_ns(), self._clock.time_ns())
        found: list[Result] = []
        for outcome in self._pipeline.process(sample):
            if isinstance(outcome, Skipped):
                raise SampleError(outcome.reason)
            found.append(outcome)
        return found

    def infer(self, tensors: Tensors) -> dict[str, Any]:
        """Tensors in and out by name, in the model's own dtypes. Raises SampleError."""
        return self.loaded.engine.infer(tensors)

    def close(self) -> None:
        """Releases the engine."""
        self.loaded.engine.close()


def load(path: str | Path, *, threads: int = 1, provider: str = "cpu", engine: str = "auto") -> Model:
    """A model file, its golden samples replayed. Raises ModelError, ConfigError."""
    loaded = load_file(Path(path), EngineOptions(threads, provider), engine=engine)
    golden.replay(loaded.engine, loaded.manifest, file=loaded.path.name)
    return Model(loaded)


# --- sources, sinks, lanes ------------------------------------------------------------------------------


def split_source(uri: str) -> tuple[str, str]:
    """The plug-in's name and what is for it: `mqtt:a/b` to ("mqtt", "a/b"), `rows.csv` to ("csv", "rows.csv")."""
    if uri == "-":
        return "lines", "-"
    scheme, colon, rest = uri.partition(":")
    if colon and scheme in SCHEMES:
        return ("rtsp", uri) if scheme.startswith("rtsp") else (scheme, rest)
    if colon and not Path(uri).exists() and len(scheme) > 1 and scheme.isidentifier():
        if scheme == "file":
            return split_source(rest.removeprefix("//"))
        return scheme, rest
    return FILES.get(Path(uri).suffix.lower(), "files"), uri


def told(uri: str) -> str:
    """A source as it may stand in a log: without user and password."""
    return re.sub(r"//[^/]*@", "//", uri)


def make_source(uri: str, context: SourceContext) -> Source:
    """Raises ConfigError for a source that there is not."""
    name, rest = split_source(uri)
    made: Source = registry.find("edge.sources", name)(rest, context)
    return made


def source_context(loaded: Loaded, clock: Clock, settings: Settings, **more: Any) -> SourceContext:
    """What a source may want to know of the model and the settings."""
    features = loaded.manifest.features
    # A state is fed by the model, a constant by the manifest: neither comes from a source.
    ours = {i.name for i in loaded.manifest.inputs if i.state_from or i.kind == "constant"}
    return SourceContext(
        clock=clock,
        features=tuple(f.name for f in features if f.name),
        feature_kinds=tuple(f.kind for f in features),
        watch=bool(settings.watch),
        input_specs=tuple(s for s in loaded.engine.inputs if s.name not in ours),
        **more,
    )


def make_sink(uri: str, on_closed: Callable[[], None] | None = None) -> Sink:
    """`console` or `file:PATH`. Raises ConfigError."""
    name, _, rest = uri.partition(":")
    if name == "console":
        return ConsoleSink(on_closed=on_closed)
    if name == "file":
        if not rest:
            raise ConfigError("--sink file: has no path; say file:results.jsonl")
        return FileSink(Path(rest.removeprefix("//")))
    others = registry.names("edge.sinks")
    if name not in others:
        raise ConfigError(
            f"--sink {uri}: there is no sink {name!r}; say {', '.join(('console', 'file:PATH', *others))}"
        )
    made: Sink = registry.find("edge.sinks", name)(rest)
    return made


def make_gate(settings: Settings, task: str, metrics: Metrics | None = None) -> Gate | None:
    """The publishing rules; None where there is none. Raises ConfigError for one that does not fit the task."""
    rules = Rules(settings.on_change, settings.min_interval, settings.min_score, settings.deadband)
    rules.check(task)
    return Gate(rules, lambda reason: metrics.inc(f"held:{reason}") if metrics else None) if rules.any else None


def make_spool(settings: Settings, sink: Sink, name: str, stem: str) -> Spool:
    """On disk where the sink's results matter and `--durability` says so, else in memory."""
    if not sink.durable or settings.durability == "none":
        return MemorySpool(settings.spool_max)
    path = Path(settings.state_dir) / f"{stem}.{topic_part(name)}.spool"
    return SqliteSpool(path, settings.spool_max, max_age_s=settings.spool_max_age or None)


def make_lane(name: str, sink: Sink, spool: Spool, settings: Settings, **more: Any) -> Lane:
    """`more`: the lane's clock, metrics and beat."""
    live = bool(more.pop("live", False))
    options = LaneOptions(
        durability=Durability(settings.durability) if sink.durable else Durability.NONE,
        replay_rate=settings.replay_rate,
        drop_oldest=live,
    )
    return Lane(name, sink, spool, options=options, **more)


def make_server(settings: Settings, served: Served, failed: Callable[[BaseException], None]) -> HttpServer:
    """The HTTP endpoint of `--http`. Raises ConfigError, also where its libraries are not installed."""
    from edge.server import app, guard
    from edge.server.parts import ServerOptions

    host, port = guard.split_address(settings.http)
    token = settings.http_token_file
    options = ServerOptions(
        host=host,
        port=port,
        token=guard.read_token(token) if token is not None else None,
        cert=settings.http_cert,
        key=settings.http_key,
        names=settings.http_name,
        queue=settings.http_queue,
        max_body=settings.http_max_body,
        max_batch=settings.max_batch,
        max_wait_ms=settings.max_wait_ms,
        share=settings.http_share,
    )
    return app.HttpServer(served, options, failed)
