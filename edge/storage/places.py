"""What the inputs of a file are known by, in this life and the next: `Sample.digest` of a source that reads one.

A file is read from its beginning after a restart, and gives each input again at its place. Sixteen bytes without
hashing each input: eight of the file, four of the place, and four of what stands there, or nothing where the file is
known by its size and time too.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from edge.storage.crash_marks import digest_of

_PLACE = struct.Struct("<8sII")
_MOST = 2**32
LOOKED_AT = 65_536
"""Bytes of an input, from its beginning, that tell it from another one at its place."""


class Places:
    """Of one file."""

    __slots__ = ("_file", "_path")

    def __init__(self, path: Path) -> None:
        """A file to which lines may be added: what stands at a place tells whether it is what stood there before."""
        self._path = path
        self._file = digest_of(repr((str(path), ())).encode())[:8]

    def open(self) -> None:
        """A file that is read as it is now: one that was changed is another one."""
        self._file = digest_of(repr((str(self._path), stamp(self._path))).encode())[:8]

    def digest(self, at: int, content: bytes = b"") -> bytes:
        """Of the input at this place."""
        return _PLACE.pack(self._file, at % _MOST, zlib.crc32(content[:LOOKED_AT]))


def stamp(path: Path) -> tuple[int, int]:
    """The size of a file and when it was changed, in nanoseconds; (-1, -1) where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return (-1, -1)
    return (stat.st_size, stat.st_mtime_ns)
