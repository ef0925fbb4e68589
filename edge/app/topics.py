"""The topics of a model are one process's: two of one name would mix their results."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from edge.errors import ConfigError
from edge.storage.lock import FileLock


def hold_topics(state_dir: Path, broker: str, base: str, model: Path) -> FileLock | None:
    """Holds `base` on a broker for this process, until it is released; None where the folder cannot be written.

    Raises ConfigError where another process with this state folder holds it.
    """
    key = hashlib.blake2b(f"{broker}\n{base}".encode(), digest_size=6).hexdigest()
    lock = FileLock(state_dir / f"topics-{key}.lock")
    try:
        holder = lock.acquire(f"process {os.getpid()} with {model.absolute()}")
    except OSError:
        return None  # the spool says so, where it matters
    if holder is None:
        return lock
    raise ConfigError(
        f"the topics {base}/# belong to {holder or 'another process'}: give this model another --name or --device, or "
        "stop that one"
    )
