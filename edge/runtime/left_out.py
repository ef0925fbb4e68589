"""Keys that `--ignore-unknown` leaves out, in the log: each once."""

from __future__ import annotations

import logging
import threading

log = logging.getLogger("edge.runner")

NAMED = 20
"""Keys that are named; of a sender that makes up keys no more than these are kept in memory."""


class LeftOut:
    """Says each key that is left out once. From any thread."""

    def __init__(self) -> None:
        self._said: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, key: str) -> None:
        if key in self._said:
            return
        with self._lock:
            if key in self._said or len(self._said) >= NAMED:
                return
            self._said.add(key)
            more = "; further keys are not named" if len(self._said) == NAMED else ""
        log.warning("left out", extra={"key": key[:60], "reason": f"the model has no such feature{more}"})
