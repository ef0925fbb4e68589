"""What goes on during long work: a line on standard error that is written over, on a terminal only.

Sixty lines instead of a library: rich costs 0.1 s at import, and neither it nor tqdm would survive that frameworks' own
chatter is silenced by taking the file descriptors away (`converter/quiet.py`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

from edge.errors import printable

Value = TypeVar("Value")

WIDTH = 24
CLEAR = "\r\x1b[K"


@contextlib.contextmanager
def line() -> Iterator[Callable[[str], None] | None]:
    """What writes a text over the one before, cut to the terminal's width; None where nobody watches."""
    if not os.isatty(2):
        yield None
        return
    terminal = os.dup(2)  # a descriptor of its own, taken before anything is silenced

    def show(text: str) -> None:
        shown = printable(text)[: shutil.get_terminal_size().columns - 1]  # files and devices are named by others
        os.write(terminal, f"{CLEAR}{shown}".encode())

    try:
        yield show
    finally:
        os.write(terminal, CLEAR.encode())
        os.close(terminal)


def bar(share: float) -> str:
    """`██████░░░░░░`."""
    filled = int(WIDTH * min(share, 1.0))
    return "█" * filled + "░" * (WIDTH - filled)


@contextlib.contextmanager
def steps(total: int, title: str = "") -> Iterator[Callable[[str], None]]:
    """A bar of `total` steps; the function that it gives begins the next one and names it."""
    begun = 0
    with line() as show:

        def step(what: str) -> None:
            nonlocal begun
            if show is not None:
                show(f"{title} {bar(begun / max(total, 1))} {begun}/{total} {what}".lstrip())
            begun += 1

        yield step


def track(values: Collection[Value], title: str) -> Iterator[Value]:
    """The values, with a bar that moves as they are taken."""
    with steps(len(values), title) as step:
        for value in values:
            step("")
            yield value
