"""Which of several runs may have systemd restart the process by hanging: each once an hour.

What hangs in a camera's driver or on a disk cannot be ended within a process, and a restart loses nothing. But one that
hangs again after each would stop the other runs for ever.
"""

from __future__ import annotations

import logging
from pathlib import Path

from edge.data.units import SECOND_NS
from edge.plugins.protocols import Clock
from edge.storage import state_file

log = logging.getLogger("edge.app.service")

APART_S = 3600.0


class Hangs:
    """Of the main thread alone. By the name of the run when it did so last, in a file, for the next life to read."""

    def __init__(self, file: Path, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._here: set[str] = set()
        self._told: set[str] = set()

    def restarts(self, name: str) -> bool:
        """Whether the process is to be restarted for this run, which hangs."""
        if name in self._here:
            return True
        known, now_s = state_file.read(self._file, dict[str, float]) or {}, self._clock.time_ns() / SECOND_NS
        lately = 0 <= now_s - known.get(name, -APART_S) < APART_S
        otherwise = "that a run hangs cannot be written down"  # and the next life would not know of it
        if lately or not state_file.write(self._file, {**known, name: now_s}, log, otherwise):
            if name not in self._told:
                self._told.add(name)
                log.error("run hangs again: the others go on, and it is left alone for an hour", extra={"run": name})
            return False
        self._here.add(name)
        log.error("run hangs: the process is to be restarted", extra={"run": name})
        return True
