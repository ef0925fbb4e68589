"""From a model file to a loaded engine and a manifest: the file's own, with what the settings say instead.

Imports nothing of the flow: at start this runs while the rest of the house is being imported (`start.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from edge.data.names import topic_part
from edge.data.result import ModelRef
from edge.describe.overrides import Hints
from edge.errors import ConfigError
from edge.model import container, golden, labels
from edge.model.manifest import Input, Manifest
from edge.plugins import registry
from edge.plugins.protocols import Engine, EngineOptions
from edge.settings.layers import Settings
from edge.sources.uri import split_source

ENGINES = {"onnx": "onnxruntime", "tflite": "litert"}
IMAGE_KEYS = {
    "input_size": "size",
    "layout": "layout",
    "color": "color",
    "resize": "resize",
    "mean": "mean",
    "std": "std",
}


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
    loaded = load_file(settings.model, engine_options(settings), engine=settings.engine, hints=hints(settings))
    return override(loaded, settings)


def engine_options(settings: Settings) -> EngineOptions:
    """In the state folder engines remember which files did not kill them."""
    return EngineOptions(settings.threads or 1, settings.provider, cache_dir=settings.state_dir)


def replay(loaded: Loaded, settings: Settings) -> None:
    """The golden samples, unless the settings leave them out. Raises ModelError."""
    if not settings.no_golden:
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
        known = labels.classes(loaded.manifest, loaded.engine.outputs)
        said["labels"] = labels.require_fit(labels.read(settings.labels), known)
    if settings.said("name"):
        said["name"] = topic_part(settings.name)
    image = {field: settings.said(key) for key, field in IMAGE_KEYS.items() if settings.said(key) is not None}
    if image:
        said["inputs"] = _with_image(loaded.manifest.inputs, image)
    manifest = msgspec.structs.replace(loaded.manifest, **said)
    rest = tuple(g for g in loaded.guesses if not any(_flag(k) == g.partition(" ")[0] for k in settings.given))
    return msgspec.structs.replace(loaded, manifest=manifest, guesses=rest)


def _flag(key: str) -> str:
    return "--" + key.replace("_", "-")


def _with_image(inputs: Sequence[Input], fields: Mapping[str, Any]) -> tuple[Input, ...]:
    if not any(i.kind == "image" for i in inputs):
        flags = ", ".join(_flag(k) for k, f in IMAGE_KEYS.items() if f in fields)
        raise ConfigError(f"{flags}: this model takes no picture; leave it out")
    return tuple(msgspec.structs.replace(i, **fields) if i.kind == "image" else i for i in inputs)
