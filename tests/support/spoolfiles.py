"""The files of a spool, looked at from outside."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path


def crashed_copy(path: Path, to: Path) -> None:
    """What a killed process leaves: the files as the kernel has them."""
    to.parent.mkdir(parents=True, exist_ok=True)
    for suffix in ("", "-wal"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            shutil.copyfile(source, to.with_name(to.name + suffix))


def rows_on_disk(path: Path) -> int:
    copy = path.parent.parent / "look" / path.name
    shutil.rmtree(copy.parent, ignore_errors=True)
    crashed_copy(path, copy)
    db = sqlite3.connect(copy)
    try:
        return db.execute("SELECT count(*) FROM messages").fetchone()[0]
    finally:
        db.close()


def on_disk(path: Path) -> int:
    return sum(p.stat().st_size for p in path.parent.iterdir())
