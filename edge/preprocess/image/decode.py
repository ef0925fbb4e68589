"""Encoded pictures and arrays of pixels to RGB, height x width x 3, uint8."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np

from edge.data.tensor import Array
from edge.errors import SampleError, needs
from edge.preprocess.image.header import MAX_PIXELS, read_header


@cache
def opencv() -> Any:
    """The library, imported at the first use. Raises ConfigError where it is not installed."""
    # A broken picture is ours to report, as a SampleError; OpenCV would write to stderr for each one. It reads
    # the variable when it is imported; the function for it has another name in each major version.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    try:
        import cv2
    except ImportError:
        raise needs("a model that takes pictures", "OpenCV", "vision") from None
    cv2.setNumThreads(1)  # at the size of a model's input a second thread costs more than it brings
    return cv2


def decode(data: bytes) -> Array:
    """Any picture to RGB, height x width x 3, uint8; EXIF orientation applied, transparency laid on white.

    16 bits become 8. Raises SampleError for what is cut off, too large or not a picture.
    """
    cv2 = opencv()
    header = read_header(data)
    encoded = np.frombuffer(data, np.uint8)
    try:
        if header.alpha:
            pixels = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
            return to_rgb(_to_eight_bits(pixels), bgr=True) if pixels is not None else _broken(header.kind)
        pixels = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB)
    except cv2.error as exc:
        raise SampleError(f"a {header.kind} picture that cannot be decoded: {_reason(exc)}") from exc
    return _broken(header.kind) if pixels is None else np.asarray(pixels)


def _broken(kind: str) -> Array:
    raise SampleError(f"a damaged {kind} picture: it cannot be decoded; send the whole file again")


def _reason(exc: Exception) -> str:
    return str(exc).strip().rpartition("error: ")[2].partition("\n")[0][:120]


def _to_eight_bits(pixels: Array) -> Array:
    return (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels


def to_rgb(pixels: Array, *, bgr: bool = False) -> Array:
    """HxW, HxWx1, HxWx3 or HxWx4 uint8 to RGB. Transparency is laid on white, as a page shows it."""
    cv2 = opencv()
    pixels = np.ascontiguousarray(pixels)
    if pixels.shape[0] * pixels.shape[1] > MAX_PIXELS:
        raise SampleError(f"{pixels.shape[1]} x {pixels.shape[0]} pixels are too many; make the picture smaller")
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB))
    if pixels.shape[2] == 3:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)) if bgr else pixels
    alpha = pixels[:, :, 3]
    colours = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB if bgr else cv2.COLOR_RGBA2RGB))
    if alpha.min() == 255:
        return colours
    # 16 bits hold 255 * 255; + 127 rounds.
    share = alpha[:, :, None].astype(np.uint16)
    return ((colours * share + 255 * (255 - share) + 127) // 255).astype(np.uint8)
