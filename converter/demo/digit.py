"""A row of 64 numbers as the picture of 8 x 8 pixels that it is."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

SIDE = 8
SCALE = 24


def to_png(row: Sequence[float]) -> bytes:
    """Ink from 0 to 16 to a grey PNG, dark on light, large enough to be looked at."""
    lines = []
    for top in range(0, SIDE * SIDE, SIDE):
        pixels = bytes(255 - min(255, round(value * 16)) for value in row[top : top + SIDE] for _ in range(SCALE))
        lines += [b"\0" + pixels] * SCALE
    side = SIDE * SCALE
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(b"".join(lines), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
