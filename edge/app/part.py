"""What is started before a run, or the process, and stopped after it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Part(msgspec.Struct, frozen=True):
    """Something that is started before the runner runs and stopped after it; `lasting`: after all other runs, too.

    `start` may raise FatalError; `stop` is called after a failed start too.
    """

    name: str
    start: Callable[[], object]
    stop: Callable[[], object]
    lasting: bool = False
