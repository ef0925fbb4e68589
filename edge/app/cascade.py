"""`--then FILE`: the second model of a cascade, where the first one tells objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from edge.app import assembly, loading
from edge.app.core import Core, Draft
from edge.describe.overrides import Overrides
from edge.errors import ConfigError, nearest
from edge.pipeline.pipeline import Follow
from edge.settings.settings import CascadeSettings

if TYPE_CHECKING:
    from edge.app.loading import Loaded
    from edge.cascade.gallery import Gallery

Stages: TypeAlias = Callable[[], tuple[Follow, ...]]
"""What follows on one more pipeline of the first model: a stage, or nothing."""
TASKS = ("detect", "keypoints")


def make(core: Core, draft: Draft) -> Stages:
    """All stages share the engine of the second model. Raises ModelError, ConfigError."""
    settings = core.settings.cascade
    path = settings.then
    if path is None:
        return tuple
    from edge.cascade.stage import Cascade, Objects

    _require_objects(core, settings)
    # What a vector is, no file of somebody else's says: it looks like scores.
    vector = Overrides(task="raw") if settings.gallery is not None else None
    engine, options = core.settings.model.engine, loading.engine_options(core.settings)
    loaded = loading.load_file(path, options, engine=engine, overrides=vector)
    draft.add("second model's engine", stop=loaded.engine.close)
    loading.replay(loaded, core.settings)
    if all(part.kind != "image" for part in loaded.manifest.inputs):
        raise ConfigError(f"--then {path.name} takes no picture, and what it would be shown are parts of one")
    gallery = _gallery(loaded, settings)
    objects = Objects(frozenset(settings.labels), settings.margin, settings.least, settings.most)
    pipelines = assembly.PipelineOptions("then", core.rows, core.settings.input.max_input)

    def stages() -> tuple[Follow, ...]:
        pipeline = assembly.make_pipeline(loaded, core.settings.topics.device, pipelines)
        if not pipeline.free:
            raise ConfigError(
                f"--then {path.name} keeps something from picture to picture, and would be shown another object each "
                "time; name a model that does not"
            )
        return (Cascade(pipeline, objects, gallery),)

    return stages


def _require_objects(core: Core, settings: CascadeSettings) -> None:
    """Raises ConfigError where the first model has none that could be meant."""
    manifest, file = core.loaded.manifest, core.loaded.path.name
    if manifest.task not in TASKS:
        raise ConfigError(f"--then looks at objects, and {file} does {manifest.task}; leave it out")
    for name in settings.labels:
        if manifest.labels and name not in manifest.labels:
            near = nearest(name, manifest.labels) or f"; it has {', '.join(manifest.labels[:8])}"
            raise ConfigError(f"--then-labels {name}: {file} has no such label{near}")


def _gallery(loaded: Loaded, settings: CascadeSettings) -> Gallery | None:
    """Raises ConfigError where the second model gives no vector of the gallery's width."""
    if settings.gallery is None:
        return None
    from edge.cascade import gallery

    found = gallery.read(settings.gallery, settings.gallery_score)
    outputs, file = loaded.engine.outputs, loaded.path.name
    shape = [d for d in outputs[0].shape or () if d != 1]
    if loaded.manifest.task != "raw" or len(outputs) != 1 or len(shape) > 1:
        shapes = ", ".join(f"{o.name} {list(o.shape or ())}" for o in outputs)
        raise ConfigError(
            f"--gallery names a vector, and {file} does {loaded.manifest.task} with {shapes}; leave it out, or say "
            'what the model does in a sidecar: "task": "raw"'
        )
    if shape and isinstance(shape[0], int) and shape[0] != found.width:
        raise ConfigError(f"--gallery {settings.gallery}: vectors of {found.width} numbers, {file} gives {shape[0]}")
    return found
