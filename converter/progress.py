"""What goes on during long work: a line on stderr that is written over, on a terminal only.

Thirty lines instead of a library: rich costs 0.1 s at import, and neither it nor tqdm would survive that the
frameworks' own chatter is silenced by taking the file descriptors away (see `quiet`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Value = TypeVar("Value")

_WIDTH = 24


@contextlib.contextmanager
def steps(title: str, total: int) -> Iterator[Callable[[str], None]]:
    """A bar of `total` steps; the function that it gives moves it by one and names what is going on."""
    # A descriptor of its own, taken before anything is silenced.
    terminal = os.dup(2) if os.isatty(2) else None
    done = -1

    def step(what: str = "") -> None:
        nonlocal done
        done = min(done + 1, total)
        if terminal is None:
            return
        filled = _WIDTH * done // max(total, 1)
        bar = "█" * filled + "░" * (_WIDTH - filled)
        os.write(terminal, f"\r\x1b[K{title} {bar} {done}/{total} {what[:40]}".encode())

    try:
        step("")
        yield step
    finally:
        if terminal is not None:
            os.write(terminal, b"\r\x1b[K")
            os.close(terminal)


def track(values: Iterable[Value], title: str, total: int) -> Iterator[Value]:
    """The values, with a bar that moves as they are taken."""
    with steps(title, total) as step:
        for value in values:
            yield value
            step("")
