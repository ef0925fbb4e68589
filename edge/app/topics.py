"""The topics of a model are one process's: two of one name would mix their results."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from edge.errors import ConfigError
from edge.storage.lock import FileLock, HostLock


class TopicsLock:
    """Holds `base` on a broker for this process between `hold` and `release`."""

    def __init__(self, state_dir: Path, broker: str, base: str, model: Path) -> None:
        self._base = base
        self._model = model
        key = hashlib.blake2b(f"{broker}\n{base}".encode(), digest_size=6).hexdigest()
        self._lock = FileLock(state_dir / f"topics-{key}.lock")
        self._host = HostLock(f"topics/{key}")

    def hold(self) -> None:
        """Does nothing where the folder cannot be written: the spool says so, where it matters.

        Raises ConfigError where another process with this state folder, or on this machine, holds them.
        """
        holder: str | None = None
        with contextlib.suppress(OSError):
            holder = self._lock.acquire(f"process {os.getpid()} with {self._model.absolute()}")
        if holder is None and not self._host.acquire():
            holder = "a process with another --state-dir"
        if holder is not None:
            self.release()
            raise ConfigError(
                f"the topics {self._base}/# belong to {holder or 'another process'}: give this model another --name or "
                "--device, or stop that one"
            )

    def release(self) -> None:
        """Does nothing where they are not held."""
        self._host.release()
        self._lock.release()
