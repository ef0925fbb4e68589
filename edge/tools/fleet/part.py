"""A file that is being fetched, kept until all of it is there.

It lies beside the file, piece after piece, each behind its length and its checksum. For what is not synced may come
back from a power cut as anything, zeros among it, in a file of the right length: what does not bear its checksum, and
all behind it, is fetched again. The file itself is written whole at the end (`atomic`).
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from edge.storage import atomic

_HEAD = struct.Struct("<II")


class Part:
    """Of `file`. Every method raises OSError."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._path = file.with_name(f".{file.name}.part")

    def begun(self) -> int:
        """So many bytes of the file are there."""
        good = size = 0
        for piece in self._pieces():
            good += _HEAD.size + len(piece)
            size += len(piece)
        if self._path.exists():
            os.truncate(self._path, good)
        return size

    def add(self, piece: bytes) -> None:
        """The next bytes of the file."""
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "ab") as stream:
            stream.write(_HEAD.pack(len(piece), zlib.crc32(piece)) + piece)

    def finish(self) -> None:
        """All of it is there."""
        with atomic.replacing(self._file, 0o600) as whole:
            whole.writelines(self._pieces())
        self.drop()

    def drop(self) -> None:
        """Where it is not wanted any more; or was not there."""
        self._path.unlink(missing_ok=True)

    def _pieces(self) -> Iterator[bytes]:
        """Up to the first that is not as it was written."""
        if not self._path.exists():
            return
        with self._path.open("rb") as stream:
            while len(head := stream.read(_HEAD.size)) == _HEAD.size:
                size, checksum = _HEAD.unpack(head)
                piece = stream.read(size) if 0 < size <= self._path.stat().st_size else b""
                if not piece or len(piece) < size or zlib.crc32(piece) != checksum:
                    return
                yield piece
