"""A sink that can be asked, for `--check`, whether its other side would take results."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import msgspec


class Reached(msgspec.Struct, frozen=True):
    """What was found over there, in a user's words. `doubt` is what may go wrong with it, `fix` what to do then."""

    text: str
    doubt: str = ""
    fix: str = ""


@runtime_checkable
class ReachableSink(Protocol):
    """Capability of a sink whose other side can be asked."""

    def reach(self) -> Reached:
        """Of a sink that is not open; it is closed again. Stores nothing. Waits some seconds at most.

        Raises UnavailableError where it would have to wait for the other side, ConfigError.
        """
