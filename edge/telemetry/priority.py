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
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
