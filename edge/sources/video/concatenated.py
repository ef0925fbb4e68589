"""JPEGs that follow one another in an endless answer, with nothing between: `ffmpeg -f mjpeg -listen 1 http://...`."""

from __future__ import annotations

from collections.abc import Callable

from edge.data import boundaries
from edge.data.magic import JPEG, JPEG_END, PADDING
from edge.errors import UnavailableError


class Concatenated:
    """Belongs to one thread."""

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
