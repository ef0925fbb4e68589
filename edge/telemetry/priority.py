"""Which of our threads may interrupt which."""

from __future__ import annotations

import contextlib
import os


def stand_back() -> None:
    """The calling thread does not interrupt one that computes: it takes a free core, or waits for its turn.

    Without this the capture and the network thread, each time they wake, take the core of an inference away though
    another is free: a twentieth of a frame's time on two cores. Linux's SCHED_BATCH says just that and keeps the
    thread's share of a busy machine (sched(7)); where there is no such policy, or a sandbox forbids it, all stays as
    it is.
    """
    _change("SCHED_OTHER", "SCHED_BATCH")


def come_forward() -> None:
    """The calling thread has stood back, and computes itself now."""
    _change("SCHED_BATCH", "SCHED_OTHER")


def _change(before: str, after: str) -> None:
    """Of another policy a user has said so: it stays."""
    if hasattr(os, before) and hasattr(os, after):
        with contextlib.suppress(OSError):
            if os.sched_getscheduler(0) == getattr(os, before):
                os.sched_setscheduler(0, getattr(os, after), os.sched_param(0))
