"""What is read whole of a file that a user names: a device, or a film by mistake, has no end."""

from __future__ import annotations

import errno
from pathlib import Path

MOST = 16 * 2**20


def read(path: Path) -> bytes:
    """At most `MOST` bytes. Raises OSError, also for a file that is longer."""
    with path.open("rb") as file:
        data = file.read(MOST + 1)
    if len(data) > MOST:
        raise OSError(errno.EFBIG, f"it is larger than {MOST // 2**20} MB", str(path))
    return data


def text(path: Path) -> str:
    """UTF-8, with a mark before it or without. Raises OSError, UnicodeDecodeError."""
    return read(path).decode("utf-8-sig").replace("\r\n", "\n")
