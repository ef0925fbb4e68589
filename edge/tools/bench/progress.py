"""A line on stderr that is written over, on a terminal only."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator

WIDTH = 24


@contextlib.contextmanager
def steps(total: int) -> Iterator[Callable[[str], None]]:
    """A bar of `total` steps; the function that it gives begins the next one and names it."""
    out = sys.stderr
    shown = out.isatty()
    begun = 0

    def step(what: str) -> None:
        nonlocal begun
        if shown:
            filled = WIDTH * begun // max(total, 1)
            text = f"{'█' * filled}{'░' * (WIDTH - filled)} {begun}/{total} {what}"
            out.write(f"\r\x1b[K{text[: shutil.get_terminal_size().columns - 1]}")
            out.flush()
        begun += 1

    try:
        yield step
    finally:
        if shown:
            out.write("\r\x1b[K")
            out.flush()
