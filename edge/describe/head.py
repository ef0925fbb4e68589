"""What a detection head says of itself: how its outputs are recognised, and what reads them.

A head is one module of `edge.postprocess` (ours or a stranger's) with a `HeadInfo` that its entry point names: the
recogniser stands beside the decoder. A recogniser looks at an `OutputProbe` and answers with a `Head`, and with what
it knows that by; of several answers the best founded wins, and where two are founded equally well the model is told as
it is (`edge.describe.heads`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, ClassVar

import msgspec

from edge.data.tensor import Array, TensorSpec
from edge.data.vocabulary import Activation, Layout
from edge.describe.metadata import Metadata
from edge.model.manifest import Manifest, Output, Task
from edge.plugins.declarations import Declaration
from edge.plugins.protocols import Postprocessor

END_TO_END_ROWS = 1000
"""Boxes that are left after suppression inside a model are fewer."""


class Evidence(IntEnum):
    """What a head is known by."""

    LIKELY = 1
    """The shapes fit, and those of others might."""
    NUMBERS = 2
    """What the model gives for noise and a picture shows it, or a shape that no other family has."""
    NAMES = 3
    """Inputs and outputs are named as this family names them."""
    METADATA = 4
    """The file says so."""


REASONS = {
    Evidence.LIKELY: "the shapes of the outputs",
    Evidence.NUMBERS: "what the model gives for noise",
    Evidence.NAMES: "the names of the outputs",
    Evidence.METADATA: "the metadata of the file",
}
"""Each in words, for people."""


class Head(msgspec.Struct, frozen=True):
    """A decoder, which output is what for it, its options, and the preset of pictures that goes with it."""

    task: Task
    decoder: str
    outputs: tuple[Output, ...] = ()
    options: dict[str, Any] = {}
    evidence: Evidence = Evidence.LIKELY
    preset: str = ""
    """How pictures become numbers: a name in `edge.describe.presets`; "" where the family leaves it open."""
    classes: int = 0
    """Columns of classes, the background's too; 0 where the outputs do not say."""
    nms: float | None = None
    threshold: float | None = None
    labels: tuple[str, ...] = ()
    """What the classes are called where nothing says."""
    activation: Activation = ""
    background: bool = False
    """True: the first of `classes` is the background, which files of labels leave out."""
    objects_only: bool = False
    """True: class 0 is an object, though files of labels may begin with the background."""
    size: tuple[int, int] | None = None
    """Width and height of pictures where the file leaves them free; None: the usual size."""
    fits_pictures: bool = False
    """True: the model itself brings pictures of any size to its own, where the file leaves the size free."""
    warning: str = ""
    """What the user should hear of it."""


class OutputProbe(msgspec.Struct, frozen=True):
    """What a head is recognised by: a model's outputs (real values, float32) for noise, and what else is known."""

    outputs: Mapping[str, Array]
    width: int
    height: int
    """Of the input, in pixels."""
    labels: int = 0
    """How many labels were found."""
    objects: int = 0
    """The same without a first one for the background."""
    channels: int = 3
    """Of the input: 1 or 3."""
    metadata: Metadata = Metadata()
    picture: Callable[[], Mapping[str, Array]] = dict
    """The outputs for a picture, which costs one inference at the first call; empty where the model refuses it."""
    layout: Layout = "NCHW"
    inputs: tuple[str, ...] = ()
    """Names of all inputs."""
    weights: Callable[[], frozenset[int]] = frozenset
    """How long the vectors among the weights are, which costs a look at the whole graph."""

    def cells(self, *strides: int) -> int:
        """Cells of a head with these strides, each side rounded up, as convolutions with padding do."""
        return sum(-(-self.width // s) * -(-self.height // s) for s in strides)

    def is_map(self, height: int, width: int) -> bool:
        """A number for each pixel, or for each of a smaller picture of the same form: depth, anomalies, a mask."""
        sides = max(self.height, self.width)
        return min(height, width) >= 16 and abs(height * self.width - width * self.height) <= sides

    def lone_rows(self) -> tuple[str, Array] | None:
        """The only output, where it is real numbers, [1, N, C], and no metadata says what they are."""
        if len(self.outputs) != 1 or self.metadata.kind:
            return None
        ((name, values),) = self.outputs.items()
        return (name, values) if values.ndim == 3 and values.dtype.kind == "f" else None

    def ranked(self, rank: int) -> dict[str, Array]:
        """The outputs of so many dimensions."""
        return {n: a for n, a in self.outputs.items() if a.ndim == rank}


Recogniser = Callable[[OutputProbe], Head | None]


class HeadInfo(Declaration, frozen=True, kw_only=True):
    """A postprocessor. Entry points of `edge.postprocess` are named as `--decoder` and a manifest's `decoder` are."""

    GROUP: ClassVar[str] = "edge.postprocess"

    create: Callable[[Manifest, tuple[TensorSpec, ...]], Postprocessor]
    """Gets the manifest and the specifications of the outputs. Raises ModelError where they do not fit."""
    recognise: Recogniser | None = None
    """Knows its outputs; None where no file can be known by them."""
    honours: frozenset[str] = frozenset()
    """The settings that its decoder obeys; one that it cannot obey is refused where a user asks for it."""


DETECTS = frozenset({"labels", "threshold", "top_k", "nms"})
DETECTS_ONCE = DETECTS - {"nms"}
"""For models that have suppressed what overlaps themselves."""
