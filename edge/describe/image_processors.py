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
from edge.describe.metadata import Pictures, Resize

_PILLOW: tuple[Resample, ...] = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""In the order of Pillow's numbers."""
_Fitting = tuple[tuple[int, int] | None, Resize | None, float]


def hugging_face(content: Mapping[str, Any]) -> Pictures | None:
    """transformers' image processors: `(pixel * rescale_factor - mean) / std`, each step may be off."""
    if not {"image_processor_type", "image_mean", "do_rescale"} & set(content):
        return None
    factor = _above_0(content.get("rescale_factor", 1 / 255), "rescale_factor") if content.get("do_rescale", 1) else 1.0
    mean, std = _numbers(content, "image_mean"), _numbers(content, "image_std")
    normalises = bool(content.get("do_normalize", True) and mean and std)
    mean, std = (mean, std) if normalises else ((), (1.0,))
    again = _numbers(content, "image_std") if content.get("include_top") else ()
    if again:  # EfficientNet divides by the deviation a second time: its file holds the roots of ImageNet's
        std = tuple((np.array(std) * np.array(again)).tolist())
    offset = 1.0 if content.get("rescale_offset") else 0.0  # EfficientNet: pixels to -1..1 before the rest
    size, resize, fraction = _fitting(content)
    return Pictures(
        mean=tuple(round((m + offset) / factor, 4) for m in (mean or ((0.0,) if offset else ()))),
        std=tuple(round(s / factor, 4) for s in std) if factor != 1.0 or normalises else (),
        size=size,
        resize=resize or "",
        crop_fraction=fraction,
        resample=_resample(content.get("resample")) if content.get("do_resize", True) else "",
        pad=0 if resize == "letterbox-topleft" else None,
        color="BGR" if content.get("do_flip_channel_order") else "RGB",
    )


def _fitting(content: Mapping[str, Any]) -> _Fitting:
    """Size, resize and crop fraction. A shortest edge keeps the picture's form: nothing of it is cut off."""
    size = content.get("size")
    shortest, longest = _edges(content)
    crop = _rectangle(content.get("crop_size"))
    if content.get("do_center_crop") and crop:
        if isinstance(size, dict) and (rectangle := _rectangle(size)):  # BEiT: the form is lost before the cut
            return crop, "stretch", min(1.0, round(crop[0] / rectangle[0], 4))
        whole = _before_crop(content, shortest) or _whole(size) or min(crop)
        return crop, "crop", min(1.0, round(min(crop) / whole, 4)) if whole else 1.0
    if shortest and "crop_pct" in content:  # ConvNeXt
        square, share = (shortest, shortest), _above_0(content["crop_pct"] or 1.0, "crop_pct")
        return (square, "crop", share) if shortest < 384 else (square, "stretch", 1.0)
    if shortest:
        wide = round(shortest * 4 / 3)
        return (min(wide, longest) if longest else wide, shortest), "letterbox-topleft", 1.0
    rectangle = _rectangle(size)
    return (rectangle, "stretch", 1.0) if rectangle else (None, None, 1.0)


def _before_crop(content: Mapping[str, Any], shortest: int) -> int:
    """How long the shorter side is before the middle is cut out."""
    if shortest and "crop_pct" in content:  # PoolFormer
        return int(shortest / _above_0(content["crop_pct"] or 1.0, "crop_pct"))
    levit = str(content.get("image_processor_type", content.get("feature_extractor_type", ""))).startswith("Levit")
    return int(256 / 224 * shortest) if levit else shortest


def _resample(value: object) -> Resample:
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


def _edges(content: Mapping[str, Any]) -> tuple[int, int]:
    """The shortest and the longest edge, 0 where there is none.

    Older files say a number: an edge for DETR and its kin (`max_size` beside it) and for ConvNeXt (`crop_pct`), else
    the side of a square.
    """
    size = content.get("size")
    if isinstance(size, dict):
        return _whole(size.get("shortest_edge")), _whole(size.get("longest_edge"))
    if "max_size" in content or "crop_pct" in content:
        return _whole(size), _whole(content.get("max_size"))
    return 0, 0


def timm(content: Mapping[str, Any]) -> Pictures | None:
    """`pretrained_cfg` of timm's `config.json`."""
    if "mean" not in content or "std" not in content:
        return None
    shape = content.get("input_size")
    sides = [_whole(v) for v in shape[1:]] if isinstance(shape, list) and len(shape) == 3 else []
    return Pictures(
        mean=_pixels(content, "mean"),
        std=_pixels(content, "std"),
        size=(sides[1], sides[0]) if len(sides) == 2 and all(sides) else None,
        resize="crop" if content.get("crop_mode", "center") == "center" else "stretch",
        crop_fraction=min(1.0, _above_0(content.get("crop_pct") or 1.0, "crop_pct")),
        resample=_resample(content.get("interpolation")),
    )


def torchvision(content: Mapping[str, Any]) -> Pictures | None:
    """The fields of torchvision's presets: `mean`, `std`, `crop_size`, `resize_size`."""
    if "mean" not in content or "std" not in content:
        return None
    crop, resize = _rectangle(content.get("crop_size")), _rectangle(content.get("resize_size"))
    fraction = round(min(1.0, min(crop) / min(resize)), 4) if crop and resize else 1.0
    return Pictures(
        mean=_pixels(content, "mean"),
        std=_pixels(content, "std"),
        size=crop or resize,
        resize="crop" if crop else "stretch" if resize else "",
        crop_fraction=fraction,
        resample=_resample(content.get("interpolation")),
    )


def keras_hub(content: Mapping[str, Any]) -> Pictures | None:
    """KerasHub's image converters: `pixel * scale + offset`."""
    config = content.get("config")
    if not isinstance(config, dict):
        return None
    scale = np.array(_numbers(config, "scale") or (1.0,))
    offset = np.array(_numbers(config, "offset") or (0.0,))
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
        size=_rectangle(config.get("image_size")),
        resize="letterbox" if padded else "crop" if cut else "stretch",
        pad=0 if padded else None,
    )


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 100_000 else 0


def _rectangle(size: object) -> tuple[int, int] | None:
    """Width and height, of a mapping, of [height, width], [side] or of a side."""
    if isinstance(size, dict):
        width, height = _whole(size.get("width")), _whole(size.get("height"))
        if ("width" in size or "height" in size) and not (width and height):
            raise ValueError(f"the size {size} has not both width and height")
        return (width, height) if width and height else None
    if isinstance(size, list):
        sides = [_whole(v) for v in size]
        if len(sides) not in (1, 2) or not all(sides):
            raise ValueError(f"the size {size} is not [height, width]")
        return sides[-1], sides[0]
    return (size, size) if isinstance(size, int) and _whole(size) else None


def _numbers(content: Mapping[str, Any], key: str) -> tuple[float, ...]:
    """One number or several; () where there are none."""
    value = content.get(key)
    values = value if isinstance(value, list) else [] if value is None else [value]
    if not all(is_number(v) for v in values):
        raise ValueError(f"{key} is {str(value)[:60]}, no numbers")
    return tuple(float(v) for v in values)


def _pixels(content: Mapping[str, Any], key: str) -> tuple[float, ...]:
    return tuple(round(v * 255, 4) for v in _numbers(content, key))


def _above_0(value: object, key: str) -> float:
    if not is_number(value) or value <= 0:
        raise ValueError(f"{key} is {str(value)[:60]}, no number above 0")
    return float(value)


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value of JSON is a number that a float holds: neither NaN nor infinity, which Python reads there."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
