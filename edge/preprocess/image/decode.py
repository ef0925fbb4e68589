"""Encoded pictures and arrays of pixels to RGB, height x width x 3, uint8."""

from __future__ import annotations

import logging
import os
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from edge.data.tensor import Array
from edge.errors import SampleError, first_line, needs
from edge.preprocess.image import jpeg
from edge.preprocess.image.header import MAX_PIXELS, PictureHeader, read_header
from edge.telemetry.memory import available

log = logging.getLogger(__name__)


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


class Decoded(NamedTuple):
    """`pixels`: RGB, height x width x 3, uint8. `size`: width and height of the whole picture, where it was reduced."""

    pixels: Array
    size: tuple[int, int]


def decode(data: bytes) -> Array:
    """Any picture to RGB, height x width x 3, uint8; EXIF orientation applied, transparency laid on white.

    16 bits become 8. Raises SampleError for what is cut off, damaged, too large or not a picture.
    """
    header = read_header(data)
    if header.pixels > MAX_PIXELS or _reduction(header) > 1:
        raise _too_large(header)
    return _decode(data, header)


def decode_within(data: bytes) -> Decoded:
    """The same; a JPEG that is too large for the memory there is comes at a half, a quarter or an eighth of its size.

    Raises SampleError where a picture is too large and cannot be reduced.
    """
    header = read_header(data)
    factor = _reduction(header)
    if factor == 1:
        pixels = _decode(data, header)
        return Decoded(pixels, (pixels.shape[1], pixels.shape[0]))
    jpeg.check(data, progressive=header.progressive, cmyk=header.cmyk)
    cv2 = opencv()
    pixels = _imdecode(data, header, getattr(cv2, f"IMREAD_REDUCED_COLOR_{factor}"))
    cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
    stored = (-(-header.width // factor), -(-header.height // factor))
    turned = (pixels.shape[1], pixels.shape[0]) != stored
    return Decoded(pixels, (header.height, header.width) if turned else (header.width, header.height))


@cache
def tell_animation(kind: str) -> None:
    """Once for each kind of file."""
    way = "the first picture alone is inferred; send each as a file of its own, or a video"
    log.warning("animated picture", extra={"kind": kind, "fix": way})


def _decode(data: bytes, header: PictureHeader) -> Array:
    if header.animated:
        tell_animation(header.kind)
    if header.kind == "JPEG":
        if header.exif or header.cmyk:  # OpenCV turns the picture, and mixes inks
            jpeg.check(data, progressive=header.progressive, cmyk=header.cmyk)
        elif (pixels := jpeg.decode(data, progressive=header.progressive)) is not None:
            return pixels
    cv2 = opencv()
    if header.alpha:
        decoded = _imdecode(data, header, cv2.IMREAD_UNCHANGED)
        try:
            return to_rgb(_to_eight_bits(decoded), bgr=True)
        except MemoryError as exc:
            raise _too_large(header) from exc
    if hasattr(cv2, "IMREAD_COLOR_RGB"):
        return _imdecode(data, header, cv2.IMREAD_COLOR_RGB)
    pixels = _imdecode(data, header, cv2.IMREAD_COLOR)  # before OpenCV 4.11: Debian trixie has 4.10
    cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
    return pixels


def _imdecode(data: bytes, header: PictureHeader, how: int) -> Array:
    cv2 = opencv()
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error as exc:
        raise SampleError(
            f"a {header.kind} picture that cannot be decoded: {first_line(exc).rpartition('error: ')[2]}"
        ) from exc
    except MemoryError as exc:
        raise _too_large(header) from exc
    return _broken(header.kind) if pixels is None else np.asarray(pixels)


SMALL = 2_000_000
"""Pixels that are decoded without a look at the memory there is."""


def _reduction(header: PictureHeader) -> int:
    """1, or by what a JPEG has to be divided to fit into half the memory there is. Raises SampleError: it cannot."""
    if header.pixels <= SMALL:
        return 1
    spare = available()
    most = spare // 2 if spare is not None else None
    for factor in (1, 2, 4, 8) if header.kind == "JPEG" else (1,):
        fits = most is None or _cost(header, factor) <= most
        if fits and header.pixels <= MAX_PIXELS * factor * factor:
            return factor
    raise _too_large(header)


def _cost(header: PictureHeader, factor: int) -> int:
    """Bytes that decoding takes at most: the pixels, once more where they are turned, and what the format needs."""
    each = 6
    if header.alpha:
        each = 20 if header.deep else 12
    whole = 6 * header.pixels if header.progressive else 0  # coefficients of two bytes, however few pixels are made
    return whole + each * header.pixels // factor**2


def _too_large(header: PictureHeader) -> SampleError:
    return SampleError(
        f"a {header.kind} picture of {header.width} x {header.height} pixels is too large for the memory there is: "
        f"decoding it takes {_cost(header, 1) / 1e6:.0f} MB; make it smaller before sending it"
    )


def _broken(kind: str) -> Array:
    raise SampleError(f"a damaged {kind} picture: it cannot be decoded; send the whole file again")


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
    for top in range(0, len(colours), BAND):  # 16 bits of the whole picture would be twice its memory again
        part = colours[top : top + BAND]
        # 16 bits hold 255 * 255; + 127 rounds.
        share = alpha[top : top + BAND, :, None].astype(np.uint16)
        part[:] = (part * share + 255 * (255 - share) + 127) // 255
    return colours


BAND = 256
"""Rows that are laid on white at once."""
