"""Whether what was asked for fits the model: looked at before anything runs, by `--check`, and before an update."""

from __future__ import annotations

from edge.app import assembly, cascade, tracking, words
from edge.app.loading import Loaded
from edge.settings.settings import Settings


def check(settings: Settings, loaded: Loaded) -> None:
    """Raises ConfigError for a publishing rule, --track, --then or a template that does not fit the model's task."""
    assembly.make_publish_filter(settings, loaded.manifest.task)
    tracking.check(settings, loaded)
    cascade.check(settings.cascade, loaded)
    words.check(settings, loaded)
