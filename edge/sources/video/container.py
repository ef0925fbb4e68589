"""What the head of a video file says that OpenCV does not tell: whether pictures are counted, and where it ends."""

from __future__ import annotations

from pathlib import Path

HEAD = 4096
"""Bytes; the element that holds a Matroska file begins within them."""
_SEGMENT = b"\x18\x53\x80\x67"
_QUICKTIME = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


class Container:
    """Of one file. Raises OSError where it cannot be read."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._head = file.read(HEAD)
        self._size = path.stat().st_size

    @property
    def counts(self) -> bool:
        """Whether it has the number of its pictures. Of Matroska and WebM OpenCV makes one of length and rate, and
        that of an .avi counts places that hold none."""
        return self._head[4:8] in _QUICKTIME

    @property
    def is_avi(self) -> bool:
        """Behind a damaged place its times count on as if nothing were missing."""
        return self._head[:4] == b"RIFF" and self._head[8:12] == b"AVI "

    @property
    def cut(self) -> bool | None:
        """Whether it is shorter than its head says; None where that says nothing of it."""
        head = self._head
        if self.is_avi:
            return int.from_bytes(head[4:8], "little") + 8 > self._size
        at = head.find(_SEGMENT) + len(_SEGMENT)
        if head[:4] == b"\x1a\x45\xdf\xa3" and len(_SEGMENT) <= at < HEAD - 8 and head[at]:
            length = 9 - head[at].bit_length()  # a number says by its leading zeros how many bytes it takes
            mask = (1 << 7 * length) - 1
            size = int.from_bytes(head[at : at + length], "big") & mask
            return None if size == mask else at + length + size > self._size  # all ones: written as it came
        return None
