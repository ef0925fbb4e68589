"""A small file written whole: whenever the power goes, it holds the old content or the new."""

from __future__ import annotations

import os
from pathlib import Path

from edge.storage.lock import sync_folder


def write(path: Path, data: bytes) -> None:
    """Written beside, synced, renamed, and the folder synced. Raises OSError; then the old file is as it was."""
    partial = path.with_suffix(".tmp")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    sync_folder(path.parent)
