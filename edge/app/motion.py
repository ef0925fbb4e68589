"""`--motion`, where the model takes pictures and a source brings them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.app.core import Core
from edge.errors import ConfigError
from edge.plugins.protocols import Source

if TYPE_CHECKING:
    from edge.runtime.motion_gate import MotionGate


def make(core: Core, source: Source | None) -> MotionGate | None:
    """None where it is not asked for. Raises ConfigError where there would be nothing to look at."""
    settings = core.settings.input
    if settings.motion is None:
        return None
    if not core.loaded.manifest.takes_pictures:
        raise ConfigError(f"--motion looks at pictures, and {core.loaded.path.name} takes none; leave it out")
    if source is None:
        raise ConfigError("--motion looks at what a --source brings, and there is none; leave it out")
    from edge.preprocess.image.decode import opencv
    from edge.runtime.motion_gate import MotionGate

    opencv()
    return MotionGate(settings.motion, settings.motion_keepalive, live=frames_are_of_now(core, source))


def frames_are_of_now(core: Core, source: Source | None) -> bool:
    """Whether the clock tells when a frame was taken; else it is of a recording."""
    uri = core.settings.input.source
    return core.settings.input.watch or source is None or source.live or uri is None or uri.startswith("mqtt:")
