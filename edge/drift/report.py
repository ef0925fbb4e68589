"""What is told of drift: on the topic `drift`, on the page, in the log."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

SCHEMA = 1

State = Literal["learning", "ok", "suspect", "drifted"]
STATES: tuple[State, ...] = ("learning", "ok", "suspect", "drifted")
NOT_WATCHED = -1
"""In the place of a state's number: the model that runs now has nothing to be compared with."""
Of = Literal["input", "prediction"]
Kind = Literal[
    "place", "spread", "share", "stuck", "missing", "unknown", "far",
    "sharper", "blurred", "brighter", "darker", "harder", "flatter", "moved",
]  # fmt: skip
"""The last line is of pictures: harder and flatter of contrast, moved of the scene."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What is odd about one feature or prediction. `distance` is in standard errors of a window, `share` of the rows of
    the window, `rows` a run that goes on. `alone`: one window, or a while in which nothing can be judged, and no
    alarm."""

    name: str
    of: Of
    kind: Kind
    direction: Literal["up", "down"] | UnsetType = UNSET
    category: str | UnsetType = UNSET
    distance: float | UnsetType = UNSET
    share: float | UnsetType = UNSET
    rows: int | UnsetType = UNSET
    alone: bool = False

    @property
    def weight(self) -> float:
        """The larger the earlier it is told: what was counted before what was judged."""
        exact = self.distance is UNSET
        return (0.0 if self.alone else 1e9) + (1e6 if exact else abs(float(self.distance or 0.0)))

    @property
    def text(self) -> str:
        """For the log: `temperature place up (9.1)`."""
        said = [self.name, self.kind]
        if isinstance(self.category, str):
            said.append(repr(self.category))
        if isinstance(self.direction, str):
            said.append(self.direction)
        if isinstance(self.distance, float):
            said.append(f"({self.distance:.1f})")
        return " ".join(said)


class Sees(msgspec.Struct, frozen=True):
    """The smallest shift of a feature that is seen within two windows, in standard deviations of its sample: of the
    feature in the middle, and of the one that is seen worst. None: not even one of all values to one side."""

    median_sd: float | None
    worst_sd: float | None
    worst: str


Count = Annotated[int, msgspec.Meta(ge=0, le=2**40)]
"""Of rows in a window. What others say is bounded, so that the sum over a fleet is a number, too."""


class FeatureCounts(msgspec.Struct, frozen=True):
    """How many rows fell into each place of the scale: of a number below, in each bin of, and above it, of a text each
    of its categories in their order and all others; the last one is of missing values."""

    name: str
    of: Of
    kind: Literal["number", "text"]
    counts: list[Count]


class Counts(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of the last window, for a fleet: those of devices with one `scale` are added up. `left_out` features did not fit
    in."""

    scale: str
    rows: Count
    features: tuple[FeatureCounts, ...]
    left_out: int = 0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Retained on the topic `drift`. `learned` windows of `arms`, before which distances are not judged; `features` in
    order, the oddest first; `doubtful` are those that were learnt while they looked broken."""

    schema: int = SCHEMA
    time: str
    device: str
    model: str
    state: State
    since: str
    window_s: float
    windows: int
    learned: int
    arms: int
    rows: int
    features: tuple[Finding, ...] = ()
    doubtful: tuple[str, ...] = ()
    sees: Sees | None = None
    counts: Counts | None = None
