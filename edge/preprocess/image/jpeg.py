"""JPEG files, by a decoder that tells where the scan is damaged.

OpenCV's JPEG reader fills what it cannot read with grey, writes a line to stderr and calls it a picture. simplejpeg is
the same libjpeg-turbo, gives the same pixels in the same time, and says so. Where it is not installed (Debian has
OpenCV, but not simplejpeg) damaged scans go unseen, which is said once.
"""

from __future__ import annotations

import logging
from functools import cache
from types import ModuleType

from edge.data import boundaries
from edge.data.magic import JPEG_END
from edge.data.tensor import Array
from edge.errors import SampleError

log = logging.getLogger("edge.preprocess")

_SCAN = b"\xff\xda"
"""The marker of a scan; its head follows, which begins with its length."""
_HARMLESS = ("Unknown Adobe color", "Warning: unknown JFIF", "Invalid SOS parameters")
"""libjpeg's own words (jerror.h), the same in every release, for what leaves the pixels of a sequential picture right.
All else that it complains of is damage: behind a marker that it does not know it makes no pixels at all."""


@cache
def _library() -> ModuleType | None:
    try:
        import simplejpeg
    except ImportError:
        log.warning("damaged JPEG pictures cannot be told", extra={"fix": "pip install simplejpeg"})
        return None
    return simplejpeg  # type: ignore[no-any-return]


def decode(data: bytes, *, progressive: bool) -> Array | None:
    """RGB, height x width x 3, uint8; None where there is no simplejpeg. EXIF orientation is not applied.

    Raises SampleError where the scan is damaged.
    """
    return _read(data, "RGB", progressive=progressive)


def check(data: bytes, *, progressive: bool, cmyk: bool) -> None:
    """Reads the whole scan, and makes an eighth of the pixels. Raises SampleError where it is damaged."""
    _read(data, "CMYK" if cmyk else "GRAY", progressive=progressive, min_width=1, min_height=1, min_factor=8)


def _read(data: bytes, colours: str, *, progressive: bool, **smaller: int) -> Array | None:
    library = _library()
    if library is None:
        return None
    try:
        pixels: Array = library.decode_jpeg(data, colours, **smaller)
        return pixels
    except ValueError as exc:
        damaged = progressive or not str(exc).startswith(_HARMLESS)
        padded = _without_padding(data) if damaged else None
        if damaged and padded is None:
            raise SampleError(f"a damaged JPEG picture: {exc}; send the whole file again") from exc
    if padded is not None:
        return _read(padded, colours, progressive=progressive, **smaller)
    try:
        pixels = library.decode_jpeg(data, colours, strict=False, **smaller)
    except ValueError as exc:
        raise SampleError(f"a damaged JPEG picture: {exc}; send the whole file again") from exc
    return pixels


def _without_padding(data: bytes) -> bytes | None:
    """Some cameras put zeros before the end of the picture, up to a round size; None where there are none."""
    whole = boundaries.end(data)  # what stands behind may hold the mark of an end, too
    end = data.rfind(JPEG_END, 0, whole)
    head = data.rfind(_SCAN, 0, end)  # in a scan a data byte FF is followed by a 0
    begin = head + 2 + int.from_bytes(data[head + 2 : head + 4])
    scan = data[:begin] + data[begin:end].rstrip(b"\0")
    if len(scan) == begin:
        return None
    if scan.endswith(b"\xff"):
        scan += b"\0"
    return scan + data[end:] if len(scan) < end else None
