"""What was announced, kept in the state folder: so that what is gone can be taken away again.

A file for each device: `home-assistant.<object id>.json`, and a lock beside it that its process holds. A file whose
lock is free belongs to a service that runs no more: another model took its place, or it got another name. Without a
folder that can be written nothing is known of earlier lives, and their entities stay until somebody deletes them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edge.errors import SpoolError, UnavailableError
from edge.storage import state_file
from edge.storage.lock import SpoolLock

log = logging.getLogger("edge.homeassistant")
OTHERWISE = "what is announced is not remembered"

STEM = "home-assistant."


class Announced(msgspec.Struct, frozen=True):
    """The platform of each component by its id, and the topic it was announced on."""

    topic: str
    components: dict[str, str]


class Record:
    """Used by one thread. Never raises for a file or a folder: losing it costs some stale entities."""

    def __init__(self, folder: Path, object_id: str, beside: Sequence[str] = ()) -> None:
        """`beside`: ids of other runs of the process, which are none of the gone, whether they could begin or not."""
        self._path = folder / f"{STEM}{object_id}.json"
        self._beside = {folder / f"{STEM}{other}.json" for other in (object_id, *beside)}
        self._lock = SpoolLock(self._path)
        self._mine = False
        self._stale: dict[Path, Announced] = {}

    def open(self) -> None:
        """Takes possession of this device's file and looks for those whose services are gone."""
        try:
            self._lock.acquire()
            self._mine = True
            others = [p for p in self._path.parent.glob(f"{STEM}*.json") if p not in self._beside]
            records = {p: state_file.read(p, Announced) for p in others if _is_free(p)}
        except (OSError, SpoolError, UnavailableError) as exc:
            log.warning(OTHERWISE, extra={"path": str(self._path), "reason": str(exc)})
            return
        self._stale = {path: announced for path, announced in records.items() if announced is not None}

    def mine(self) -> Announced | None:
        """What this device has announced before."""
        return state_file.read(self._path, Announced) if self._mine else None

    def stale(self) -> list[Announced]:
        """What services that are gone have announced."""
        return list(self._stale.values())

    def write(self, announced: Announced) -> None:
        """This device's own; before it is announced."""
        if self._mine and self.mine() != announced:
            state_file.write(self._path, announced, log, OTHERWISE)

    def forget_stale(self) -> None:
        """They have been taken away."""
        for path in self._stale:
            path.unlink(missing_ok=True)
            path.with_name(path.name + ".lock").unlink(missing_ok=True)
        self._stale = {}

    def close(self) -> None:
        """The next life may have it."""
        self._mine = False
        self._lock.release()


def _is_free(path: Path) -> bool:
    lock = SpoolLock(path)
    try:
        lock.acquire()
    except SpoolError:
        return False
    lock.release()
    return True
