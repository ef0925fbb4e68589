"""The signals that end the process in order, in one place for all who listen to them. Nothing heavy is imported here:
until a handler is there, a Ctrl-C during the start has no answer."""

from __future__ import annotations

import signal

TYPE_CHECKING = False  # not typing's: see above
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

ALL = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
"""Ctrl-C, the service manager, and a terminal that went away with its window or its SSH session."""


def listen(handler: Callable[[int, FrameType | None], object], numbers: Iterable[signal.Signals] = ALL) -> None:
    """`handler` hears them from now on. Of the main thread. Under `nohup` SIGHUP stays ignored."""
    for number in numbers:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)
