"""Waits for a machine that has nothing else to do, and keeps in mind how well that went."""

from __future__ import annotations

from flow.machine import BUSY_MOST, busy

TRIES = 12
"""Looks of half a second."""


class Quiet:
    """Called before each thing that is measured, while nothing of ours works. `tries` 0: it only looks."""

    def __init__(self, tries: int = TRIES) -> None:
        self._tries = tries
        self.shares: list[float] = []

    def __call__(self) -> None:
        share = busy()
        for _ in range(self._tries):
            if share <= BUSY_MOST:
                break
            share = busy()
        self.shares.append(share)
