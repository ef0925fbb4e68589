"""What lies beside a model and says how its pictures are prepared and what its classes are called.

Known: `preprocessor_config.json` and `config.json` of Hugging Face (also timm's `pretrained_cfg`), KerasHub's
`image_converter.json`, and torchvision's preset (`mean`, `std`, `crop_size`, `resize_size`) as `preprocess.json`
or `transforms.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edge.errors import ConfigError

Resize = Literal["stretch", "letterbox", "letterbox-topleft", "crop"]


@dataclass(frozen=True, slots=True)
class Hints:
    """How a picture becomes the input, and the names of the classes; empty where nothing says so.

    `mean` and `std` are in pixel values, 0 to 255.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    size: tuple[int, int] | None = None
    resize: Resize = "stretch"
    crop_fraction: float = 1.0
    color: Literal["RGB", "BGR", "GRAY"] = "RGB"
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read(path: Path | None) -> Hints:
    """The hints of the files beside a model file, or in a model folder. Raises ConfigError for one that is broken."""
    if path is None:
        return Hints()
    folder = path if path.is_dir() else path.parent
    found = Hints()
    for name, take in _READERS.items():
        content = _load(folder / name)
        if content is None:
            continue
        try:
            more = take(content, found)
        except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError) as exc:
            raise ConfigError(f"{folder / name}: not as {name} is written: {exc!r}; mend or move it") from exc
        if more != found:
            found = replace(more, notes=(*found.notes, f"taken from {name} beside the model"))
    return found


def _load(path: Path) -> Any:
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as exc:
        raise ConfigError(f"{path}: JSON that cannot be read: {exc}; mend or move it") from exc
    return content if isinstance(content, dict) else None


def _hugging_face(content: Mapping[str, Any], found: Hints) -> Hints:
    size, resize, fraction = _hugging_face_size(content)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    unit = float(content.get("rescale_factor", 1 / 255)) if content.get("do_rescale", True) else 1.0
    if content.get("do_normalize", True) and "image_mean" in content:
        mean, std = (tuple(float(v) / unit for v in _many(content[k])) for k in ("image_mean", "image_std"))
    elif content.get("do_rescale", "rescale_factor" in content):
        mean, std = (0.0,), (1 / unit,)
    color: Literal["RGB", "BGR"] = "BGR" if content.get("do_flip_channel_order") else "RGB"
    return replace(found, mean=mean, std=std, size=size, resize=resize, crop_fraction=fraction, color=color)


def _hugging_face_size(content: Mapping[str, Any]) -> tuple[tuple[int, int] | None, Resize, float]:
    size, crop = content.get("size"), content.get("crop_size")
    if content.get("do_center_crop") and crop is not None:
        cut = _pair(crop)
        shortest = size.get("shortest_edge") if isinstance(size, Mapping) else size
        if shortest is None and isinstance(size, Mapping) and "height" in size:
            shortest = min(_pair(size))
        return cut, "crop", min(1.0, min(cut) / float(shortest)) if shortest else 1.0
    if isinstance(size, Mapping) and "shortest_edge" in size:
        # ConvNeXT's way: the shorter side becomes size / crop_pct, and the middle is taken.
        edge = int(size["shortest_edge"])
        return (edge, edge), "crop", float(content.get("crop_pct", 1.0))
    return (None if size is None else _pair(size)), "stretch", 1.0


def _config(content: Mapping[str, Any], found: Hints) -> Hints:
    names = content.get("id2label")
    if isinstance(names, Mapping):
        found = replace(found, labels=tuple(str(names[k]) for k in sorted(names, key=int)))
    timm = content.get("pretrained_cfg")
    if not isinstance(timm, Mapping):
        return found
    found = replace(found, labels=found.labels or tuple(content.get("label_names", ())))
    if "mean" in timm:
        found = replace(found, mean=_pixels(timm["mean"]), std=_pixels(timm["std"]))
    if "input_size" in timm:
        _, height, width = (int(v) for v in timm["input_size"])
        squash = timm.get("crop_mode") == "squash"
        found = replace(
            found, size=(width, height), resize="stretch" if squash else "crop",
            crop_fraction=float(timm.get("crop_pct", 1.0)),
        )  # fmt: skip
    return found


def _torchvision(content: Mapping[str, Any], found: Hints) -> Hints:
    if "mean" in content:
        found = replace(found, mean=_pixels(content["mean"]), std=_pixels(content["std"]))
    crop, resize = content.get("crop_size"), content.get("resize_size")
    if crop is not None:
        cut = _pair(crop)
        fraction = min(1.0, min(cut) / min(_pair(resize))) if resize is not None else 1.0
        return replace(found, size=cut, resize="crop", crop_fraction=fraction)
    return found if resize is None else replace(found, size=_pair(resize))


def _keras_hub(content: Mapping[str, Any], found: Hints) -> Hints:
    config = content["config"]
    if config.get("image_size"):
        height, width = (int(v) for v in config["image_size"])
        resize: Resize = "crop" if config.get("crop_to_aspect_ratio", True) else "stretch"
        if config.get("pad_to_aspect_ratio"):
            resize = "letterbox"
        found = replace(found, size=(width, height), resize=resize)
    scale = np.array(_many(config["scale"] if config.get("scale") is not None else 1.0), dtype=np.float64)
    offset = np.array(_many(config["offset"] if config.get("offset") is not None else 0.0), dtype=np.float64)
    # pixel * scale + offset = (pixel - mean) / std
    mean, std = np.broadcast_arrays(-offset / scale, 1.0 / scale)
    return replace(found, mean=tuple(mean.tolist()), std=tuple(std.tolist()))


def _many(value: Any) -> tuple[float, ...]:
    return tuple(float(v) for v in value) if isinstance(value, Sequence) else (float(value),)


def _pixels(fractions: Any) -> tuple[float, ...]:
    return tuple(v * 255.0 for v in _many(fractions))


def _pair(size: Any) -> tuple[int, int]:
    """Width and height."""
    if isinstance(size, Mapping):
        return int(size["width"]), int(size["height"])
    if isinstance(size, Sequence):
        height, width = (size[0], size[0]) if len(size) == 1 else size
        return int(width), int(height)
    return int(size), int(size)


_READERS = {
    "preprocess.json": _torchvision, "transforms.json": _torchvision, "image_converter.json": _keras_hub,
    "preprocessor_config.json": _hugging_face, "config.json": _config,
}  # fmt: skip
