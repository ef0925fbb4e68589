"""How a picture becomes numbers, where the file does not say: the presets of the families that models come from."""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec.structs import replace

from edge.data.normalization import understand
from edge.data.tensor import TensorSpec
from edge.data.vocabulary import Color, CropRounding, Resample, Resize
from edge.describe import signature
from edge.describe.metadata import Metadata
from edge.describe.neighbours import NEIGHBOURS
from edge.describe.overrides import Overrides
from edge.describe.properties import OWN

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
Numbers = tuple[tuple[float, ...], tuple[float, ...]]
_HALF: Numbers = ((127.5,), (127.5,))
_UNIT: Numbers = ((), (255.0,))
_PIXELS: Numbers = ((), ())
# MobileNet and Inception of TensorFlow and what is trained on top of them; DeepLab.
_HALF_SIDES = (224, 299, 331, 257, 321, 513)
# Teachable Machine: a network in two parts, and files of the names that it exports.
_TEACHABLE = re.compile(r"(^|_)sequential_\d+_input")
_WORDS = {_PIXELS: "pixels as they are", _UNIT: "0 to 1", _HALF: "-1 to 1", (IMAGENET_MEAN, IMAGENET_STD): "ImageNet's"}


class Preset(msgspec.Struct, frozen=True):
    """Fields of `manifest.Input`, and what they are known by; `sure` is False where it is a guess."""

    color: Color = "RGB"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    resize: Resize = "stretch"
    pad: int = 114
    antialias: bool = True
    resample: Resample = ""
    crop_fraction: float = 1.0
    crop_rounding: CropRounding = "down"
    sure: bool = True
    why: str = ""

    def in_words(self) -> str:
        """The range that pixels are brought to."""
        std = () if set(self.std) == {1.0} else self.std
        return _WORDS.get((self.mean, std), f"(pixel - {list(self.mean or (0.0,))}) / {list(std or (1.0,))}")


# Models whose own scripts resize with OpenCV were trained on its samples; everyone else's tools (Pillow,
# torchvision) smooth what they shrink.
_FAMILIES = {
    "yolo": Preset(std=(255.0,), resize="letterbox", antialias=False),
    "ultralytics-classify": Preset(std=(255.0,), resize="crop"),
    "stretched": Preset(std=(255.0,)),
    "torchvision": Preset(std=(255.0,), resize="letterbox", sure=False),
    "imagenet": Preset(mean=IMAGENET_MEAN, std=IMAGENET_STD),
    "stretched-guess": Preset(std=(255.0,), sure=False),
    "rf-detr": Preset(mean=IMAGENET_MEAN, std=IMAGENET_STD, antialias=False),
    "imagenet-guess": Preset(mean=IMAGENET_MEAN, std=IMAGENET_STD, sure=False),
    "imagenet-letterbox": Preset(mean=IMAGENET_MEAN, std=IMAGENET_STD, resize="letterbox", pad=0),
    "yolox": Preset(color="BGR", resize="letterbox-topleft", antialias=False),
    "nanodet": Preset(color="BGR", mean=IMAGENET_MEAN[::-1], std=IMAGENET_STD[::-1], antialias=False),
    "ultraface": Preset(mean=(127.0,), std=(128.0,), antialias=False),
    "yunet": Preset(color="BGR", resize="letterbox-topleft", pad=0, antialias=False),
    "scrfd": Preset(mean=(127.5,), std=(128.0,), resize="letterbox-topleft", pad=0, antialias=False),
    "fastestdet": Preset(color="BGR", std=(255.0,)),
    "fomo": Preset(std=(255.0,), resize="crop"),
    "tflite-detection": Preset(mean=(127.5,), std=(127.5,)),
    "mediapipe": Preset(mean=(127.5,), std=(127.5,), resize="letterbox", pad=0),
    "mediapipe-palm": Preset(std=(255.0,), resize="letterbox", pad=0),
    "movenet": Preset(resize="letterbox", pad=0),
    "ocr": Preset(color="BGR", mean=(127.5,), std=(127.5,), resize="letterbox-topleft", pad=127, antialias=False),
    "teachable-machine": Preset(mean=(127.5,), std=(127.5,), resize="crop"),
}


def find(spec: TensorSpec, layout: str, *, family: str, metadata: Metadata, classes: int) -> Preset:
    """`family` is that of the head, "" where it leaves it open; `classes` 0 if unknown.

    What the file says comes first, then the family, then what the graph begins with, then layout and producer.
    """
    shape = spec.fixed()
    channels, side = (shape[-3], shape[-1]) if layout == "NCHW" else (shape[-1], shape[-2])
    if metadata.kind == "classify":
        family = "ultralytics-classify"
    elif not family and layout == "NHWC" and side == 224 and _TEACHABLE.search(spec.name):
        family = "teachable-machine"
    preset = _FAMILIES.get(family)
    if preset is not None:
        preset = replace(preset, why=f"the family {family}")
    else:
        preset = _guess(layout, channels if _is_fixed(spec, layout) else 3, side, metadata, classes)
    preset = _by_graph(preset, metadata)
    if metadata.color and metadata.color != preset.color:
        preset = replace(preset, color=metadata.color, mean=preset.mean[::-1], std=preset.std[::-1])
    if metadata.pictures is not None:
        preset = _as_embedded(preset, metadata)
    if channels == 1 and _is_fixed(spec, layout):
        preset = replace(preset, color="GRAY", mean=preset.mean[:1], std=preset.std[:1])
    return _quantized(preset, spec, metadata.input_range)


def overridden(preset: Preset, overrides: Overrides) -> tuple[Preset, list[str]]:
    """The preset with what the user says, and what becomes of the half of `--mean` and `--std` that was not said."""
    fields: dict[str, Any] = {
        k: v for k, v in (("color", overrides.color), ("resize", overrides.resize)) if v is not None
    }
    if not (overrides.mean or overrides.std):
        return (replace(preset, **fields) if fields else preset), []
    numbers = understand(overrides.mean or (), overrides.std or ())
    said = {k: v for k, v in (("mean", numbers.mean), ("std", numbers.std)) if v}
    # A guess was one of both: half of it fits no other half.
    guessed = {} if preset.sure else {"mean": (), "std": (255.0,) if numbers.measure == "shares of 255" else ()}
    preset = replace(preset, **(fields | guessed | said), sure=True, why="--mean and --std")
    if len(said) == 2:
        return preset, []
    alone, other = ("--mean", "--std") if "mean" in said else ("--std", "--mean")
    return preset, [f"{alone} without {other}: pixels become {preset.in_words()}"]


def _is_fixed(spec: TensorSpec, layout: str) -> bool:
    """True where the file says how many channels there are."""
    shape = spec.shape or ()
    return isinstance(shape[-3] if layout == "NCHW" else shape[-1], int)


def _as_embedded(preset: Preset, metadata: Metadata) -> Preset:
    pictures = metadata.pictures
    assert pictures is not None
    again = bool(pictures.mean) or (metadata.scales_itself == "pixels" and bool(pictures.std))
    both = bool(metadata.scales_itself) and again and metadata.pictures_from in (*NEIGHBOURS, OWN)
    preset = replace(
        preset,
        mean=pictures.mean,
        std=pictures.std,
        color=pictures.color if pictures.color == "BGR" else preset.color,
        resize=pictures.resize or preset.resize,
        crop_fraction=pictures.crop_fraction if pictures.resize else preset.crop_fraction,
        crop_rounding=pictures.crop_rounding,
        resample=pictures.resample,
        pad=preset.pad if pictures.pad is None else pictures.pad,
        sure=True,
        why=metadata.pictures_from,
    )
    # A file beside the model tells of the training; what the graph does itself is not done twice.
    return replace(_by_graph(preset, metadata), sure=False) if both else preset


def _by_graph(preset: Preset, metadata: Metadata) -> Preset:
    """A model that scales or normalises by itself gets what it begins with."""
    if metadata.scales_itself == "pixels":
        return replace(preset, mean=(), std=(), sure=True, why="the graph scales pixels itself")
    if metadata.scales_itself == "unit":
        return replace(preset, mean=(), std=(255.0,), sure=True, why="the graph normalises shares of 255 itself")
    if metadata.input_range is not None and (metadata.producer == "tflite" or _usual(*metadata.input_range, preset)):
        mean, std = _from_range(*metadata.input_range, preset)
        return replace(preset, mean=mean, std=std, sure=True, why="the graph begins by quantising its input")
    return preset


def _guess(layout: str, channels: int, side: int, metadata: Metadata, classes: int) -> Preset:
    producer = metadata.producer
    if any(name in producer for name in ("caffe", "cntk", "winml")):
        color: Literal["RGB", "BGR"] = "BGR" if "caffe" in producer and channels == 3 else "RGB"
        return Preset(color=color, why=f"the producer {producer}")
    mean, std = _guessed(layout, channels, side, classes)
    return Preset(mean=mean, std=std, sure=False, why="a guess by layout and size")


def _guessed(layout: str, channels: int, side: int, classes: int) -> Numbers:
    if channels == 1:
        return _UNIT
    if layout == "NCHW":
        # Faces to vectors: ArcFace and its kin. Else PyTorch: torchvision's and timm's weights share these numbers.
        return _HALF if side == 112 and not classes else (IMAGENET_MEAN, IMAGENET_STD)
    return _HALF if classes in (1000, 1001) or side in _HALF_SIDES else _UNIT


def _quantized(preset: Preset, spec: TensorSpec, limits: tuple[float, float] | None = None) -> Preset:
    """What the quantisation of the input itself says of the range of its values, or that of the first operator."""
    bare = spec.dtype in ("uint8", "int8") and spec.quantization is None
    if bare and limits is not None:
        # real = (byte - zero) * scale = (pixel - mean) / std
        scale = (limits[1] - limits[0]) / 255
        zero, stds = np.iinfo(spec.dtype).min - limits[0] / scale, np.atleast_1d(preset.std or 1.0)
        means, stds = np.broadcast_arrays(np.atleast_1d(preset.mean or 0.0) - zero * stds * scale, stds * scale)
        shift = tuple(means.round(2).tolist())
        return replace(preset, mean=shift if any(shift) else (), std=tuple(stds.round(4).tolist()))
    if bare and spec.dtype == "int8":
        return replace(preset, mean=(128.0,), std=(1.0,), sure=False, why="a guess: the whole range of a byte")
    if spec.dtype == "uint8":
        # Pixels as they are: what metadata says is of the float model it was made from.
        return replace(preset, mean=(), std=(), sure=True, why=preset.why if preset.sure else "the input takes bytes")
    if spec.dtype == "int8" and spec.quantization is not None:
        scale, zero = spec.quantization.scale, spec.quantization.zero_point
        mean, std = _from_range((-128 - zero) * scale, (127 - zero) * scale, preset)
        # Without any numbers such an input is meant to take 0 to 1: a manifest says so of pixels as they are.
        return replace(preset, mean=mean, std=std or (1.0,), sure=True, why="the quantisation of the input")
    if spec.dtype == "int16" and spec.quantization is not None:
        return _symmetric(32767 * spec.quantization.scale, preset)
    if np.dtype(spec.dtype).kind in "iu":
        return replace(preset, mean=(), std=(), sure=True, why="the input takes whole numbers")
    return preset


def _symmetric(most: float, preset: Preset) -> Preset:
    """By the largest number of a range around 0, whose lower half pixels need not use: 1 may be 0 to 1 or -1 to 1."""
    known: list[tuple[float, Numbers]] = [(255.0, ((), (1.0,))), (128.0, ((128.0,), (1.0,)))]
    if preset.color != "GRAY":
        known.append((2.64, (IMAGENET_MEAN, IMAGENET_STD)))
    for end, (mean, std) in known:
        if np.isclose(most, end, rtol=0.02):
            return replace(preset, mean=mean, std=std, sure=True, why="the quantisation of the input")
    if np.isclose(most, 1, rtol=0.02) and (preset.mean, preset.std) not in (_UNIT, _HALF):
        return replace(preset, mean=_UNIT[0], std=_UNIT[1], sure=False, why="a guess: the input takes 1 at most")
    return preset


def _usual(low: float, high: float, preset: Preset) -> Numbers | None:
    """What pixels become in a range that they are usually brought to; a calibration may have seen a part of it."""
    if len(preset.mean) == 3 and np.isclose(high - low, 4.76, atol=0.4):
        return preset.mean, preset.std
    for ends, numbers in (((0, 1), _UNIT), ((-1, 1), _HALF), ((0, 255), _PIXELS), ((-128, 127), ((128.0,), (1.0,)))):
        if np.allclose((low, high), ends, atol=0.02 * (ends[1] - ends[0])):
            return numbers
    return (IMAGENET_MEAN, IMAGENET_STD) if np.isclose(high - low, 4.76, atol=0.4) and low < -1.5 else None


def _from_range(low: float, high: float, preset: Preset) -> Numbers:
    """The whole range of a pixel is the whole range of the tensor: real = low + pixel * (high - low) / 255."""
    if (numbers := _usual(low, high, preset)) is not None:
        return numbers
    std = round(255 / (high - low), 4)
    mean = round(-low * std, 4)
    return ((mean,) if abs(mean) > 1e-3 else ()), (std,)


_LINES = ((320, 48), (320, 32))
"""Lines of text, as PP-OCR reads them since its third version and before."""


def doubts(size: tuple[int, int] | None) -> list[str]:
    """What the user should hear of a size that the file leaves free; None: the model fits pictures itself."""
    if size is None:
        return []
    return [f"the file leaves the size of pictures free: {size[0]}x{size[1]} is a guess; --input-size says another"]


def candidates(
    spec: TensorSpec, layout: signature.Layout, metadata: Metadata
) -> tuple[tuple[tuple[int, int], ...], bool, str]:
    """Pairs of width and height, of which the first that runs is taken; whether it is a guess; what it is known by."""
    shape = spec.shape or ()
    sides = shape[-2:] if layout == "NCHW" else shape[-3:-1]
    if all(isinstance(side, int) for side in sides):
        return (signature.size(spec, layout),), False, "the shape of the input"
    if metadata.size is not None:
        return (metadata.size,), False, metadata.pictures_from or "the metadata of the file"
    if metadata.characters and not any(isinstance(side, int) for side in sides):
        return _LINES, True, "the usual size of a line of text"
    return (signature.size(spec, layout),), True, "the usual size"
