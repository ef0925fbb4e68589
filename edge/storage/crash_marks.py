"""Which inputs were being worked on when the process died, so that a restart loop ends after one.

An input that kills the process (out of memory, a fault in a native library) comes again after the restart, from a
broker that was not answered or a file that is read from its beginning, and kills it again. So each thread marks what it
works on, and a mark that the process left behind makes its input a suspect: it is not run beside others again until
something has acquitted it.

A mark is a write to memory, for nothing may be written to an SD card in steady state. The memory is a file on tmpfs
(`RUNTIME_DIRECTORY`, `XDG_RUNTIME_DIR` or /dev/shm), which outlives the process, though not a power cut; only where
there is none it stands in the state folder. Its space is taken when it is opened, so that neither fails at a mark.

Whether tmpfs outlives the process nobody can say beforehand: not in a container, whoever is process 1 there, nor for a
user of systemd's. So each life leaves a note in the state folder where its memory is, and takes it back at a clean end.
Where a life finds a note of this boot, but not the memory that it names, its own memory stands in the state folder: one
page that the kernel writes now and then, until a life ends in order. What a power cut left there accuses nobody.

What was found after a death goes to disk, once: `<name>.suspects.json` in the state folder, the newest `SUSPECTS_MOST`,
each with the number of deaths that it was under way at. Where the disk takes nothing, full or read-only, that is kept
behind the marks, and written when it can be: a restart loop ends there too.

A process that is killed from outside leaves marks too. So a suspect is no culprit: it is run once more, alone, and
where it does no harm it is acquitted, and runs as any other. One that was under way at `DEATHS_MOST` deaths in a row
is convicted: at the last two of them nothing else was. Two would convict an input of a slow model because somebody
killed the process, and killed it again as soon as it was back. Where it can be told that nobody did, for the process
died of a fault in native code or for want of memory (`edge.storage.death_cause`), one death is enough for an input that
was under way alone.

Of two processes with one state folder and one name the second has no marks: it would take those of the first, which is
at work, for those of a dead one. The kernel gives up the lock on the memory's file when its process dies.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import mmap
import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from edge.storage import death_cause, state_file
from edge.storage.lock import make_folder

log = logging.getLogger("edge.storage")

DIGEST_SIZE = 16
SLOTS = 4
"""Threads that may work at once."""
TOGETHER_MOST = 512
"""Inputs that one thread and its instances may work on at once; of more the first are marked."""
DEATHS_MOST = 3
FAULT, MEMORY = 254, 255
"""Stand for the number of deaths of one that was convicted by what the process died of."""
OTHER = b"\xff" * DIGEST_SIZE
"""The mark of inputs that come no second time, such as those of QoS 0, beside others."""
SUSPECTS_MOST = 1024
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
KEPT_EVERY = 16
"""Suspects that are acquitted one after the other are written so many at a time: each write is one to an SD card."""
Suspects = dict[Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")], Annotated[int, msgspec.Meta(ge=1, le=MEMORY)]]
"""As they stand on disk: by the digest, which must fit into memory where that takes nothing."""
_NOTHING = bytes(DIGEST_SIZE)
_SLOT_SIZE = TOGETHER_MOST * DIGEST_SIZE
_MARKS_SIZE = SLOTS * _SLOT_SIZE
_COUNT = struct.Struct("<I")
"""Behind the marks: 0, or one more than the suspects behind it, which the disk did not take."""
_SUSPECT = struct.Struct(f"<{DIGEST_SIZE}sB")
_UNWRITTEN = slice(_MARKS_SIZE, _MARKS_SIZE + _COUNT.size)
_KILLS = struct.Struct("<Q")
"""Behind those: how many the kernel had killed for want of memory when this life looked last."""
_KILLS_AT = _UNWRITTEN.stop + SUSPECTS_MOST * _SUSPECT.size
_SIZE = _KILLS_AT + _KILLS.size
"""A fault's text stands behind all."""


def digest_of(data: bytes | bytearray | memoryview) -> bytes:
    """What an input is known by, in this life and the next."""
    return hashlib.blake2b(data, digest_size=DIGEST_SIZE).digest()


Works = Literal["alone", "beside"]
"""Whether what is marked is all that works in this process, or requests do so, too, or an update that is loaded."""


class Slot:
    """One thread's marks."""

    __slots__ = ("_at", "_memory", "_used")

    def __init__(self, memory: mmap.mmap, number: int) -> None:
        self._memory = memory
        self._at = number * _SLOT_SIZE
        self._used = 0

    def mark(self, *digests: bytes) -> None:
        """From now on these inputs are to blame, and no others; none: those before did no harm."""
        marks = b"".join(digests[:TOGETHER_MOST])
        written = marks.ljust(self._used, b"\0")  # at no moment is one unmarked that stays under way
        self._memory[self._at : self._at + len(written)] = written
        self._used = len(marks)


class Note(msgspec.Struct, frozen=True):
    """Of a life that has not ended in order: the boot it lives in, and where its memory is."""

    boot: str
    memory: str
    works: Works | Literal[""] = ""
    """"": what it dies of is not told."""
    model: str = ""


class CrashMarks:
    """`open` before the first input; `slot` for each thread that works; the rest for the thread that takes inputs."""

    def __init__(
        self,
        state_dir: Path,
        name: str,
        volatile: Path | None = None,
        *,
        works: Works | None = None,
        workers: Sequence[str] = (),
        model: str = "",
    ) -> None:
        """`name` tells apart the services that share a state folder. `volatile`: a folder on tmpfs; None: the first
        that there is. `works`: what the process dies of is told in its next life; None: it is not, for a process has
        one such at most. `workers`: the source files whose calls work on what is marked. `model`: what runs; a death of
        another one, which an update was taken back from, convicts no input."""
        self.suspects_file = state_dir / f"{name}.suspects.json"
        self._note_file = state_dir / f"{name}.alive.json"
        self._state_dir = state_dir
        self._name = name
        self._volatile = volatile
        self._works = works
        self._workers = workers
        self._model = model
        self._fault_fd: int | None = None
        self._memory: mmap.mmap | None = None
        self._memory_file: Path | None = None
        self._suspects: dict[str, int] = {}
        self._acquitted = 0
        self._slots = 0

    def open(self, *, excused: bool = False) -> int:
        """Takes over what an earlier life left. Returns how many inputs it left under way. `excused`: something else is
        to blame for that death, and no input is suspected. Raises OSError, BlockingIOError where another process has
        these marks."""
        self._suspects = state_file.read(self.suspects_file, Suspects) or self._suspects
        note = state_file.read(self._note_file, Note)
        self._memory = self._map(note, alone=True)
        unwritten = self._unwritten()
        if unwritten is not None:
            self._suspects = unwritten
        if note is not None and note.boot != _boot():
            self._memory[:_MARKS_SIZE] = bytes(_MARKS_SIZE)  # the machine went down, and the process with it
        marks = [self._memory[at : at + DIGEST_SIZE] for at in range(0, _MARKS_SIZE, DIGEST_SIZE)]
        under_way = dict.fromkeys(mark for mark in marks if mark != _NOTHING)  # two threads may have had one input
        left = [mark.hex() for mark in under_way if mark != OTHER]
        cause = self._cause(note)
        if left and not excused:
            for suspect in left:
                deaths = min(self._suspects.pop(suspect, 0) + 1, FAULT - 1)
                self._suspects[suspect] = cause if cause and len(under_way) == 1 else deaths  # the newest stand last
        if (left and not excused) or unwritten is not None:
            self._keep()  # before the marks go: a power cut in between must not lose them
        if under_way:
            self._memory[:_MARKS_SIZE] = bytes(_MARKS_SIZE)
        self._begin_telling()
        self._leave_note()
        return len(left)

    def follow(self, model: str) -> None:
        """From now on it may be this one that the process dies of."""
        self._model = model
        if self._memory is not None:
            self._leave_note()

    def look(self) -> None:
        """Now and then, so that what the kernel kills for want of memory meanwhile is not taken for this process."""
        if self._memory is not None and self._works is not None:
            kills = _KILLS.pack(death_cause.memory_kills())
            if kills != self._memory[_KILLS_AT:_SIZE]:  # in the state folder a page that is written to goes to disk
                self._memory[_KILLS_AT:_SIZE] = kills

    def left(self) -> bool:
        """Whether an earlier life left any under way; `open` may take them over afterwards. Raises OSError."""
        note = state_file.read(self._note_file, Note)
        with self._map(note, alone=False) as memory:
            return (note is None or note.boot == _boot()) and any(memory[:_MARKS_SIZE])

    def slot(self) -> Slot:
        """For one more thread; after `open`."""
        assert self._memory is not None
        self._slots += 1
        if self._slots > SLOTS:
            raise ValueError(f"at most {SLOTS} threads are marked")
        return Slot(self._memory, self._slots - 1)

    @property
    def kept(self) -> str:
        """Where the suspects are; who deletes it has all of them tried again."""
        if self._memory is not None and self._unwritten() is not None:
            return str(self._memory_file)
        return f"{self.suspects_file.name} in the state folder"

    @property
    def any(self) -> bool:
        """True where there is a suspect."""
        return bool(self._suspects)

    def suspects(self, digest: bytes) -> bool:
        """True where such an input was under way when the process died."""
        return bool(self._suspects) and digest.hex() in self._suspects

    def convicted(self, digest: bytes, deaths: int = DEATHS_MOST) -> bool:
        """True where it was under way at so many deaths in a row: it is not to be run again."""
        return bool(self._suspects) and self._suspects.get(digest.hex(), 0) >= deaths

    def cause(self, digest: bytes) -> int:
        """What convicted it: `FAULT`, `MEMORY`, or so many deaths."""
        return self._suspects.get(digest.hex(), 0)

    def acquit(self, digest: bytes) -> None:
        """It was tried, and did no harm: on disk so at `settle` at the latest."""
        if self._suspects.pop(digest.hex(), None) is not None:
            self._acquitted += 1
            if not len(self._suspects) % KEPT_EVERY:
                self.settle()

    def settle(self) -> None:
        """Writes down who was acquitted: else one that comes again would be a suspect still at the next death, and
        convicted by that."""
        if self._acquitted:
            self._acquitted = 0
            self._keep()

    def close(self) -> None:
        """A clean end leaves no marks."""
        if self._memory is not None and self._unwritten() is not None:
            self._keep()
        if self._fault_fd is not None:
            death_cause.end(self._fault_fd)
            self._fault_fd = None
        memory, self._memory = self._memory, None
        if memory is not None:
            memory[:_MARKS_SIZE] = bytes(_MARKS_SIZE)
            memory.close()
            with suppress(OSError):  # of a read-only disk, which had it before
                self._note_file.unlink(missing_ok=True)

    # --- inside ---------------------------------------------------------------------------------------

    def _cause(self, note: Note | None) -> int:
        """What the life before died of, with its marks to blame: `FAULT`, `MEMORY`; 0 where that cannot be told."""
        if note is None or note.boot != _boot() or not note.works:
            return 0
        assert self._memory is not None
        assert self._memory_file is not None
        fault = death_cause.fault(self._memory_file, _SIZE)
        if fault is not None:
            log.error("the process died of a fault", extra={"signal": fault.signal, "at": fault.place})
            at_work = fault.within(self._workers) or (fault.native and note.works == "alone")
            return FAULT if at_work and note.model == self._model else 0
        (kills,) = _KILLS.unpack(self._memory[_KILLS_AT:_SIZE])
        killed = death_cause.memory_kills() > kills and note.works == "alone"
        return MEMORY if killed and note.model == self._model else 0

    def _begin_telling(self) -> None:
        assert self._memory_file is not None
        if self._works is not None:
            self.look()
            try:
                self._fault_fd = death_cause.begin(self._memory_file, _SIZE)
            except OSError as exc:
                log.info("a fault of this process will not be told", extra={"reason": str(exc)})

    def _keep(self) -> None:
        self._suspects = dict(list(self._suspects.items())[-SUSPECTS_MOST:])
        otherwise = "the inputs that the process died at are not on disk: a power cut would forget them"
        written = state_file.write(self.suspects_file, self._suspects, log, otherwise)
        self._put(None if written else self._suspects)

    def _put(self, unwritten: dict[str, int] | None) -> None:
        """What the disk did not take."""
        if self._memory is None:
            return
        self._memory[_UNWRITTEN] = _COUNT.pack(0)  # what is half written is none
        if unwritten is not None:
            items = [_SUSPECT.pack(bytes.fromhex(digest), min(n, 255)) for digest, n in unwritten.items()]
            written = b"".join(items)
            self._memory[_UNWRITTEN.stop : _UNWRITTEN.stop + len(written)] = written
            self._memory[_UNWRITTEN] = _COUNT.pack(len(items) + 1)

    def _unwritten(self) -> dict[str, int] | None:
        """None where the disk has all."""
        assert self._memory is not None
        (count,) = _COUNT.unpack(self._memory[_UNWRITTEN])
        if not 0 < count <= SUSPECTS_MOST + 1:
            return None
        end = _UNWRITTEN.stop + (count - 1) * _SUSPECT.size
        return {digest.hex(): n for digest, n in _SUSPECT.iter_unpack(self._memory[_UNWRITTEN.stop : end])}

    def _leave_note(self) -> None:
        note = msgspec.json.encode(Note(_boot(), str(self._memory_file), self._works or "", self._model))
        try:
            make_folder(self._state_dir)
            self._note_file.write_bytes(note)  # not synced: what a power cut leaves of it accuses nobody
        except OSError as exc:
            text = "in a container it may be forgotten which input killed the process, and that one does so again"
            log.info(text, extra={"file": str(self._note_file), "reason": str(exc)})

    def _map(self, note: Note | None, *, alone: bool) -> mmap.mmap:
        """`note`: of the life before."""
        kept = self._state_dir / f"{self._name}.marks"
        before = Path(note.memory) if note is not None and note.boot == _boot() else None
        if before is None or (before != kept and before.is_file()):
            whose = digest_of(os.fsencode(self._state_dir.resolve() / self._name)).hex()
            for folder in self._folders():
                self._memory_file = folder / f"edge-run-{whose}.marks"
                try:
                    return _mapped(self._memory_file, alone=alone)
                except BlockingIOError:
                    raise
                except OSError:
                    continue
        elif before != kept:
            kept.unlink(missing_ok=True)  # of a life long before that one
        make_folder(self._state_dir)
        self._memory_file = kept
        return _mapped(kept, alone=alone)

    def _folders(self) -> list[Path]:
        if self._volatile is not None:
            return [self._volatile]
        named = (os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0], os.environ.get("XDG_RUNTIME_DIR", ""))
        return [Path(folder) for folder in (*named, "/dev/shm") if folder]  # noqa: S108 - private, checked to be ours


def _boot() -> str:
    """Which boot of the machine this is; a container has that of its host. "" where the system does not say."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _mapped(path: Path, *, alone: bool) -> mmap.mmap:
    """`alone`: no other process may have it so until it is closed. Raises BlockingIOError where one has, and OSError,
    also where the file is somebody else's."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if os.fstat(fd).st_uid != os.geteuid():
            raise PermissionError(f"{path} belongs to another user")
        if alone:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the map holds the file open, and with it the lock
        # Not a hole: where the disk is full by then, to write to one is a SIGBUS.
        os.posix_fallocate(fd, 0, _SIZE)
        return mmap.mmap(fd, _SIZE)
    finally:
        os.close(fd)
