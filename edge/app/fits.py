"""Whether what was asked for fits the model: looked at before anything runs, by `--check`, and before an update."""

from __future__ import annotations

from edge.app import assembly, cascade, tracking, words
from edge.app.loading import Loaded, source_gives
from edge.describe.signature import picture_flags
from edge.errors import ConfigError
from edge.plugins import registry
from edge.plugins.declarations import Gives
from edge.preprocess import PreprocessorInfo
from edge.remote.address import without_credentials
from edge.settings.settings import Settings

WAYS_OUT = {
    "pictures": "name one that brings pictures: --source camera:0, '*.jpg' or clip.mp4",
    "sound": "name one that brings sound: --source speech.wav or microphone:",
    "rows": "name one that brings rows: --source rows.csv",
}
"""By what a model takes before all else."""


def check(settings: Settings, loaded: Loaded) -> None:
    """Raises ConfigError for a publishing rule, --track, --then, a template or a source that does not fit the model."""
    asked(settings, loaded)
    source(settings, loaded)


def asked(settings: Settings, loaded: Loaded) -> None:
    """All but the source. Raises ConfigError."""
    assembly.make_publish_filter(settings, loaded.manifest.task)
    tracking.check(settings, loaded)
    cascade.check(settings.cascade, loaded)
    words.check(settings, loaded)


def source(settings: Settings, loaded: Loaded) -> None:
    """Raises ConfigError where the model can take nothing of what the source brings: each sample would be refused."""
    gives: Gives = "readings" if settings.join.features else source_gives(settings)
    kind = assembly.input_kind(loaded.manifest)
    takes = registry.declared(PreprocessorInfo, kind).takes
    if not gives or not takes or gives in takes or settings.input.path is not None:
        return
    said = "--join" if settings.join.features else f"--source {without_credentials(settings.input.source or '')}"
    wanted = takes[0] if kind != "tensor" else "arrays"
    raise ConfigError(
        f"{said} brings {gives}, and {loaded.path.name} takes {wanted}; {_flags(gives, kind, loaded)}"
        f"{WAYS_OUT.get(wanted, 'name one that brings arrays: --source rows.npy')}"
    )


def _flags(gives: Gives, kind: str, loaded: Loaded) -> str:
    """Where the input may hold what comes, and the model file does not say so."""
    if gives == "sound" and kind != "image":
        return "where its input holds sound, --frontend and --window say how it is made; else "
    if gives == "pictures" and kind == "window":
        return "where its input holds pictures, --layout says how they lie; else "
    if gives == "pictures" and kind == "tensor":
        flags = next((found for spec in loaded.engine.inputs if (found := picture_flags(spec))), "")
        return f"where its input holds a picture: {flags}; else " if flags else ""
    return ""
