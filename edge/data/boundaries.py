"""Where the first of several files ends that follow one another in a stream (`ffmpeg -f image2pipe`, `cat *.jpg`).

`end` looks at the bytes that are there: None where the file goes on behind them, or does not say where it ends.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

from edge.data import magic
from edge.data.codec import npy_size

_PNG_START = b"\x89PNG\r\n\x1a\n"
_STARTS = (magic.JPEG, _PNG_START)
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")


def end(data: bytes | bytearray) -> int | None:
    """How many bytes the picture, the array or the sound takes that `data` begins with."""
    begin = bytes(data[:64])
    if magic.is_npy(begin):
        return _within(npy_size, data)
    if magic.is_wav(begin):
        return _within(_wav, data)
    measure = _PICTURES.get(magic.picture(begin) or "")
    return None if measure is None else _within(measure, data)


def padding(data: bytes | bytearray) -> int:
    """How many bytes some programs put between two pictures, which mean nothing."""
    return len(data) - len(data.lstrip(magic.PADDING))


def start(data: bytes | bytearray) -> int | None:
    """Where the next picture begins behind bytes that are no input."""
    return min((at for s in _STARTS if (at := data.find(s)) >= 0), default=None)


def _within(measure: Callable[[bytes | bytearray], int | None], data: bytes | bytearray) -> int | None:
    try:
        size = measure(data)
    except (struct.error, IndexError):
        return None
    return size if size is not None and size <= len(data) else None


def _jpeg(data: bytes | bytearray) -> int | None:
    """ITU T.81 annex B: segments with a length, scans up to the next marker, the end of the image.

    A file that lacks its end stops where the next begins. One that holds further pictures (MPF) goes on to the end.
    """
    at = 2
    while True:
        if data[at] != 0xFF:
            return _at_next(data, at)
        marker = data[at + 1]
        if marker == 0xFF or marker == 0x01:
            at += 1 if marker == 0xFF else 2
        elif marker == 0xD9:
            return at + 2
        elif marker == 0xD8:
            return at
        else:
            if marker == 0xE2 and data[at + 4 : at + 8] == b"MPF\0":
                return None
            (length,) = struct.unpack_from(">H", data, at + 2)
            at += 2 + length
            if marker == 0xDA:
                at = _behind_scan(data, at)


def _behind_scan(data: bytes | bytearray, at: int) -> int:
    """Where the scan's data ends: FF inside of it is followed by 00, or marks a restart. Raises IndexError."""
    marker = _MARKER.search(data, at)
    if marker is None:
        raise IndexError
    return marker.start()


def _at_next(data: bytes | bytearray, at: int) -> int | None:
    found = data.find(magic.JPEG, at)
    return found if found >= 0 else None


def _png(data: bytes | bytearray) -> int | None:
    at, kind = len(_PNG_START), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, at)
        at += 12 + length
    return at


def _bmp(data: bytes | bytearray) -> int | None:
    (size,) = struct.unpack_from("<I", data, 2)
    return size if size > 26 else None


def _webp(data: bytes | bytearray) -> int | None:
    (size,) = struct.unpack_from("<I", data, 4)
    return int(8 + size + size % 2)


def _wav(data: bytes | bytearray) -> int | None:
    """Recorders write sizes that are none: it counts where another file begins behind it."""
    (size,) = struct.unpack_from("<I", data, 4)
    at = 8 + size + size % 2
    behind = bytes(data[at : at + magic.LONGEST])
    return at if magic.is_wav(behind) or magic.is_npy(behind) or magic.picture(behind) else None


_PICTURES: dict[str, Callable[[bytes | bytearray], int | None]] = {
    "JPEG": _jpeg, "PNG": _png, "BMP": _bmp, "WebP": _webp,
}  # fmt: skip
