"""Small files of JSON by which a life of the process tells the next one what it knew."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TypeVar

import msgspec

from edge.storage import atomic
from edge.storage.lock import make_folder

Kind = TypeVar("Kind")


def read(path: Path, kind: type[Kind]) -> Kind | None:
    """None where it is not there, or damaged: then nothing is known."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, ValueError, RecursionError):  # not MsgspecError: of bytes that are no UTF-8 it is Python's own
        return None


def write(path: Path, value: object, log: logging.Logger, otherwise: str) -> bool:
    """The whole of it; where the disk does not take it, `otherwise` is said in the log, and it is False."""
    try:
        make_folder(path.parent)
        atomic.write(path, msgspec.json.encode(value))
    except OSError as exc:
        log.warning(otherwise, extra={"path": str(path), "reason": exc.strerror or str(exc)})
        return False
    return True
