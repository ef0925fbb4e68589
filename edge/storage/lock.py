"""One process, one spool, and one for a model's topics: a lock file that says who holds it.

`flock` belongs to the open file, so the kernel gives it up when the process dies, however it dies: there
is no stale lock to clean. The file itself stays, for to delete it would race with the next owner.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
from pathlib import Path

from edge.errors import SpoolError, UnavailableError
from edge.storage.atomic import sync_folder

NAME_BYTES = 4096

_NEVER = frozenset(
    {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP}
)


class SpoolLock:
    """Held between `acquire` and `release`, both of which may be called again."""

    def __init__(self, spool: Path) -> None:
        self._spool = spool
        self._lock = FileLock(spool.with_name(spool.name + ".lock"))

    def acquire(self) -> None:
        """Raises SpoolError where another process holds it or the folder can never be used, else UnavailableError."""
        try:
            holder = self._lock.acquire(str(os.getpid()))
        except OSError as exc:
            # A lock that holds without its owner's name would do, but a disk that takes no ten bytes takes no spool.
            raise folder_error(self._spool.parent, exc) from exc
        if holder is not None:
            raise SpoolError(
                f"{self._spool}: process {holder or 'unknown'} uses this spool; "
                "give this one another --name, --device or --state-dir, or stop that one"
            )

    def release(self) -> None:
        """Lets the next process in."""
        self._lock.release()


class FileLock:
    """One process at a time, which writes into the file what it wants to be known by."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def acquire(self, name: str) -> str | None:
        """None: it is held now. Else what the other process is known by, "" where it has not said. Raises OSError."""
        if self.held():
            return None
        self.release()
        make_folder(self._path.parent)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, NAME_BYTES, 0).decode("utf-8", "replace").strip()
            os.close(fd)
            return holder
        except OSError:
            os.close(fd)
            raise
        self._fd = fd
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{name}\n".encode()[:NAME_BYTES], 0)
        except OSError:
            self.release()
            raise
        return None

    def held(self) -> bool:
        """Whether it is ours still: where the file was deleted another process may hold a new one of that name."""
        if self._fd is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._fd), self._path.stat())
        except OSError:
            return False

    def release(self) -> None:
        """Lets the next process in."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


class HostLock:
    """One process of this machine at a time, whichever folder it keeps its state in.

    Linux: an abstract socket address, which the kernel frees when the process dies, and which containers with a network
    of their own do not share. Elsewhere it holds nothing.
    """

    def __init__(self, name: str) -> None:
        self._address = f"\0edge-run/{name}"
        self._socket: socket.socket | None = None

    def acquire(self) -> bool:
        """False where another process holds it."""
        if self._socket is not None or not sys.platform.startswith("linux"):
            return True
        held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            held.bind(self._address)
        except OSError as exc:
            held.close()
            return exc.errno != errno.EADDRINUSE
        self._socket = held
        return True

    def release(self) -> None:
        """Lets the next process in."""
        held, self._socket = self._socket, None
        if held is not None:
            held.close()


def make_folder(folder: Path) -> None:
    """Creates `folder` so that it survives a power cut: each new name is synced in the folder above. Raises OSError."""
    missing = [p for p in (folder, *folder.parents) if not p.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
        sync_folder(path.parent)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))


def folder_error(folder: Path, exc: OSError) -> SpoolError | UnavailableError:
    """What an OSError on the state folder means: never (SpoolError) or not now (UnavailableError)."""
    reason = exc.strerror or str(exc)
    if exc.errno in _NEVER:
        return SpoolError(f"{folder}: {reason}; --state-dir wants a folder that this user may write to")
    return UnavailableError(f"{folder}: {reason}; results wait in memory until it can be written again")
