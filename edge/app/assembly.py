"""Puts parts together: a model file to a pipeline, settings to sources, sinks, spools and outboxes.

Alone in knowing all parts; they do not know each other.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from edge.app import payloads
from edge.app.loading import Loaded as Loaded
from edge.app.loading import asked_instances, open_model, replay
from edge.app.loading import load_file as load_file
from edge.data.join import JoinRules
from edge.data.result import Result, Skipped
from edge.data.sample import Payload, Sample
from edge.data.tensor import Array, Tensors
from edge.delivery.publish_filter import PublishFilter, PublishRules
from edge.describe.head import HeadInfo
from edge.engines import stateful
from edge.errors import ConfigError, SampleError
from edge.model.manifest import Manifest
from edge.pipeline.pipeline import Pipeline
from edge.pipeline.prepare import Preparation
from edge.pipeline.results import Identity, ResultBuilder
from edge.pipeline.stages import NO_STAGES, Stages
from edge.plugins import registry
from edge.plugins.contexts import SinkContext, SourceContext
from edge.plugins.declarations import SinkInfo
from edge.plugins.protocols import (
    Clock,
    EngineOptions,
    LookingPreprocessor,
    PicturePreprocessor,
    Postprocessor,
    Preprocessor,
    Sink,
    Source,
)
from edge.plugins.rows import RowPreprocessor, RowRules
from edge.preprocess import PreprocessorInfo
from edge.settings import arguments, options
from edge.settings.settings import DeviceManifestSettings, ModelSettings, Settings
from edge.sources import uri as source_uri
from edge.telemetry.clock import SystemClock, clock_synced
from edge.telemetry.metrics import Metrics

log = logging.getLogger("edge.model")


def input_kind(manifest: Manifest) -> str:
    """The preprocessor's name: the kind of the first input that a sample fills."""
    kinds = [
        "window" if i.kind == "table" and i.window is not None else i.kind
        for i in manifest.inputs
        if i.kind != "constant" and not i.state_from
    ]
    return {"column": "table"}.get(kinds[0], kinds[0]) if kinds else "tensor"


def make_preprocessor(loaded: Loaded, rules: RowRules | None = None) -> Preprocessor:
    """By the kind of the first input that is neither constant nor a state. Raises ModelError, and ConfigError where
    `rules` ask something of a model that takes no rows."""
    kind = input_kind(loaded.manifest)
    declared = registry.declared(PreprocessorInfo, kind)
    preprocessor = registry.checked(declared.GROUP, kind, declared.create(loaded.manifest, loaded.engine.inputs))
    if rules is None or not rules.flag:
        return preprocessor
    if not isinstance(preprocessor, RowPreprocessor):
        raise ConfigError(f"{rules.flag} is for models that take rows by name; this one takes {kind}: leave it out")
    preprocessor.rules = rules
    return preprocessor


def make_postprocessor(loaded: Loaded) -> Postprocessor:
    """By the manifest's decoder, else its task. Raises ModelError, ConfigError."""
    name = loaded.manifest.decoder or loaded.manifest.task
    if name == "detect":
        shapes = ", ".join(f"{o.name} {list(o.shape or ())}" for o in loaded.engine.outputs)
        raise ConfigError(f"--task detect: no decoder is known to fit the outputs {shapes}; name one with --decoder")
    declared = registry.declared(HeadInfo, name)
    return registry.checked(declared.GROUP, name, declared.create(loaded.manifest, loaded.engine.outputs))


def make_pipeline(loaded: Loaded, device: str, options: PipelineOptions | None = None) -> Pipeline:
    """A pipeline of its own on the model's engine."""
    options = options or PipelineOptions()
    decode = make_postprocessor(loaded)
    preprocess = make_preprocessor(loaded, options.rows)
    if options.keeps_pictures and isinstance(preprocess, PicturePreprocessor):
        preprocess.keeps_pictures = True
    if options.look is not None and isinstance(preprocess, LookingPreprocessor):
        preprocess.look = options.look
    identity = Identity(device, loaded.ref, loaded.manifest.task, options.boot)
    prepare = Preparation(
        preprocess,
        reserved_id="id" not in {f.name for f in loaded.manifest.features},
        max_input=options.max_input,
        path=options.rows.path if options.rows is not None else None,
    )
    results = ResultBuilder(identity, options.clock_synced, options.seq)
    return Pipeline(stateful.wrap(loaded.engine, loaded.manifest), prepare, decode, results, options.stages)


def instances(settings: Settings, pipeline: Pipeline) -> int:
    """How many instances of the model run: one where it, or a window, keeps something from input to input."""
    return asked_instances(settings) if pipeline.free else 1


Overrides = DeviceManifestSettings
"""What a program says of a model, in the words of the flags."""


class PipelineOptions(msgspec.Struct, frozen=True):
    """`boot` tells two lives of the process apart; `max_input` is in bytes; `seq` is shared by the pipelines of a
    boot; `keeps_pictures`: a stage looks at them again; `look` is that of `LookingPreprocessor`."""

    boot: str = ""
    rows: RowRules | None = None
    max_input: int = 32_000_000
    clock_synced: Callable[[], bool] = clock_synced
    seq: Iterator[int] | None = None
    stages: Stages = NO_STAGES
    keeps_pictures: bool = False
    look: Callable[[Array], Array | None] | None = None


ROWS = 1024
"""Of a table, in one inference."""


class Model:
    """A model in a program of one's own: `edge.load("model.onnx").predict(row)`."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self._pipeline = make_pipeline(loaded, "local", PipelineOptions(boot=os.urandom(4).hex()))
        self._clock = SystemClock()
        together = loaded.manifest.batch_independent
        self._features = [f.name for f in loaded.features] if together else []

    def __repr__(self) -> str:
        """`<Model digits 1: classify, onnxruntime 1.23.0>`."""
        manifest, engine = self.loaded.manifest, self.loaded.engine
        return f"<Model {manifest.name} {manifest.version}: {manifest.task}, {engine.name} {engine.version}>"

    @property
    def manifest(self) -> Manifest:
        """What the file says of itself, or what was guessed."""
        return self.loaded.manifest

    def predict(self, x: Payload) -> Any:  # by what is handed over: a type checker cannot tell a row from a batch
        """The `Result` of one sample; a list of them, in order, of a batch.

        A row: a dict by feature name, a list or vector [features], a pandas Series. A picture: the bytes of a JPEG,
        PNG, BMP or WebP, an array [height, width, 3], RGB, uint8, an image of Pillow. An array of the model's own
        shape. A path: what is in the file (a picture, .wav, .npy, JSON). A batch: an array or a list with one
        dimension more, a list of rows, or of pictures (also as `Path`s), a DataFrame of pandas or polars (always a
        list, of one row also; of another batch of one the `Result`).

        Raises SampleError where the model cannot take it. One thread at a time.
        """
        results = self.predict_batch(x)
        return list(results) if len(results) != 1 or payloads.is_frame(x) else results[0]

    def predict_batch(self, x: Payload) -> Sequence[Result]:
        """As `predict`, and always a sequence; `list` makes a list of it. Raises SampleError at the first sample that
        cannot be used.

        Of a table (an array [rows, features], a DataFrame) most models give `TableResults`: it is inferred at once, a
        result is made when it is looked at, and `columns` are arrays of all.
        """
        now, wall = self._clock.monotonic_ns(), self._clock.time_ns()
        columns = payloads.columns(x, self._features) if self._features else None
        if columns is not None:
            found = self._pipeline.table(Sample(None, "python", now, wall), columns, ROWS)
            if found is not None:
                return found
        sample = Sample(payloads.understood(x), "python", now, wall)
        results: list[Result] = []
        for outcome in self._pipeline.process(sample):
            if isinstance(outcome, Skipped):
                raise SampleError(outcome.reason)
            results.append(outcome)
        return results

    def infer(self, tensors: Tensors) -> dict[str, Any]:
        """Tensors in and out by name, in the model's own dtypes. Raises SampleError."""
        return self.loaded.engine.infer(tensors)

    def close(self) -> None:
        """Releases the engine."""
        self.loaded.engine.close()


def load(
    path: str | Path,
    *,
    threads: int = 1,
    provider: str = "cpu",
    engine: str = "auto",
    overrides: Overrides | None = None,
) -> Model:
    """A model file, its golden samples replayed. `overrides` go before its manifest, as the flags of the same names.

    What is doubtful about how the file is read goes to Python's log, as warnings of "edge.model".

    Raises ModelError, ConfigError.
    """
    manifest = overrides or Overrides()
    for option in options.of(Overrides):
        value = options.get(manifest, option)
        if isinstance(value, str):  # a word that the flag would refuse, too
            arguments.value(option, option.field, value)
    settings = Settings(model=ModelSettings(Path(path), engine, threads, provider), manifest=manifest)
    loaded = open_model(settings, EngineOptions(threads, provider))
    replay(loaded, settings)
    for doubt in loaded.warnings:
        log.warning("%s: %s", loaded.path.name, doubt)
    return Model(loaded)


# --- sources, sinks, outboxes ------------------------------------------------------------------------------


def make_source(uri: str, context: SourceContext) -> Source:
    """Raises ConfigError for a source that there is not."""
    source = source_uri.parse(uri)
    return registry.checked("edge.sources", source.name, source.declared.create(source.rest, context))


def source_context(
    loaded: Loaded,
    clock: Clock,
    settings: Settings,
    transport: object | None = None,
    topic: str = "",
    count: Callable[[str], None] = lambda _: None,
) -> SourceContext:
    """What a source may want to know of the model, the settings and the connection to the broker."""
    features = loaded.manifest.features
    # A state is fed by the model, a constant by the manifest: neither comes from a source.
    ours = {i.name for i in loaded.manifest.inputs if i.state_from or i.kind == "constant"}
    return SourceContext(
        clock=clock,
        features=tuple(f.name for f in features if f.name),
        feature_kinds=tuple(f.kind for f in features),
        partial=settings.input.absent == "missing",
        watch=bool(settings.input.watch),
        ignore_retained=settings.input.ignore_retained,
        input_specs=tuple(s for s in loaded.engine.inputs if s.name not in ours),
        transport=transport,
        topic=topic,
        count=count,
        max_input=settings.input.max_input,
    )


def join_rules(settings: Settings) -> JoinRules | None:
    """None where topics are not joined."""
    said = settings.join
    if not said.features:
        return None
    partial = settings.input.absent == "missing"
    return JoinRules(said.features, said.max_age, said.trigger or "", said.interval, partial=partial)


def make_sink(uri: str, context: SinkContext) -> Sink:
    """A sink by its scheme: `console`, `file:PATH`. Raises ConfigError, SpoolError."""
    name, colon, rest = uri.partition(":")
    if not colon and Path(name).suffix and name not in registry.names("edge.sinks"):  # to ask for names takes 15 ms
        raise ConfigError(f"--sink {uri}: no kind of sink; a file of results is --sink file:{uri}")
    return registry.checked("edge.sinks", name, registry.declared(SinkInfo, name).create(rest, context))


def make_publish_filter(settings: Settings, task: str, metrics: Metrics | None = None) -> PublishFilter | None:
    """The publishing rules; None where there is none. Raises ConfigError for one that does not fit the task."""
    rules = PublishRules(
        settings.publishing.on_change,
        settings.publishing.min_interval,
        settings.publishing.min_score,
        settings.publishing.deadband,
    )
    rules.check(task)
    return (
        PublishFilter(rules, lambda reason: metrics.inc(f"held:{reason}") if metrics else None) if rules.any else None
    )
