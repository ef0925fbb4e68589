"""One process, one spool: a lock file that holds the owner's process id.

`flock` belongs to the open file, so the kernel gives it up when the process dies, however it dies: there
is no stale lock to clean. The file itself stays, for to delete it would race with the next owner.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from edge.errors import SpoolError, UnavailableError

_NEVER = frozenset(
    {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP}
)


class SpoolLock:
    """Held between `acquire` and `release`, both of which may be called again."""

    def __init__(self, spool: Path) -> None:
        self._spool = spool
        self._path = spool.with_name(spool.name + ".lock")
        self._fd: int | None = None

    def acquire(self) -> None:
        """Raises SpoolError where another process holds it or the folder can never be used, else UnavailableError."""
        if self._fd is not None:
            return
        try:
            make_folder(self._spool.parent)
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise folder_error(self._spool.parent, exc) from exc
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            owner = os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise SpoolError(
                f"{self._spool}: process {owner} uses this spool; "
                "give this one another --name, --device or --state-dir, or stop that one"
            ) from exc
        self._fd = fd
        self._sign(fd)

    def release(self) -> None:
        """Lets the next process in."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _sign(self, fd: int) -> None:
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        except OSError as exc:
            # The lock holds without it, but a disk that takes no ten bytes takes no spool either.
            self.release()
            raise folder_error(self._spool.parent, exc) from exc


def make_folder(folder: Path) -> None:
    """Creates `folder` so that it survives a power cut: each new name is synced in the folder above. Raises OSError."""
    missing = [p for p in (folder, *folder.parents) if not p.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
        sync_folder(path.parent)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))


def sync_folder(folder: Path) -> None:
    """Makes renames and new names in `folder` durable. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def folder_error(folder: Path, exc: OSError) -> SpoolError | UnavailableError:
    """What an OSError on the state folder means: never (SpoolError) or not now (UnavailableError)."""
    reason = exc.strerror or str(exc)
    if exc.errno in _NEVER:
        return SpoolError(f"{folder}: {reason}; --state-dir wants a folder that this user may write to")
    return UnavailableError(f"{folder}: {reason}; results wait in memory until it can be written again")
