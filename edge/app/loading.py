"""From a model file to a loaded engine and a manifest: the file's own, with what the settings say instead.

Imports nothing of the flow: at start this runs while the rest of the house is being imported (`start.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from edge.data.names import topic_part
from edge.data.normalization import Normalization, understand
from edge.data.result import ModelRef
from edge.data.tensor import TensorSpec
from edge.describe.audio import RATE
from edge.describe.overrides import DECODED, Overrides, require_use
from edge.describe.signature import picture_flags
from edge.engines import choose
from edge.errors import ConfigError, ModelError
from edge.model import container, golden, identity, labels
from edge.model.manifest import Feature, Input, Manifest, Window
from edge.plugins.declarations import Gives
from edge.plugins.protocols import Engine, EngineOptions, RememberingEngine
from edge.settings import options
from edge.settings.settings import DeviceManifestSettings, Settings
from edge.sources import uri
from edge.telemetry import board

log = logging.getLogger("edge.app.loading")


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
    reasons: Mapping[str, str] = {}
    """By field of the manifest what it is known by, where the file brought none."""

    @property
    def ref(self) -> ModelRef:
        return ModelRef(self.manifest.name, self.manifest.version, self.sha256)

    @property
    def features(self) -> tuple[Feature, ...]:
        """Of a model that takes a table, in its order; without names where nothing says them."""
        inputs = [i for i in self.manifest.inputs if i.kind == "table"]
        if self.manifest.features or not inputs:
            return self.manifest.features
        width = next((s.shape[-1] for s in self.engine.inputs if s.name == inputs[0].name and s.shape), None)
        return (Feature(name=""),) * width if isinstance(width, int) else ()


Load: TypeAlias = Callable[[Path, EngineOptions, str], Engine]


def open_model(settings: Settings, options: EngineOptions | None = None, load: Load = choose.load) -> Loaded:
    """The model with what the settings override. `options` of the engine: as the settings say; `load` makes it. Raises
    ModelError, ConfigError."""
    loaded = load_file(
        settings.model.file,
        options or engine_options(settings),
        engine=settings.model.engine,
        overrides=overrides(settings),
        load=load,
    )
    if loaded.manifest.takes_pictures:
        normalization = _normalization(settings)
        if normalization is not None:
            log.info("normalization", extra={"note": str(normalization)})
    return override(loaded, settings)


def _normalization(settings: Settings) -> Normalization | None:
    """`--mean` and `--std` in pixel values; None where neither is said. Raises ConfigError."""
    mean, std = settings.manifest.mean, settings.manifest.std
    return understand(mean or (), std or ()) if mean or std else None


def engine_options(settings: Settings) -> EngineOptions:
    """In the state folder engines remember which files did not kill them."""
    return EngineOptions(
        settings.model.threads or 1,
        settings.model.provider,
        cache_dir=settings.delivery.state_dir,
        instances=asked_instances(settings),
    )


def asked_instances(settings: Settings) -> int:
    """How many instances of the model the settings ask for."""
    asked = settings.model.instances
    return max(1, board.cores() // (settings.model.threads or 1)) if asked == "auto" else asked


def replay(loaded: Loaded, settings: Settings) -> None:
    """The golden samples, unless the settings leave them out; side by side where several instances will run. Raises
    ModelError."""
    if settings.model.no_golden or not loaded.manifest.golden:
        return
    once = partial(golden.replay, loaded.engine, loaded.manifest, file=loaded.path.name)
    remembers = isinstance(loaded.engine, RememberingEngine) and loaded.engine.remembers
    count = asked_instances(settings)
    if count == 1 or remembers:
        once()
        return
    from concurrent.futures import ThreadPoolExecutor  # for those who have several

    with ThreadPoolExecutor(count) as threads:
        for replayed in [threads.submit(once) for _ in range(count)]:
            replayed.result()


def load_file(
    path: Path,
    options: EngineOptions | None = None,
    *,
    engine: str = "auto",
    overrides: Overrides | None = None,
    load: Load = choose.load,
) -> Loaded:
    """Opens a model file with the engine for its kind; `overrides` help where it says nothing of itself.

    Raises ModelError, ConfigError.
    """
    if not str(path).isascii() and str(path).encode("utf-8", "replace").decode() != str(path):
        raise ModelError(f"{str(path)!a}: a name that is not UTF-8, as the engines want it: rename the file or folder")
    loaded = load(path, options or EngineOptions(), engine)
    sha = identity.identity(path)
    manifest = container.read_manifest(path, loaded.metadata)
    if manifest is not None and manifest.inputs:
        return Loaded(path, loaded, _named(manifest, path), sha)
    from edge.describe import describe  # much code, for files that say nothing of themselves

    description = describe.describe(path, loaded, overrides)
    golden.forget(loaded)
    guessed = description.manifest
    if manifest is not None:
        stated = {f: getattr(manifest, f) for f in manifest.__struct_fields__ if getattr(manifest, f)}
        guessed = msgspec.structs.replace(guessed, **stated)
    return Loaded(
        path, loaded, _named(guessed, path), sha, description.guesses, description.warnings, description.reasons
    )


def _named(manifest: Manifest, path: Path) -> Manifest:
    return msgspec.structs.replace(manifest, name=topic_part(manifest.name or path.stem))


def overrides(settings: Settings) -> Overrides:
    """What the settings say of a model that says nothing of itself. Raises ConfigError."""
    manifest = settings.manifest
    return Overrides(
        task=manifest.task,
        labels=labels.named(manifest.labels) if manifest.labels is not None else (),
        decoder=manifest.decoder,
        layout=manifest.layout,
        color=manifest.color,
        mean=manifest.mean or None,
        std=manifest.std or None,
        resize=manifest.resize,
        size=manifest.input_size,
        activation=_activation(settings),
        window=manifest.window,
        hop=manifest.hop,
        sample_rate=manifest.sample_rate,
        frontend=manifest.frontend,
        sound=source_gives(settings) == "sound",
        pictures=source_gives(settings) == "pictures",
    )


def source_gives(settings: Settings) -> Gives:
    """What the source's samples surely are. A source that there is not is told by what makes it."""
    if settings.input.source is None:
        return ""
    try:
        return uri.parse(settings.input.source).declared.gives
    except ConfigError:
        return ""


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
        "labels": labels_of(loaded, ours.labels) if ours.labels is not None else None,
        "name": topic_part(settings.topics.name) if settings.topics.name else None,
        "inputs": _with_stream(_with_picture(old.inputs, settings, loaded.engine.inputs) or old.inputs, settings),
    }
    _require_use(
        settings, ours.decoder or (old.decoder if ours.task in (None, old.task) else "") or ours.task or old.task
    )
    manifest = msgspec.structs.replace(old, **{field: new for field, new in changes.items() if new is not None})
    decided = {f"--{option.name}" for option in options.of(Settings) if option.key in settings.given}
    guesses = tuple(guess for guess in loaded.guesses if guess.partition(" ")[0] not in decided)
    doubts = labels.doubts(ours.labels) if isinstance(ours.labels, Path) else []
    return msgspec.structs.replace(loaded, manifest=manifest, guesses=guesses, warnings=(*loaded.warnings, *doubts))


def _require_use(settings: Settings, decoder: str) -> None:
    """Raises ConfigError for a flag that the decoder cannot obey."""
    values = {k: v for k in DECODED if (v := getattr(settings.manifest, k)) is not None}
    if values:
        require_use(decoder, values)


def labels_of(loaded: Loaded, wanted: Path | tuple[str, ...]) -> tuple[str, ...]:
    """The labels that a user names for a model. Raises ConfigError where they do not fit."""
    manifest = loaded.manifest
    background = labels.without_background(manifest.labels) != manifest.labels
    classes = labels.classes(manifest, loaded.engine.outputs)
    return labels.require_fit(labels.named(wanted), classes, background=background)


def _with_picture(inputs: Sequence[Input], settings: Settings, specs: Sequence[TensorSpec]) -> tuple[Input, ...] | None:
    """The inputs as the user describes their picture; None where nothing is said of it. Raises ConfigError."""
    manifest = settings.manifest
    scaled = {"mean": manifest.mean or (), "std": manifest.std or ()}
    if any(scaled.values()) and any(i.kind == "table" for i in inputs):
        return tuple(_scaled(i, manifest, scaling="standard", **scaled) if i.kind == "table" else i for i in inputs)
    normalization = _normalization(settings)
    fields = {
        "size": manifest.input_size,
        "layout": manifest.layout,
        "color": manifest.color,
        "resize": manifest.resize,
        "mean": (normalization and normalization.mean) or None,
        "std": (normalization and normalization.std) or None,
    }
    changes = {field: value for field, value in fields.items() if value is not None}
    if not changes:
        return None
    if not any(i.kind == "image" for i in inputs):
        flags = ", ".join("--input-size" if field == "size" else f"--{field}" for field in changes)
        hint = next((f for s in specs if (f := picture_flags(s, manifest.input_size))), "")
        way = f"where the free input holds one: {hint}" if hint else "leave it out"
        raise ConfigError(f"{flags}: this model takes no picture; {way}")
    return tuple(_scaled(i, manifest, **changes) if i.kind == "image" else i for i in inputs)


def _scaled(part: Input, said: DeviceManifestSettings, **changes: Any) -> Input:
    """The input with the changes. Raises ConfigError where `--mean` or `--std` cannot scale it."""
    part = msgspec.structs.replace(part, **changes)
    across = -3 if part.kind == "image" and part.layout == "NCHW" else -1
    width = part.shape[across] if len(part.shape) >= -across else None
    for flag, values in (("--mean", said.mean or ()), ("--std", said.std or ())):
        shown = ",".join(f"{v:g}" for v in values)
        if flag == "--std" and 0 in values:
            raise ConfigError(f"{flag} {shown}: nothing can be divided by 0")
        if isinstance(width, int) and len(values) not in (0, 1, width):
            each = ("channel" if part.kind == "image" else "feature") + ("s" if width != 1 else "")
            raise ConfigError(
                f"{flag} {shown}: {len(values)} numbers, the input {part.name!r} has {width} {each}; "
                f"give {'one number for all, or ' if width != 1 else ''}{width}"
            )
    return part


def _with_stream(inputs: tuple[Input, ...], settings: Settings) -> tuple[Input, ...]:
    """The inputs with the sound and the windows that the user says. Raises ConfigError where the model takes none."""
    manifest = settings.manifest
    if not (manifest.sample_rate or manifest.frontend or manifest.window or manifest.hop):
        return inputs
    heard = any(i.kind == "audio" for i in inputs)
    windowed = heard or any(i.kind == "table" for i in inputs)
    for flag, value, fits, takes in (
        ("--sample-rate", manifest.sample_rate, heard, "sound"),
        ("--frontend", manifest.frontend, heard, "sound"),
        ("--window", manifest.window, windowed, "windows"),
        ("--hop", manifest.hop, windowed, "windows"),
    ):
        if value is not None and not fits:
            raise ConfigError(f"{flag}: this model takes no {takes}; leave it out")
    old = next((i.sample_rate for i in inputs if i.kind == "audio"), 0)
    return tuple(_streamed(i, manifest, old) for i in inputs)


def _streamed(part: Input, said: DeviceManifestSettings, old_rate: int) -> Input:
    """`old_rate`: the rate of the model's sound, in Hz, before the user said another."""
    if part.kind == "constant" and RATE.match(part.name) and said.sample_rate is not None:
        return msgspec.structs.replace(part, value=[said.sample_rate] if part.shape else said.sample_rate)
    if part.kind not in ("audio", "table"):
        return part
    window = _window(part, said, old_rate)
    if part.kind == "table":
        return msgspec.structs.replace(part, window=window)
    changes: dict[str, object] = {"window": window, "sample_rate": said.sample_rate or part.sample_rate}
    if said.frontend is not None and said.frontend.replace("none", "") != part.frontend:
        changes |= {"frontend": said.frontend.replace("none", ""), "frontend_options": {}}
    return msgspec.structs.replace(part, **changes)


def _window(part: Input, said: DeviceManifestSettings, old_rate: int) -> Window | None:
    """At another rate a window of the same time, unless the input's shape or the user says how long it is."""
    old = part.window
    if old is None:
        if said.hop is not None and said.window is None:
            raise ConfigError(f"--hop {said.hop}: this model has no window; --window says how long it is")
        return None if said.window is None else Window(size=said.window, hop=said.hop or max(1, said.window // 2))
    free = part.kind == "audio" and not any(isinstance(d, int) and d > 1 for d in part.shape)
    faster = (said.sample_rate or old_rate) / old_rate if free and old_rate else 1.0
    size, hop, context = (round(n * faster) for n in (old.size, old.hop, old.context))
    if said.window is not None:
        size, hop = said.window, said.window if part.kind == "audio" else max(1, said.window // 2)
    return Window(size=size, hop=said.hop or hop, context=context)
