"""What the user says of a model: of one that says nothing of itself, and of what its decoder shall do."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from edge.data.vocabulary import Activation, Color, Layout, Resize, Task
from edge.errors import ConfigError


class Overrides(msgspec.Struct, frozen=True):
    """What the user said; None or () where nothing. Same meanings as in the manifest."""

    task: Task | None = None
    labels: tuple[str, ...] = ()
    decoder: str | None = None
    layout: Layout | None = None
    color: Color | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    resize: Resize | None = None
    size: tuple[int, int] | None = None
    activation: Activation | None = None
    window: int | None = None
    hop: int | None = None
    sample_rate: int | None = None
    frontend: str | None = None
    sound: bool = False
    """The source gives sound."""
    pictures: bool = False
    """The source gives pictures."""


DECODED = ("labels", "threshold", "top_k", "nms", "activation")
"""Settings that a decoder obeys, where it can."""
_SCORED_FREELY = ("anomaly",)


def require_use(decoder: str, values: Mapping[str, object]) -> None:
    """Raises ConfigError for a setting that the decoder cannot obey, and for a threshold that is no probability."""
    from edge.describe.head import HeadInfo  # for those who say something of the outputs
    from edge.plugins import registry

    info = registry.find("edge.postprocess", decoder)
    unused = [k for k in values if isinstance(info, HeadInfo) and k not in info.honours]
    if unused:
        flags = ", ".join("--" + k.replace("_", "-") for k in unused)
        raise ConfigError(
            f"{flags}: the outputs of this model are read by {decoder!r}, which has no use for it: leave it out"
        )
    threshold = values.get("threshold")
    if isinstance(threshold, (int, float)) and not 0 <= threshold <= 1 and decoder not in _SCORED_FREELY:
        half = f": {threshold:g} % is --threshold {threshold / 100:g}" if 1 < threshold <= 100 else ""
        raise ConfigError(f"--threshold {threshold:g}: scores lie between 0 and 1{half}")
