"""A model's file as bytes that are read where they are looked at, however large it is."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def mapped(path: Path) -> Iterator[memoryview]:
    """Raises OSError, ValueError for an empty one, and BufferError at its end where something still refers to it."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        data = memoryview(content)
        try:
            yield data
        finally:
            data.release()
