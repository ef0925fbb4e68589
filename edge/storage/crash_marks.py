"""Which inputs were being worked on when the process died, so that a restart loop ends after one.

An input that kills the process (out of memory, a fault in a native library) comes again after the restart, from a
broker that was not answered, and kills it again. So each thread marks what it works on, and a mark that the process
left behind makes its input a suspect: it is not run in this process again until something has acquitted it.

A mark is a write to memory, for nothing may be written to an SD card in steady state. The memory is a file on tmpfs
(`RUNTIME_DIRECTORY`, `XDG_RUNTIME_DIR` or /dev/shm), which outlives the process, though not a power cut; only where
there is none it stands in the state folder. What was found after a death goes to disk, once: `suspects.json` in the
state folder, the newest `SUSPECTS_MOST`.

A process that is killed from outside leaves marks too. So a suspect is no culprit: one that was tried elsewhere (in a
process of its own) and did no harm is acquitted, and runs as any other.
"""

from __future__ import annotations

import hashlib
import logging
import mmap
import os
from contextlib import suppress
from pathlib import Path

import msgspec

from edge.storage import atomic
from edge.storage.lock import make_folder

log = logging.getLogger("edge.storage.crash_marks")

DIGEST_SIZE = 16
SLOTS = 16
"""Threads that may work at once."""
SUSPECTS_MOST = 64
_NOTHING = bytes(DIGEST_SIZE)


def digest_of(data: bytes | bytearray | memoryview) -> bytes:
    """What an input is known by, in this life and the next."""
    return hashlib.blake2b(data, digest_size=DIGEST_SIZE).digest()


class Slot:
    """One thread's mark."""

    __slots__ = ("_memory", "_place")

    def __init__(self, memory: mmap.mmap, at: int) -> None:
        self._memory = memory
        self._place = slice(at * DIGEST_SIZE, (at + 1) * DIGEST_SIZE)

    def begin(self, digest: bytes) -> None:
        """From now on this input is to blame."""
        self._memory[self._place] = digest

    def end(self) -> None:
        """It did no harm."""
        self._memory[self._place] = _NOTHING


class CrashMarks:
    """`open` before the first input; `slot` for each thread that works; the rest for the thread that takes inputs."""

    def __init__(self, state_dir: Path, volatile: Path | None = None) -> None:
        """`volatile`: a folder on tmpfs; None: the first that there is."""
        self._suspects_file = state_dir / "suspects.json"
        self._state_dir = state_dir
        self._volatile = volatile
        self._memory: mmap.mmap | None = None
        self._suspects: dict[str, None] = {}
        self._slots = 0

    def open(self) -> int:
        """Takes over what an earlier life left. Returns how many inputs it left under way. Raises OSError."""
        make_folder(self._state_dir)
        with suppress(OSError, msgspec.MsgspecError):
            self._suspects = dict.fromkeys(msgspec.json.decode(self._suspects_file.read_bytes(), type=list[str]))
        self._memory = self._map()
        marks = [self._memory[at : at + DIGEST_SIZE] for at in range(0, SLOTS * DIGEST_SIZE, DIGEST_SIZE)]
        left = [mark.hex() for mark in marks if mark != _NOTHING]
        if left:
            self._suspects.update(dict.fromkeys(left))
            self._keep()  # before the marks go: a power cut in between must not lose them
            self._memory[:] = bytes(SLOTS * DIGEST_SIZE)
            log.warning("the process died at work", extra={"inputs": len(left), "kept": str(self._suspects_file)})
        return len(left)

    def slot(self) -> Slot:
        """For one more thread; after `open`."""
        assert self._memory is not None
        self._slots += 1
        if self._slots > SLOTS:
            raise ValueError(f"at most {SLOTS} threads are marked")
        return Slot(self._memory, self._slots - 1)

    def suspects(self, digest: bytes) -> bool:
        """True where such an input was under way when the process died."""
        return bool(self._suspects) and digest.hex() in self._suspects

    def acquit(self, digest: bytes) -> None:
        """It was tried, and did no harm. Raises OSError."""
        if self._suspects.pop(digest.hex(), digest) is None:
            self._keep()

    def close(self) -> None:
        """A clean end leaves no marks."""
        memory, self._memory = self._memory, None
        if memory is not None:
            memory[:] = bytes(SLOTS * DIGEST_SIZE)
            memory.close()

    # --- inside ---------------------------------------------------------------------------------------

    def _keep(self) -> None:
        newest = list(self._suspects)[-SUSPECTS_MOST:]
        self._suspects = dict.fromkeys(newest)
        atomic.write(self._suspects_file, msgspec.json.encode(newest))

    def _map(self) -> mmap.mmap:
        name = f"edge-run-{digest_of(os.fsencode(self._state_dir.resolve())).hex()}.marks"
        for folder in self._folders():
            with suppress(OSError):
                return _mapped(folder / name)
        return _mapped(self._state_dir / "marks")

    def _folders(self) -> list[Path]:
        if self._volatile is not None:
            return [self._volatile]
        named = (os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0], os.environ.get("XDG_RUNTIME_DIR", ""))
        return [Path(folder) for folder in (*named, "/dev/shm") if folder]  # noqa: S108 - private, and checked to be ours


def _mapped(path: Path) -> mmap.mmap:
    """Raises OSError, also where the file is somebody else's."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if os.fstat(fd).st_uid != os.geteuid():
            raise PermissionError(f"{path} belongs to another user")
        os.ftruncate(fd, SLOTS * DIGEST_SIZE)
        return mmap.mmap(fd, SLOTS * DIGEST_SIZE)
    finally:
        os.close(fd)
