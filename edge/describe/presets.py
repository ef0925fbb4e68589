"""How a picture becomes numbers, where the file does not say: the conventions of the places models come from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edge.data.tensor import TensorSpec

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
_HALF = ((127.5,), (127.5,))
# MobileNet and Inception of TensorFlow and what is trained on top of them; DeepLab.
_HALF_SIDES = (224, 299, 331, 257, 321, 513)
_UNIT = ((), (255.0,))
_PIXELS: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())


@dataclass(frozen=True, slots=True)
class Convention:
    """Fields of `manifest.Input`; `sure` where the file itself says so."""

    color: str = "RGB"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    resize: str = "stretch"
    pad: int = 114
    antialias: bool = True
    sure: bool = False


# Models whose own scripts resize with OpenCV were trained on its samples; everyone else's tools (Pillow,
# torchvision) smooth what they shrink.
_BY_STYLE = {
    "yolo": Convention(std=(255.0,), resize="letterbox", antialias=False),
    "ultralytics-classify": Convention(std=(255.0,), resize="crop"),
    "yolo-stretch": Convention(std=(255.0,)),
    "yolox": Convention(color="BGR", resize="letterbox-topleft", antialias=False),
    "ultraface": Convention(mean=(127.0,), std=(128.0,), antialias=False),
    "fastestdet": Convention(color="BGR", std=(255.0,)),
    "tflite-detection": Convention(mean=(127.5,), std=(127.5,)),
    "mediapipe": Convention(mean=(127.5,), std=(127.5,), resize="letterbox", pad=0),
    "mediapipe-palm": Convention(std=(255.0,), resize="letterbox", pad=0),
    "movenet": Convention(resize="letterbox", pad=0),
}


def guess(spec: TensorSpec, layout: str, *, style: str, producer: str, classes: int, scales_itself: bool) -> Convention:
    """`style` is that of the head, "" for a classifier; `layout` is "NHWC" or "NCHW"; `classes` 0 if unknown."""
    shape = spec.fixed()
    channels, side = (shape[1], shape[-1]) if layout == "NCHW" else (shape[-1], shape[-2])
    if style == "tflite-detection" and layout == "NCHW":
        style = "yolo-stretch"  # what PyTorch exports
    found = _BY_STYLE.get(style)
    if found is None:
        mean, std = _numbers(layout, channels, side, producer, classes)
        color = "BGR" if "caffe" in producer and channels == 3 else "RGB"
        found = Convention(color=color, mean=mean, std=std)
    if channels == 1:
        found = replace(found, color="GRAY", mean=found.mean[:1], std=found.std[:1])
    if scales_itself:
        found = replace(found, mean=(), std=())
    return _quantized(found, spec)


def _numbers(
    layout: str, channels: int, side: int, producer: str, classes: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if "caffe" in producer or "cntk" in producer or "winml" in producer:
        return _PIXELS
    if channels == 1:
        return _UNIT
    if layout == "NCHW" and side == 112 and not classes:
        return _HALF  # faces to vectors: ArcFace and its kin
    if layout == "NCHW":
        # PyTorch and what comes from it: torchvision's and timm's weights share these numbers.
        return IMAGENET_MEAN, IMAGENET_STD
    if classes in (1000, 1001) or side in _HALF_SIDES:
        return _HALF
    return _UNIT


def _quantized(found: Convention, spec: TensorSpec) -> Convention:
    """What the quantisation of the input itself says of the range of its values."""
    if spec.dtype == "uint8":
        return replace(found, mean=(), std=())  # pixels as they are
    if spec.dtype == "int8" and spec.quantization is not None:
        scale, zero = spec.quantization.scale, spec.quantization.zero_point
        low, high = (-128 - zero) * scale, (127 - zero) * scale
        if len(found.mean) == 3 and np.isclose(high - low, 4.76, atol=0.4):
            return found
        # The whole range of a pixel is the whole range of the tensor: real = low + pixel * (high - low) / 255.
        std = round(255 / (high - low), 4)
        mean = round(-low * std, 4)
        return replace(found, mean=(mean,) if abs(mean) > 1e-3 else (), std=(std,))
    if np.dtype(spec.dtype).kind in "iu":
        return replace(found, mean=(), std=())
    return found
