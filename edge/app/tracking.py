"""`--track`: objects followed from frame to frame, where the model tells objects and a source brings frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.app.core import Core
from edge.app.loading import Loaded
from edge.app.motion import frames_are_of_now
from edge.data.vocabulary import OBJECTS
from edge.errors import ConfigError
from edge.plugins.protocols import Source
from edge.settings.settings import Settings
from edge.settings.stages import TrackingSettings

if TYPE_CHECKING:
    from edge.tracking.stage import Places, Tracking


def make(core: Core, source: Source | None) -> Tracking | None:
    """The stage, for all models that run one after the other: each pipeline says from which score on it is sure. Raises
    ConfigError."""
    lost_s = core.settings.tracking.lost_s
    if lost_s is None:
        return None
    check(core.settings, core.loaded)
    from edge.tracking.stage import Tracking

    _require_use(core, source)
    return Tracking(lost_s, 0.0, places(core.settings.tracking), live=frames_are_of_now(core, source))


def places(settings: TrackingSettings) -> Places:
    """Zones and lines as they were said."""
    from edge.tracking.places import Place
    from edge.tracking.stage import Places

    zones, lines = (tuple(Place(*one) for one in named) for named in (settings.zones, settings.lines))
    return Places(zones, lines, settings.anchor)


def check(settings: Settings, loaded: Loaded) -> None:
    """Raises ConfigError where the model finds no objects that could be followed."""
    task = loaded.manifest.task
    if settings.tracking.lost_s is not None and task not in OBJECTS:
        raise ConfigError(f"--track follows objects, and {loaded.path.name} does {task}; leave it out")


def _require_use(core: Core, source: Source | None) -> None:
    """Raises ConfigError where no object could be followed."""
    if source is None:
        raise ConfigError("--track follows objects through what a --source brings, and there is none; leave it out")
