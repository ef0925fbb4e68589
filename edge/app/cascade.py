"""`--then FILE`: the second model of a cascade, where the first one tells objects."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from edge.app import assembly, loading
from edge.app.core import Core, Draft
from edge.data.vocabulary import OBJECTS
from edge.describe.overrides import Overrides
from edge.engines import choose
from edge.errors import ConfigError, FatalError, nearest
from edge.pipeline.stages import Follow
from edge.plugins.protocols import EngineOptions
from edge.settings.settings import Settings
from edge.settings.stages import CascadeSettings

if TYPE_CHECKING:
    from edge.app.loading import Loaded
    from edge.cascade.gallery import Gallery

log = logging.getLogger("edge.cascade")


class Second:
    """What follows on the first model's results: a stage with the second one, or nothing. `loaded` is None then."""

    def __init__(self, core: Core, loaded: Loaded | None = None, gallery: Gallery | None = None) -> None:
        self._core, self.loaded, self._gallery = core, loaded, gallery

    def stages(self) -> tuple[Follow, ...]:
        """For one more pipeline of the first model; all share the engine of the second. Raises ConfigError."""
        if self.loaded is None:
            return ()
        from edge.cascade.stage import Cascade, Objects

        settings = self._core.settings
        said = settings.cascade
        options = assembly.PipelineOptions("then", self._core.rows, settings.input.max_input)
        pipeline = assembly.make_pipeline(self.loaded, settings.topics.device, options)
        objects = Objects(frozenset(said.labels), said.margin, said.least, said.most)
        return (Cascade(pipeline, objects, self._gallery),)


def make(core: Core, draft: Draft) -> Second:
    """Loaded, and said what was guessed of it. Raises ModelError, ConfigError."""
    settings = core.settings
    if settings.cascade.then is None:
        return Second(core)
    check(settings.cascade, core.loaded)
    loaded, gallery = open_second(settings)
    draft.add("second model's engine", stop=loaded.engine.close, lasting=True)
    _say(loaded)
    return Second(core, loaded, gallery)


def check(said: CascadeSettings, first: Loaded) -> None:
    """Raises ConfigError where the first model has no objects that could be meant."""
    manifest, file = first.manifest, first.path.name
    if said.then is None:
        return
    if manifest.task not in OBJECTS:
        raise ConfigError(f"--then looks at objects, and {file} does {manifest.task}; leave it out")
    for name in said.labels:
        if manifest.labels and name not in manifest.labels:
            near = nearest(name, manifest.labels) or f"; it has {', '.join(manifest.labels[:8])}"
            raise ConfigError(f"--then-labels {name}: {file} has no such label{near}")


def open_second(settings: Settings) -> tuple[Loaded, Gallery | None]:
    """The second model, its golden samples replayed, and the gallery. Raises ModelError, ConfigError."""
    said, path = settings.cascade, settings.cascade.then
    assert path is not None
    # What a vector is, no file of somebody else's says: it looks like scores.
    vector = Overrides(task="raw") if said.gallery is not None else None
    name, options = _engine(settings)
    loaded = loading.load_file(path, options, engine=name, overrides=vector)
    try:
        loading.replay(loaded, settings)
        _require_one_picture(loaded)
        return loaded, _gallery(loaded, said)
    except FatalError:
        loaded.engine.close()
        raise


def _engine(settings: Settings) -> tuple[str, EngineOptions]:
    """The first model's, where it reads the file: a second one of another kind has its own."""
    options = loading.engine_options(settings)
    path, named = settings.cascade.then, settings.model.engine
    assert path is not None
    first, second = choose.find(settings.model.file, named)[0], choose.find(path)[0]
    return (named, options) if first == second else ("auto", msgspec.structs.replace(options, provider="cpu"))


def _require_one_picture(loaded: Loaded) -> None:
    """Raises ConfigError for a model that cannot be shown one object after the other."""
    file = loaded.path.name
    if not loaded.manifest.takes_pictures:
        raise ConfigError(f"--then {file} takes no picture, and what it would be shown are parts of one")
    if not assembly.make_pipeline(loaded, "then").free:
        raise ConfigError(
            f"--then {file} keeps something from picture to picture, and would be shown another object each time; name "
            "a model that does not"
        )


def _say(loaded: Loaded) -> None:
    """As of the first model; the flags are said once, to write a sidecar."""
    model = {"model": loaded.manifest.name}
    if loaded.guesses:
        file, flags = loaded.path.name, " ".join(loaded.guesses)
        fix = f"if it is not so: edge-run --model {file} FLAGS --describe > {file}.json"
        log.info("the second model's file says little of itself; guessed", extra={**model, "flags": flags, "fix": fix})
    for text in loaded.warnings:
        log.warning("second model", extra={**model, "note": text})
    engine = f"{loaded.engine.name} {loaded.engine.version}"
    log.info("second model ready", extra={**model, "task": loaded.manifest.task, "engine": engine})


def _gallery(loaded: Loaded, said: CascadeSettings) -> Gallery | None:
    """Raises ConfigError where the second model gives no vector of the gallery's width."""
    if said.gallery is None:
        return None
    from edge.cascade import gallery

    found = gallery.read(said.gallery, said.gallery_score)
    outputs, file = loaded.engine.outputs, loaded.path.name
    shape = outputs[0].shape or ()
    vector = [d for d in shape[len(shape) > 1 :] if d != 1]  # behind the batch, be it of 1 or free
    if loaded.manifest.task != "raw" or len(outputs) != 1 or len(vector) > 1:
        shapes = ", ".join(f"{o.name} {list(o.shape or ())}" for o in outputs)
        raise ConfigError(
            f"--gallery names a vector, and {file} does {loaded.manifest.task} with {shapes}; leave it out, or "
            "name a model whose one output is a vector"
        )
    if vector and isinstance(vector[0], int) and vector[0] != found.width:
        raise ConfigError(f"--gallery {said.gallery}: vectors of {found.width} numbers, {file} gives {vector[0]}")
    return found
