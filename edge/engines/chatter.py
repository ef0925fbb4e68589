"""What the C++ of a library says on stderr when all is well: a log of JSON lines would be none with it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def held_back(*beginnings: bytes) -> Iterator[None]:
    """Holds back lines that begin so, and the empty ones behind them. Everything else is passed on at the end.

    It is the process's stderr that is held, also for other threads.
    """
    try:
        kept = os.dup(2)
    except OSError:  # started without a stderr: nobody hears it
        yield
        return
    captured = os.memfd_create("stderr")
    os.dup2(captured, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        with open(captured, "rb") as file:  # noqa: PTH123 - a descriptor
            file.seek(0)
            held = False
            for line in file:
                held = line.startswith(beginnings) or (held and not line.strip())
                if not held:
                    os.write(2, line)
