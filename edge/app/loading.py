"""From a model file to a loaded engine and a manifest: the file's own, with what the settings say instead.

Imports nothing of the flow: at start this runs while the rest of the house is being imported (`start.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from edge.data.names import topic_part
from edge.data.result import ModelRef
from edge.describe.overrides import Hints
from edge.errors import ConfigError
from edge.model import container, golden, labels
from edge.model.manifest import Input, Manifest
from edge.plugins import registry
from edge.plugins.protocols import Engine, EngineOptions
from edge.settings import options
from edge.settings.settings import PictureSettings, Settings
from edge.sources.uri import split_source

ENGINES = {"onnx": "onnxruntime", "tflite": "litert"}


class Loaded(msgspec.Struct, frozen=True):
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


def open_model(settings: Settings) -> Loaded:
    """The model with what the settings override. Raises ModelError, ConfigError."""
    loaded = load_file(
        settings.model.file, engine_options(settings), engine=settings.model.engine, hints=hints(settings)
    )
    return override(loaded, settings)


def engine_options(settings: Settings) -> EngineOptions:
    """In the state folder engines remember which files did not kill them."""
    return EngineOptions(settings.model.threads or 1, settings.model.provider, cache_dir=settings.delivery.state_dir)


def replay(loaded: Loaded, settings: Settings) -> None:
    """The golden samples, unless the settings leave them out. Raises ModelError."""
    if not settings.model.no_golden:
        golden.replay(loaded.engine, loaded.manifest, file=loaded.path.name)


def engine_name(path: Path, engine: str = "auto") -> str:
    """The plug-in that loads a file. Raises ModelError for one that is no model, ConfigError for the wrong engine."""
    kind = container.kind_of(path)
    name = ENGINES[kind] if engine == "auto" else engine
    if name != ENGINES[kind] and name in ENGINES.values():
        raise ConfigError(
            f"--engine {engine}: {path.name} is an {kind} file; leave --engine out, or say {ENGINES[kind]}"
        )
    return name


def find_engine(path: Path, engine: str = "auto") -> Callable[[Path, EngineOptions], Engine]:
    """The `load` of the engine for a file; imports its library. Raises ModelError, ConfigError."""
    load: Callable[[Path, EngineOptions], Engine] = registry.find("edge.engines", engine_name(path, engine))
    return load


def load_file(
    path: Path, options: EngineOptions | None = None, *, engine: str = "auto", hints: Hints | None = None
) -> Loaded:
    """Opens a model file with the engine for its kind; `hints` help where it says nothing of itself.

    Raises ModelError, ConfigError.
    """
    loaded: Engine = find_engine(path, engine)(path, options or EngineOptions())
    sha = container.sha256(path)
    manifest = container.read_manifest(path, loaded.metadata)
    if manifest is not None and manifest.inputs:
        return Loaded(path, loaded, _named(manifest, path), sha)
    from edge.describe import describe  # much code, for files that say nothing of themselves

    found = describe.describe(path, loaded, hints)
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
    picture, manifest, source = settings.picture, settings.manifest, settings.input.source
    return Hints(
        task=manifest.task,
        labels=labels.read(manifest.labels) if manifest.labels is not None else (),
        decoder=manifest.decoder,
        layout=picture.layout,
        color=picture.color,
        mean=picture.mean,
        std=picture.std,
        resize=picture.resize,
        size=picture.input_size,
        activation=_activation(settings),
        window=manifest.window,
        hop=manifest.hop,
        sample_rate=manifest.sample_rate,
        frontend=manifest.frontend,
        sound=source is not None and split_source(source)[0] in ("wav", "microphone"),
    )


def _activation(settings: Settings) -> Literal["", "softmax", "sigmoid"] | None:
    activation = settings.manifest.activation
    return "" if activation == "none" else activation


def override(loaded: Loaded, settings: Settings) -> Loaded:
    """The manifest with what flags, variables or the file say instead. Raises ConfigError."""
    ours, old = settings.manifest, loaded.manifest
    changes = {
        "task": ours.task,
        "threshold": ours.threshold,
        "top_k": ours.top_k,
        "decoder": "" if ours.decoder is None and ours.task not in (None, old.task) else ours.decoder,
        "nms": ours.nms,
        "activation": _activation(settings),
        "labels": _labels(loaded, ours.labels) if ours.labels is not None else None,
        "name": topic_part(settings.topics.name) if settings.topics.name else None,
        "inputs": _with_picture(old.inputs, settings.picture),
    }
    manifest = msgspec.structs.replace(old, **{field: new for field, new in changes.items() if new is not None})
    decided = {f"--{option.name}" for option in options.of(Settings) if option.key in settings.given}
    guesses = tuple(guess for guess in loaded.guesses if guess.partition(" ")[0] not in decided)
    return msgspec.structs.replace(loaded, manifest=manifest, guesses=guesses)


def _labels(loaded: Loaded, file: Path) -> tuple[str, ...]:
    return labels.require_fit(labels.read(file), labels.classes(loaded.manifest, loaded.engine.outputs))


def _with_picture(inputs: Sequence[Input], picture: PictureSettings) -> tuple[Input, ...] | None:
    """The inputs as the user describes their picture; None where nothing is said of it. Raises ConfigError."""
    said = {field: value for field, value in msgspec.structs.asdict(picture).items() if value is not None}
    if not said:
        return None
    if not any(i.kind == "image" for i in inputs):
        flags = ", ".join("--" + field.replace("_", "-") for field in said)
        raise ConfigError(f"{flags}: this model takes no picture; leave it out")
    if "input_size" in said:
        said["size"] = said.pop("input_size")
    return tuple(msgspec.structs.replace(i, **said) if i.kind == "image" else i for i in inputs)
