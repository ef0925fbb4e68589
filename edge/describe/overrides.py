"""What the user says of a model that says nothing of itself."""

from __future__ import annotations

import msgspec

from edge.data.vocabulary import Activation, Color, Layout, Resize, Task


class Hints(msgspec.Struct, frozen=True):
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
