"""From one state of an update to the next: written down first, then entered, then told."""

from __future__ import annotations

import logging

from edge.app.update_told import UpdateTold
from edge.plugins.protocols import Clock
from edge.updates import state
from edge.updates.state import State
from edge.updates.store import UpdateStore

log = logging.getLogger("edge.updates")


class UpdateSteps:
    """Of the thread of the updates; of the main thread before it runs, and when it has ended."""

    def __init__(self, store: UpdateStore, told: UpdateTold, clock: Clock) -> None:
        self._store, self._told, self._clock = store, told, clock

    def go(self, new: State, *, say: bool = True) -> None:
        """Raises OSError where it cannot be written down: then it is not entered."""
        self._store.enter(new)
        if say:
            self._told.tell()

    def enter(self, new: State, *, say: bool = True) -> bool:
        """As `go`; False, said in the log, where it cannot be written down."""
        try:
            self.go(new, say=say)
        except OSError as exc:
            log.error("state of the updates is not kept", extra={"reason": exc.strerror or str(exc)})
            return False
        return True

    def later(self, reason: str, *, untried: bool = False) -> None:
        """The update is put off, and why; `untried`: which is no try of it."""
        if self._store.state.phase not in state.UNPROVEN:
            self._told.trouble(reason)
            return
        log.warning("update put off", extra={"reason": reason})
        new = state.later(self._store.state, reason, self.now(), untried=untried)
        if not self.enter(new):
            self._store.state = new  # what the next start would make of what is on the disk

    def sweep(self) -> None:
        """What no state names any more goes from the disk."""
        try:
            self._store.sweep()
        except OSError as exc:
            log.warning("old models are not removed", extra={"reason": exc.strerror or str(exc)})

    def now(self) -> float:
        """Seconds since 1970."""
        return self._clock.time_ns() / 1e9
