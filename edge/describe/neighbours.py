"""Files beside a model that say how it was trained: `config.json`, `preprocessor_config.json`, `metadata.json`.

Optimum lays the first two beside the .onnx file; the Hugging Face Hub's own repositories have the file in a folder
`onnx` and these above it. timm writes the same into the `pretrained_cfg` of its `config.json`. anomalib before version
2 lays a `metadata.json` with its threshold beside the model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from edge.describe.metadata import AnomalyScale, Pictures

MAX_BYTES = 16 * 2**20
NEIGHBOURS = ("preprocessor_config.json", "config.json")
"""Which of them tell how pictures become numbers."""


class Config(msgspec.Struct, frozen=True):
    """What lies beside a model. `file` is where the pictures were read."""

    family: str = ""
    pictures: Pictures | None = None
    file: str = ""
    anomaly: AnomalyScale | None = None


def read(model: Path) -> Config | None:
    """None where nothing lies there; a file that cannot be read says nothing."""
    folders = [model.parent] + ([model.parent.parent] if model.parent.name == "onnx" else [])
    for folder in folders:
        config, processor = _json(folder / "config.json"), _json(folder / "preprocessor_config.json")
        family = config.get("model_type") if isinstance(config.get("model_type"), str) else ""
        if "image_processor_type" in processor or "image_mean" in processor or "do_rescale" in processor:
            return Config(str(family), _processor(processor), NEIGHBOURS[0])
        timm = config.get("pretrained_cfg")
        if isinstance(timm, dict):
            return Config(str(config.get("architecture", "")), _timm(timm), NEIGHBOURS[1])
        if family:
            return Config(str(family))
    scale = _anomalib(_json(model.parent / "metadata.json"))
    return Config(anomaly=scale) if scale is not None else None


def _anomalib(content: Mapping[str, Any]) -> AnomalyScale | None:
    """Since version 1 the range is of `pred_scores` and the model normalises pictures itself; before, the host did."""
    threshold, low, high = (
        next((content[k] for k in keys if isinstance(content.get(k), (int, float))), None)
        for keys in (("image_threshold",), ("pred_scores.min", "min"), ("pred_scores.max", "max"))
    )
    if threshold is None or low is None or high is None or not high > low:
        return None
    return AnomalyScale(threshold, low, high, "imagenet" if "transform" in content else "stretched")


def _json(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            return {}
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _processor(content: Mapping[str, Any]) -> Pictures:
    """transformers' image processors: `(pixel * rescale_factor - mean) / std`, each step may be off."""
    factor = _number(content.get("rescale_factor"), 1 / 255) if content.get("do_rescale", True) else 1.0
    normalises = (
        content.get("do_normalize", True) and _numbers(content.get("image_mean")) and _numbers(content.get("image_std"))
    )
    mean = _numbers(content.get("image_mean")) if normalises else ()
    std = _numbers(content.get("image_std")) if normalises else (1.0,)
    offset = 1.0 if content.get("rescale_offset") else 0.0  # EfficientNet: pixels to -1..1 before the rest
    size, resize, fraction = _fitting(content)
    return Pictures(
        mean=tuple(round((m + offset) / factor, 4) for m in (mean or ((0.0,) if offset else ()))),
        std=tuple(round(s / factor, 4) for s in std) if factor != 1.0 or normalises else (),
        size=size,
        resize=resize,
        crop_fraction=fraction,
        pad=0 if resize == "letterbox-topleft" else None,
        color="BGR" if content.get("do_flip_channel_order") else "RGB",
    )


_Fitting = tuple[tuple[int, int] | None, Literal["", "stretch", "letterbox-topleft", "crop"], float]


def _fitting(content: Mapping[str, Any]) -> _Fitting:
    """Size, resize and crop fraction. A shortest edge keeps the picture's form: nothing of it is cut off."""
    size = content.get("size")
    shortest, longest = _edges(content)
    crop = _rectangle(content.get("crop_size"))
    if content.get("do_center_crop") and crop:
        whole = shortest or _whole(size) or min(_rectangle(size) or crop)
        return crop, "crop", min(1.0, round(min(crop) / whole, 4)) if whole else 1.0
    if shortest and isinstance(content.get("crop_pct"), (int, float)):  # ConvNeXt
        square = (shortest, shortest)
        return (square, "crop", float(content["crop_pct"])) if shortest < 384 else (square, "stretch", 1.0)
    if shortest:
        wide = round(shortest * 4 / 3)
        return (min(wide, longest) if longest else wide, shortest), "letterbox-topleft", 1.0
    rectangle = _rectangle(size)
    return (rectangle, "stretch", 1.0) if rectangle else (None, "", 1.0)


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


def _timm(content: Mapping[str, Any]) -> Pictures:
    shape = content.get("input_size")
    sides = [_whole(v) for v in shape[1:]] if isinstance(shape, list) and len(shape) == 3 else []
    return Pictures(
        mean=tuple(round(v * 255, 4) for v in _numbers(content.get("mean"))),
        std=tuple(round(v * 255, 4) for v in _numbers(content.get("std"))),
        size=(sides[1], sides[0]) if len(sides) == 2 and all(sides) else None,
        resize="crop" if content.get("crop_mode", "center") == "center" else "stretch",
        crop_fraction=min(1.0, _number(content.get("crop_pct"), 1.0)),
    )


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 100_000 else 0


def _rectangle(size: object) -> tuple[int, int] | None:
    """Width and height."""
    if isinstance(size, dict):
        width, height = _whole(size.get("width")), _whole(size.get("height"))
        return (width, height) if width and height else None
    return (size, size) if isinstance(size, int) and _whole(size) else None


def _numbers(value: object) -> tuple[float, ...]:
    if isinstance(value, list) and value and all(isinstance(v, (int, float)) for v in value):
        return tuple(float(v) for v in value)
    return ()


def _number(value: object, default: float) -> float:
    return float(value) if isinstance(value, (int, float)) and value > 0 else default
