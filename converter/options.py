"""What may be asked of a conversion, by a flag or by a keyword of `converter.convert`."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, TypedDict, get_args

from edge.data.normalization import understand
from edge.data.vocabulary import Color, Layout, Resize, Task
from edge.errors import ConfigError
from edge.model.manifest import Manifest

Target = Literal["onnx", "tflite"]
Calibration = Literal["minmax", "entropy", "percentile"]
SampleOrder = Literal["any", "time"]
PICTURE = ("input_size", "layout", "color", "resize", "mean", "std")
"""Options of pictures alone."""


@dataclass(frozen=True, slots=True)
class Options:
    """`framework`, `name` and `task` are found out where they are None.

    `mean` and `std` are in pixel values, 0 to 255, as in the manifest, or all in shares of 255 (ImageNet's 0.485,
    0.456, 0.406), of which `convert` makes pixel values. `tolerance` is the largest difference
    that parity allows (see `converter.proof.parity`); None is the default for the kind of quantisation. `calibration`
    and `max_accuracy_drop` (of accuracy 0 to 1, or of R squared) are for int8.
    `missing` is the number that stands for a missing value, which an XGBoost file does not say.
    `no_reference` leaves what the sample looked like out of the manifest (`edge.drift.reference`); `sample_order` says
    whether its rows are in the order of time.
    """

    target: Target = "onnx"
    framework: str | None = None
    name: str | None = None
    version: str = ""
    task: Task | None = None
    labels: tuple[str, ...] = ()
    quantize: str = "none"
    tolerance: float | None = None
    trust_pickle: bool = False
    force: bool = False
    input_size: tuple[int, int] | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layout: Layout | None = None
    color: Color | None = None
    resize: Resize | None = None
    calibration: Calibration = "minmax"
    max_accuracy_drop: float | None = None
    missing: float | None = None
    no_reference: bool = False
    sample_order: SampleOrder = "any"

    def __post_init__(self) -> None:
        """Raises ConfigError for a target that there is not, or a number that no comparison could be made with."""
        if self.target not in get_args(Target):
            raise ConfigError(f"target={self.target!r}: one of {', '.join(map(repr, get_args(Target)))} belongs there")
        if self.sample_order not in get_args(SampleOrder):
            raise ConfigError(f"sample_order={self.sample_order!r}: 'time' belongs there, or leave it out")
        if self.tolerance is not None and not 0 <= self.tolerance < math.inf:
            raise ConfigError(f"--tolerance {self.tolerance}: a finite number of at least 0 belongs there")
        if self.max_accuracy_drop is not None and not math.isfinite(self.max_accuracy_drop):
            raise ConfigError(f"--max-accuracy-drop {self.max_accuracy_drop}: a finite number belongs there")


class Choices(TypedDict, total=False):
    """The fields of `Options`, as keywords."""

    framework: str | None
    name: str | None
    version: str
    task: Task | None
    labels: tuple[str, ...]
    quantize: str
    tolerance: float | None
    trust_pickle: bool
    force: bool
    input_size: tuple[int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    layout: Layout | None
    color: Color | None
    resize: Resize | None
    calibration: Calibration
    max_accuracy_drop: float | None
    missing: float | None
    no_reference: bool
    sample_order: SampleOrder


def in_pixel_values(options: Options) -> tuple[Options, tuple[str, ...]]:
    """With `mean` and `std` in pixel values, and a note of how they were understood. Raises ConfigError."""
    if not options.mean and not options.std:
        return options, ()
    normalization = understand(options.mean, options.std)
    return replace(options, mean=normalization.mean, std=normalization.std), (str(normalization),)


def check_pictures(options: Options, manifest: Manifest) -> None:
    """Raises ConfigError where the options speak of pictures and the model takes none."""
    flags = [f"--{name.replace('_', '-')}" for name in PICTURE if getattr(options, name)]
    if flags and not any(i.kind == "image" for i in manifest.inputs):
        raise ConfigError(f"{', '.join(flags)}: this model takes no picture; leave it out")
