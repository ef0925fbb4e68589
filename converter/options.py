"""What may be asked of a conversion, by a flag or by a keyword of `converter.convert`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

from edge.model.manifest import Task

Target = Literal["onnx", "tflite"]


@dataclass(frozen=True, slots=True)
class Options:
    """`framework`, `name` and `task` are found out where they are None.

    `mean` and `std` are in pixel values, 0 to 255, as in the manifest. `tolerance` is the largest difference
    that parity allows (see `converter.proof.parity`); None is the default for the kind of quantisation. `calibration`
    and `max_accuracy_drop` (of accuracy 0 to 1, or of R squared) are for int8.
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
    layout: Literal["NHWC", "NCHW"] | None = None
    color: Literal["RGB", "BGR", "GRAY"] | None = None
    resize: Literal["stretch", "letterbox", "letterbox-topleft", "crop"] | None = None
    calibration: Literal["minmax", "entropy", "percentile"] = "minmax"
    max_accuracy_drop: float | None = None


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
    layout: Literal["NHWC", "NCHW"] | None
    color: Literal["RGB", "BGR", "GRAY"] | None
    resize: Literal["stretch", "letterbox", "letterbox-topleft", "crop"] | None
    calibration: Literal["minmax", "entropy", "percentile"]
    max_accuracy_drop: float | None


def pixels(values: tuple[float, ...]) -> tuple[float, ...]:
    """`--mean` or `--std` in pixel values: where none is above 1 they are fractions of 255 (torchvision's way)."""
    return tuple(v * 255.0 for v in values) if values and all(abs(v) <= 1 for v in values) else values
