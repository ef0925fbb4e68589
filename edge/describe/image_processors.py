"""How frameworks write down what is done to pictures before their models see them.

Each reader takes the content of one file and gives `Pictures`, None where the file does not say how pixels become
numbers. Raises ValueError for a field that holds something else than it should: half of a file is not believed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np

from edge.data.vocabulary import Resample
from edge.describe.metadata import Pictures

_PILLOW: tuple[Resample, ...] = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""In the order of Pillow's numbers."""
MOST_PIXELS = 100_000
"""No side of a picture is as long."""


def resample(value: object) -> Resample:
    """The kernel by Pillow's number, or by its name (timm, torchvision)."""
    if value is None or value == "random":  # timm: of the training alone
        return ""
    name = _PILLOW[value] if type(value) is int and 0 <= value < len(_PILLOW) else value
    kernel = name.lower().rpartition(".")[2] if isinstance(name, str) else name
    if kernel in ("nearest-exact", "nearest_exact"):  # torchvision's name for Pillow's way
        kernel = "nearest"
    if kernel not in _PILLOW:
        raise ValueError(f"the way to resize {str(value)[:60]!r} is unknown ({', '.join(_PILLOW)})")
    return kernel


def timm(content: Mapping[str, Any]) -> Pictures | None:
    """`pretrained_cfg` of timm's `config.json`."""
    if "mean" not in content or "std" not in content:
        return None
    shape = content.get("input_size")
    sides = [whole(v) for v in shape[1:]] if isinstance(shape, list) and len(shape) == 3 else []
    return Pictures(
        mean=_pixels(content, "mean"),
        std=_pixels(content, "std"),
        size=(sides[1], sides[0]) if len(sides) == 2 and all(sides) else None,
        resize="crop" if content.get("crop_mode", "center") == "center" else "stretch",
        crop_fraction=enlarged(sides[0] if sides else 0, content.get("crop_pct") or 0.875),
        crop_rounding="even",
        resample=resample(content.get("interpolation")),
    )


def torchvision(content: Mapping[str, Any]) -> Pictures | None:
    """The fields of torchvision's presets: `mean`, `std`, `crop_size`, `resize_size`."""
    if "mean" not in content or "std" not in content:
        return None
    crop, resize = rectangle(content.get("crop_size")), rectangle(content.get("resize_size"))
    fraction = share(min(crop), min(resize)) if crop and resize else 1.0
    return Pictures(
        mean=_pixels(content, "mean"),
        std=_pixels(content, "std"),
        size=crop or resize,
        resize="crop" if crop else "stretch" if resize else "",
        crop_fraction=fraction,
        crop_rounding="even",
        resample=resample(content.get("interpolation")),
    )


def keras_hub(content: Mapping[str, Any]) -> Pictures | None:
    """KerasHub's image converters: `pixel * scale + offset`."""
    config = content.get("config")
    if not isinstance(config, dict):
        return None
    scale = np.array(numbers(config, "scale") or (1.0,))
    offset = np.array(numbers(config, "offset") or (0.0,))
    if not scale.all():
        raise ValueError("scale is 0")
    if scale.size != offset.size and 1 not in (scale.size, offset.size):
        raise ValueError(f"scale has {scale.size} numbers, offset {offset.size}")
    # pixel * scale + offset = (pixel - mean) / std
    mean, std = np.broadcast_arrays(-offset / scale, 1.0 / scale)
    padded = bool(config.get("pad_to_aspect_ratio"))
    cut = not padded and bool(config.get("crop_to_aspect_ratio", True))
    return Pictures(
        mean=tuple(mean.round(4).tolist()) if mean.any() else (),
        std=tuple(std.round(4).tolist()),
        size=rectangle(config.get("image_size")),
        resize="letterbox" if padded else "crop" if cut else "stretch",
        pad=0 if padded else None,
    )


def whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < MOST_PIXELS else 0


def share(part: int, whole: int) -> float:
    """The share of a side that is kept, 1 at most; exact enough that the side comes out of it again."""
    return min(1.0, round(part / whole, 6))


def enlarged(side: int, kept: object) -> float:
    """The share that is kept where the side is divided by one and cut to whole pixels (timm, ConvNeXt)."""
    fraction = above_0(kept, "crop_pct")
    if fraction * MOST_PIXELS <= max(side, 1):
        raise ValueError(f"crop_pct is {fraction}, no share of a side")
    return share(side, int(side / fraction)) if side and fraction < 1 else min(1.0, fraction)


def rectangle(size: object) -> tuple[int, int] | None:
    """Width and height, of a mapping, of [height, width], [side] or of a side."""
    if isinstance(size, dict):
        width, height = whole(size.get("width")), whole(size.get("height"))
        if ("width" in size or "height" in size) and not (width and height):
            raise ValueError(f"the size {size} has not both width and height")
        return (width, height) if width and height else None
    if isinstance(size, list):
        sides = [whole(v) for v in size]
        if len(sides) not in (1, 2) or not all(sides):
            raise ValueError(f"the size {size} is not [height, width]")
        return sides[-1], sides[0]
    return (size, size) if isinstance(size, int) and whole(size) else None


def numbers(content: Mapping[str, Any], key: str) -> tuple[float, ...]:
    """One number or several; () where there are none."""
    value = content.get(key)
    values = value if isinstance(value, list) else [] if value is None else [value]
    if not all(is_number(v) for v in values):
        raise ValueError(f"{key} is {str(value)[:60]}, no numbers")
    return tuple(float(v) for v in values)


def _pixels(content: Mapping[str, Any], key: str) -> tuple[float, ...]:
    return tuple(round(v * 255, 4) for v in numbers(content, key))


def above_0(value: object, key: str) -> float:
    if not is_number(value) or value <= 0:
        raise ValueError(f"{key} is {str(value)[:60]}, no number above 0")
    return float(value)


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value of JSON is a number that a float holds: neither NaN nor infinity, which Python reads there."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
