"""A file written whole: whenever the power goes, it holds the old content or the new. The converter writes so, too."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def write(path: Path, data: bytes) -> None:
    """All of it at once. Raises OSError; then the old file is as it was."""
    with replacing(path) as file:
        file.write(data)


@contextmanager
def replacing(path: Path, mode: int | None = None) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` at the end: synced, renamed, and the folder synced.

    It was never readable by more than `mode` says; None leaves the rights to the umask. Raises OSError, also where
    `path` is a device or a pipe, which root would take from all others; then, and after any error of the caller's, the
    old file is as it was.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "is a folder or a device, and no file that could be replaced", str(path))
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    try:
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666 if mode is None else mode)
        with os.fdopen(fd, "wb") as file:
            if mode is not None:
                os.fchmod(fd, mode)
            yield file
            file.flush()
            os.fsync(fd)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames and new names in `folder` durable. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
