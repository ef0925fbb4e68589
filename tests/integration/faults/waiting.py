"""Waiting for something to be so, with an end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_NEVER = threading.Event()


def wait_until(what: str, so: Callable[[], object], timeout_s: float) -> None:
    """Asks every few milliseconds. Raises TimeoutError that says what was waited for."""
    until = time.monotonic() + timeout_s
    while not so():
        if time.monotonic() > until:
            raise TimeoutError(f"waited {timeout_s:.0f} s in vain: {what}")
        _NEVER.wait(0.01)


def pass_time(seconds: float) -> None:
    """Lets a fault last: this is the fault's length, not a wait for something."""
    _NEVER.wait(seconds)
