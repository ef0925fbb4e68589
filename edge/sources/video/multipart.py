"""The pictures of an endless answer of parts, `multipart/x-mixed-replace`, as network cameras send them.

A part's `Content-Length` says where it ends, so that its picture is there without waiting for the next one. Cameras lie
in it, leave it out, write the boundary with its dashes or without, name another one than they send, or none at all: the
first that comes is the boundary then, and a part without a length ends where the next one begins.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from edge.data import boundaries
from edge.data.magic import JPEG, JPEG_END, PADDING
from edge.errors import UnavailableError

MOST_HEAD = 8192
"""Bytes of a part's head, and of what stands between two parts."""

MOST_PADDED = 1024
"""Bytes behind the end of a JPEG that its length may count."""
FIRST_PART = re.compile(rb"(?:^|\n)--([^\r\n]+)\r?\n(?=[A-Za-z][A-Za-z-]*[ \t]*:|\r?\n)")


class Parts:
    """Belongs to one thread."""

    def __init__(self, more: Callable[[], bytes], boundary: str, most: int) -> None:
        """`more` gives what has come, nothing at the end. A part of more than `most` bytes is refused."""
        self._more, self._most = more, most
        self._data = bytearray()
        self._dropped = 0
        self._delimiter = _delimiter(boundary.encode("latin-1", "replace")) if boundary.strip("-") else None
        self._begun = False

    def next(self) -> bytes | None:
        """The body of the next part; None at the end. Raises UnavailableError."""
        if not self._skip_delimiter():
            return None
        length = self._head()
        if length is None:
            return self._until_delimiter()
        if length > self._most:
            raise self._too_large(length)
        while len(self._data) < length:
            if not self._fill():
                return None
        if self._data.startswith(JPEG):
            end = self._data.rfind(JPEG_END, max(0, length - MOST_PADDED), length)
            if end < 0 or (self._delimiter is not None and self._delimiter.search(self._data, end, length)):
                return self._until_delimiter()  # the length is less than the picture, or counts into the next part
        return self._cut(length)

    def _skip_delimiter(self) -> bool:
        """Behind the next delimiter; False at the end of all parts."""
        if not self._begun and not self._begin():
            return False
        assert self._delimiter is not None
        while (found := self._delimiter.search(self._data)) is None or len(self._data) < found.end() + 2:
            # What a length that lies has left of a picture is passed over.
            if found is None and len(self._data) > MOST_HEAD:
                self._dropped += len(self._data) - 256
                del self._data[:-256]
                if self._dropped > self._most:
                    raise self._too_large(self._dropped)
            if not self._fill():
                return False
        ends = self._data[found.end() : found.end() + 2] == b"--"
        del self._data[: found.end()]
        self._dropped = 0
        return not ends

    def _begin(self) -> bool:
        """Learns the boundary from the first part, where it is another than was named; False at the end."""
        while self._delimiter is None or self._delimiter.search(self._data) is None:
            found = FIRST_PART.search(self._data)
            if found is not None:
                self._delimiter = _delimiter(found[1])
            elif self._delimiter is not None and len(self._data) > MOST_HEAD:
                break  # it begins in the middle of a picture
            elif not self._fill_head("no boundary between its pictures"):
                return False
        self._begun = True
        return True

    def _head(self) -> int | None:
        """Takes the head of a part off; its Content-Length, where it says one that can be."""
        while (found := re.search(rb"\r?\n\r?\n", self._data)) is None:
            if not self._fill_head("a part whose head does not end"):
                return None
        head = self._cut(found.end())
        length = re.search(rb"(?im)^content-length[ \t]*:[ \t]*(\d{1,12})[ \t]*\r?$", head)
        return int(length[1]) or None if length is not None else None

    def _until_delimiter(self) -> bytes | None:
        assert self._delimiter is not None
        at = 0
        while (found := self._delimiter.search(self._data, at)) is None:
            at = max(0, len(self._data) - 256)
            if len(self._data) > self._most:
                raise self._too_large(len(self._data))
            if not self._fill():
                return None
        return self._cut(found.start())

    def _fill(self) -> bool:
        piece = self._more()
        self._data += piece
        return bool(piece)

    def _fill_head(self, what: str) -> bool:
        if len(self._data) > MOST_HEAD:
            raise UnavailableError(f"{what} in {MOST_HEAD} bytes: this is no stream of pictures")
        return self._fill()

    def _cut(self, size: int) -> bytes:
        body = bytes(self._data[:size])
        del self._data[:size]
        return body

    def _too_large(self, size: int) -> UnavailableError:
        return UnavailableError(
            f"a picture of {size / 1e6:.1f} MB or more; at most {self._most / 1e6:g} MB (--max-input)"
        )


def _delimiter(boundary: bytes) -> re.Pattern[bytes]:
    """With the line's end before it, which is no part of a picture, and as many dashes as there are."""
    return re.compile(rb"(?:\r?\n)?--+" + re.escape(boundary.strip().lstrip(b"-")))


class Concatenated:
    """JPEGs with nothing between them: `ffmpeg -f mjpeg -listen 1 http://...`. Belongs to one thread."""

    def __init__(self, more: Callable[[], bytes], most: int) -> None:
        """`more` gives what has come, nothing at the end. A picture of more than `most` bytes is refused."""
        self._more, self._most = more, most
        self._data = bytearray()

    def next(self) -> bytes | None:
        """The next picture; None at the end. Raises UnavailableError."""
        looked = 0
        while True:
            if self._data.find(JPEG_END, max(0, looked - 1)) >= 0 and (end := boundaries.end(self._data)) is not None:
                picture = bytes(self._data[:end])
                self._data = self._data[end:].lstrip(PADDING)
                return picture
            looked = len(self._data)
            if looked > self._most:
                raise UnavailableError(
                    f"pictures that follow one another, and one of more than {self._most / 1e6:g} MB (--max-input)"
                )
            piece = self._more()
            if not piece:
                return None
            self._data += piece


def goes_on(look: Callable[[int], bytes], most: int) -> bool:
    """Whether a second JPEG follows the first; `look` gives at least so many bytes of what comes, or all.

    Raises UnavailableError.
    """
    size = 64
    while True:
        data = look(size)
        if not data.startswith(JPEG) or len(data) < size or len(data) > most:
            return False
        end = boundaries.end(data)
        if end is not None and (behind := data[end:].lstrip(PADDING)):
            return behind.startswith(JPEG[: len(behind)])
        size = len(data) + max(64, len(data) // 4)
