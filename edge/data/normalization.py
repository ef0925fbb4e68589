"""What `--mean` and `--std` mean: as pixel values, 0 to 255, or as shares of 255, 0 to 1. Both are usual.

ImageNet's numbers are (0.485, 0.456, 0.406) and (0.229, 0.224, 0.225) in one measure, (123.675, 116.28, 103.53) and
(58.395, 57.12, 57.375) in the other. Numbers up to 1 are shares, numbers above are pixel values. A mean of 0 and a
std of 1 are the same to both readings, but for a picture that is told nothing else: there they leave the pixels as
they are, since 0 to 1 can be said in another way (a std of 255).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from edge.errors import ConfigError

Measure = Literal["pixel values", "shares of 255", "pixels as they are"]

CHANNELS = 3


class Normalization(msgspec.Struct, frozen=True):
    """`mean` and `std` in pixel values, 0 to 255; () where none was said. `measure` is how they were understood."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    measure: Measure

    def __str__(self) -> str:
        numbers = (("mean", self.mean), ("std", self.std))
        shown = ", ".join(f"{name} {','.join(f'{v:g}' for v in values)}" for name, values in numbers if values)
        other = "; for 0 to 1 say --std 255" if self.measure == "pixels as they are" else ""
        return f"--mean and --std were understood as {self.measure}: in pixel values {shown}{other}"


def understand(mean: Sequence[float], std: Sequence[float]) -> Normalization:
    """Numbers as a user says them; either may be empty. Raises ConfigError where they fit neither measure."""
    shown = " ".join(
        f"--{name} {','.join(f'{v:g}' for v in values)}" for name, values in (("mean", mean), ("std", std)) if values
    )
    if any(value <= 0 for value in std):
        raise ConfigError(f"{shown}: pixels are divided by --std, each number of it has to be above 0")
    if any(len(values) not in (0, 1, CHANNELS) for values in (mean, std)):
        raise ConfigError(f"{shown}: give one number for all channels, or {CHANNELS}")
    telling = [abs(value) for value in mean if value != 0] + [value for value in std if value != 1]
    shares, pixels = [v for v in telling if v <= 1], [v for v in telling if v > 1]
    if shares and pixels:
        raise ConfigError(
            f"{shown}: {shares[0]:g} is a share (0 to 1) and {pixels[0]:g} a pixel value (0 to 255); "
            "say all of them in the same measure"
        )
    scale = 255.0 if shares else 1.0
    measure: Measure = "shares of 255" if shares else "pixel values" if pixels else "pixels as they are"
    return Normalization(tuple(v * scale for v in mean), tuple(v * scale for v in std), measure)
