"""The folder of the updates of one service: where it stands, which models are there, what is trusted.

    <state-dir>/<device>.<model>.updates/
        update.json     the state (`state.py`); written whole before each step, synced, renamed, the folder synced
        models/         <sha256>.onnx: whole and synced before it has that name; the confirmed one, and one more
        staging/        <sha256>.part: what has come of a target
        metadata/       what was verified of the repository; the floor under a roll-back lies here
        root.json       the root of trust, as `--updates-root` gave it
        lock

A power cut leaves the state before or after a step, never a mixture; a model file that is named in the state is on disk
before the state is. A model is run only where the content of its file is that of its name. A state that cannot be read
is set aside, and `--model`'s own file runs.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from edge.errors import SpoolError
from edge.storage import atomic
from edge.storage.lock import FileLock, folder_error, make_folder
from edge.updates.state import Slot, State

log = logging.getLogger("edge.updates")

Hash = Callable[[Path], str]
Write = Callable[[Path, bytes], None]


class UpdateStore:
    """Belongs to one thread at a time: the main thread until the service runs, then that of the updates."""

    def __init__(self, folder: Path, sha256: Hash, write: Write = atomic.write) -> None:
        """`sha256` reads a file and gives its hash; `write` writes one whole. Both raise OSError."""
        self.folder = folder
        self.models = folder / "models"
        self.staging = folder / "staging"
        self._file = folder / "update.json"
        self._sha256 = sha256
        self._write = write
        self._lock = FileLock(folder / "lock")
        self.state = State()

    def open(self) -> None:
        """Takes the folder for this process and reads where it stands. Raises SpoolError."""
        try:
            holder = self._lock.acquire(str(os.getpid()))
            if holder is not None:
                raise SpoolError(
                    f"{self.folder}: process {holder or 'unknown'} has the updates of this model; "
                    "give this one another --device or --state-dir, or stop that one"
                )
            for folder in (self.models, self.staging):
                make_folder(folder)
            self.read()
        except OSError as exc:
            raise SpoolError(str(folder_error(self.folder, exc))) from exc

    def close(self) -> None:
        """Lets the next process in."""
        self._lock.release()

    def read(self) -> State:
        """Where it stands, for one that changes nothing. Raises OSError."""
        try:
            self.state = msgspec.json.decode(self._file.read_bytes(), type=State)
        except FileNotFoundError:
            self.state = State()
        except (ValueError, RecursionError) as exc:  # also of bytes that are no UTF-8
            aside = self._file.with_suffix(".damaged")
            log.error("state of the updates cannot be read, set aside", extra={"path": str(aside), "reason": str(exc)})
            self._file.replace(aside)
            self.state = State()
        return self.state

    def enter(self, state: State) -> State:
        """Writes a state down before it is entered; one that is no other writes nothing. Raises OSError."""
        if state != self.state:
            self._write(self._file, msgspec.json.encode(state))
            self.state = state
        return state

    def path(self, slot: Slot) -> Path:
        """Where the model of a slot lies."""
        return self.models / slot.file

    def fetched(self, sha256: str) -> int:
        """Bytes of a target that have come so far."""
        try:
            return (self.staging / f"{sha256}.part").stat().st_size
        except OSError:
            return 0

    def holds(self, slot: Slot) -> bool:
        """Whether the model is there, and is what its name says."""
        try:
            return self._sha256(self.path(slot)) == slot.sha256
        except OSError:
            return False

    def install(self, staged: Path, slot: Slot) -> bool:
        """A staged file, synced, becomes the model of a slot; False where its content is another. Raises OSError."""
        if self._sha256(staged) != slot.sha256:
            staged.unlink(missing_ok=True)
            return False
        staged.replace(self.path(slot))
        for folder in (self.models, staged.parent):  # the new name, and the old one's end
            atomic.sync_folder(folder)
        return True

    def sweep(self) -> None:
        """Removes models and parts that no state names any more. Never the confirmed one. Raises OSError."""
        state = self.state
        named = {s.sha256 for s in (state.confirmed, state.candidate) if s is not None} | {state.tried}
        for file in (*self.models.iterdir(), *self.staging.iterdir()):
            if file.name.partition(".")[0] not in named:
                file.unlink(missing_ok=True)
