"""The folder of what is kept. Nothing of an input is in a file's name.

On disk: a segment is a file of lines, `<rule>-<time>-<boot>-<number>.jsonl`, and the files that its lines name,
`<the same>-<number>.jpg`. The files are written and synced first, the lines last and whole (`storage/atomic.py`): at a
power cut a segment is there with all that it names, or what is left of it is taken away at the next start. Lines are
gathered before, so that a card sees one write for many rows. Numbers go on from life to life: by them, not by the
clock, which may be set back, the oldest is known.

Bounded in bytes, by whole segments: the oldest of those that are worth least go first. What is worth less than all that
is there is not written at all. And bounded in what is written in a day, since that is what a card wears out by: the sum
stands in a file, so that a service that is started again and again has no new day each time.

Files may be taken away by anybody at any time: the folder is read again when it changed. Where the lock went with it,
and another process has the new one, nothing is written until that one has ended.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from edge.capture.record import Candidate, made
from edge.capture.rules import KINDS
from edge.data.units import SECOND_NS
from edge.errors import SampleError
from edge.plugins.protocols import Clock
from edge.storage import atomic, state_file
from edge.storage.lock import FileLock, make_folder

log = logging.getLogger("edge.capture")

BLOCK = 4096
"""What a small file takes on most disks."""
SPARE_BYTES = 64_000_000
SPARE_SHARE = 0.05
"""Of the disk: what others need of it is left free; the less of the two."""
WRITES_A_DAY = 10
"""Times `--capture-max`: with 256 MB, and a card of 8 GB that stands 1,000 times its size, that is eight years."""
ABOUT = "about.json"
DAY_NS = 86400 * SECOND_NS
LOCK = ".edge-capture.lock"
WRITTEN = ".edge-capture.day"
SENT = ".edge-capture.sent"
_NAMES = [kind.replace("<", "-below").replace(">", "-above") for kind in KINDS]
OURS = re.compile(
    rf"\.?(?P<name>(?P<rule>{'|'.join(_NAMES)})-\d{{8}}T\d{{6}}-[0-9a-f]{{8}}-(?P<number>\d{{6,}}))(-\d{{4}})?"
    r"\.(jsonl|jpg|png|bmp|gif|webp|npy|bin)(\.\d+\.partial)?"
)
"""Names of files in the folder that are ours: all others are left alone."""


class Day(msgspec.Struct, frozen=True):
    """What was written in the day that began at this time."""

    began_ns: int
    bytes: int


class Sent(msgspec.Struct, frozen=True):
    """Up to which number all was sent to a place: `upload.py`."""

    number: int
    place: str


class Segment(msgspec.Struct):
    """Files of one name; the larger its number the newer it is."""

    name: str
    worth: int
    number: int
    files: list[str]
    size: int = 0


class NoRoomError(Exception):
    """What was to be kept is worth less than all that is there."""


class Store:
    """Used by one thread."""

    def __init__(
        self,
        folder: Path,
        most: int,
        clock: Clock,
        boot: str,
        about: bytes,
        space: Callable[[Path], os.statvfs_result] = os.statvfs,
    ) -> None:
        """`most` in bytes; `boot`: eight hexadecimal digits; `about`: what stands in the file of that name; `space`:
        what the disk has."""
        self._folder = folder
        self._most = most
        self._clock = clock
        self._boot = boot
        self._about = about
        self._space = space
        self._lock = FileLock(folder / LOCK)
        self._segments: dict[str, Segment] = {}
        self._seen_ns = -1
        self._number = 0
        self._written = 0
        self._day_ns = clock.monotonic_ns()
        self._refused = False

    @property
    def size(self) -> int:
        """Bytes that are taken."""
        return sum(segment.size for segment in self._segments.values())

    def open(self) -> str | None:
        """What another process that keeps its samples here is known by; None: it is ours. Raises OSError."""
        make_folder(self._folder)
        holder = self._lock.acquire(f"process {os.getpid()}")
        if holder is not None:
            return holder or "another process"
        self._read()
        self._clear()
        self._tell()
        self._go_on()
        # No number comes twice, also where what was sent is gone: it would be taken for that.
        sent = state_file.read(self._folder / SENT, Sent)
        self._number = max(self._number, sent.number if sent is not None else 0)
        return None

    def close(self) -> None:
        """Lets another process in."""
        self._lock.release()

    def write(self, candidates: Sequence[Candidate], worth: int) -> int:
        """Keeps these, of one worth, as one segment; how many of them could be written at all. Raises OSError, and
        NoRoomError where there is none for them."""
        if not self._lock.held():
            if (holder := self.open()) is not None:
                raise OSError(errno.EBUSY, f"{holder} keeps its samples there")
        elif self._folder.stat().st_mtime_ns != self._seen_ns:
            self._read()
            self._tell()
        self._number += 1
        name = f"{_NAMES[len(KINDS) - worth]}-{_stamp(self._clock.time_ns())}-{self._boot}-{self._number:06}"
        lines, files = self._made(candidates, name)
        if not lines:
            return 0
        sizes = [len(data) for data in files.values()]
        size = sum(_blocks(n) for n in (sum(map(len, lines)), *sizes))
        if size > self._most:
            half = len(candidates) // 2
            return self.write(candidates[:half], worth) + self.write(candidates[half:], worth)
        self._make_room(size, worth)
        self._written += size
        self._count()
        try:
            self._write(name, b"".join(lines), files)
        except OSError:
            self._remove(name, files)
            raise
        self._segments[name] = Segment(name, worth, self._number, [f"{name}.jsonl", *files], size)
        self._seen_ns = self._folder.stat().st_mtime_ns
        return len(lines)

    def _write(self, name: str, lines: bytes, files: dict[str, bytes]) -> None:
        for file, data in files.items():
            fd = os.open(self._folder / file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(fd)
        with atomic.replacing(self._folder / f"{name}.jsonl", 0o600) as stream:
            stream.write(lines)

    def _made(self, candidates: Sequence[Candidate], name: str) -> tuple[list[bytes], dict[str, bytes]]:
        """Lines, and files by name."""
        lines, files = [], {}
        for number, candidate in enumerate(candidates):
            try:
                line, file, data = made(candidate, f"{name}-{number:04}")
                if (size := _blocks(len(line)) + _blocks(len(data))) > self._most:
                    most = f"--capture-max is {self._most / 1e6:.3g} MB"
                    raise SampleError(f"{size / 1e6:.3g} MB in one sample; {most}")
            except SampleError as exc:
                if not self._refused:
                    log.warning("a sample was not kept", extra={"id": candidate.result.id, "reason": str(exc)})
                self._refused = True
                continue
            lines.append(line)
            if file:
                files[file] = data
        return lines, files

    def _make_room(self, size: int, worth: int) -> None:
        now = self._clock.monotonic_ns()
        if now - self._day_ns >= DAY_NS:
            self._day_ns, self._written = now, 0
        if self._written + size > WRITES_A_DAY * self._most:
            text = f"{self._written / 1e6:,.0f} MB were written within a day, the card is spared for the rest of it"
            raise OSError(errno.EDQUOT, f"{text}; a narrower rule keeps less")
        going = list(self._going(size))
        if any(segment.worth > worth for segment in going):
            raise NoRoomError("all that is kept is worth more")
        space = self._space(self._folder)
        spare = min(SPARE_BYTES, int(SPARE_SHARE * space.f_blocks * space.f_frsize))
        if space.f_bavail * space.f_frsize + sum(s.size for s in going) - size < spare:
            raise OSError(errno.ENOSPC, f"no space left on device, of which {spare / 1e6:.3g} MB are left to others")
        for segment in going:
            self._drop(segment)

    def _going(self, size: int) -> Iterator[Segment]:
        """Those that make room for so many bytes."""
        used = self.size
        for segment in sorted(self._segments.values(), key=lambda s: (s.worth, s.number)):
            if used + size <= self._most:
                return
            used -= segment.size
            yield segment

    def _drop(self, segment: Segment) -> None:
        """The lines first: what no line names is taken away at the next start."""
        for file in segment.files:
            (self._folder / file).unlink(missing_ok=True)
        del self._segments[segment.name]

    def _remove(self, name: str, files: dict[str, bytes]) -> None:
        for file in (f"{name}.jsonl", *files):
            try:
                (self._folder / file).unlink(missing_ok=True)
            except OSError as exc:
                log.debug("left behind", extra={"file": file, "reason": exc.strerror})

    def _read(self) -> None:
        """What is there of ours."""
        self._segments = {}
        self._seen_ns = self._folder.stat().st_mtime_ns
        with os.scandir(self._folder) as entries:
            for entry in sorted(entries, key=lambda e: not e.name.endswith(".jsonl")):
                match = OURS.fullmatch(entry.name)
                if match is None or not entry.is_file(follow_symlinks=False):
                    continue
                name, worth = match["name"], len(KINDS) - _NAMES.index(match["rule"])
                self._number = max(self._number, int(match["number"]))
                segment = self._segments.setdefault(name, Segment(name, worth, int(match["number"]), []))
                segment.files.append(entry.name)
                segment.size += _blocks(entry.stat(follow_symlinks=False).st_size)

    def _tell(self) -> None:
        path = self._folder / ABOUT
        if not path.is_file() or path.read_bytes() != self._about:
            with atomic.replacing(path, 0o600) as file:
                file.write(self._about)

    def _go_on(self) -> None:
        """With the day that a life before has begun. By the system's clock: what it says is over is over, and a day
        that it has not seen yet begins now."""
        day = state_file.read(self._folder / WRITTEN, Day)
        if day is None:
            return
        past_ns = max(0, self._clock.time_ns() - day.began_ns)
        if past_ns < DAY_NS and day.bytes > self._written:
            self._day_ns, self._written = self._clock.monotonic_ns() - past_ns, day.bytes

    def _count(self) -> None:
        """Before it is written, and not synced by itself: the segment's own sync of the folder takes it along."""
        began_ns = self._clock.time_ns() - (self._clock.monotonic_ns() - self._day_ns)
        partial = self._folder / f"{WRITTEN}.partial"
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(msgspec.json.encode(Day(began_ns, self._written)))
        partial.replace(self._folder / WRITTEN)

    def _clear(self) -> None:
        """Takes away what a power cut left half."""
        for segment in list(self._segments.values()):
            if f"{segment.name}.jsonl" not in segment.files:
                self._drop(segment)
            for file in [f for f in segment.files if f.endswith(".partial")]:
                (self._folder / file).unlink(missing_ok=True)
                segment.files.remove(file)


def _blocks(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _stamp(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // SECOND_NS, UTC).strftime("%Y%m%dT%H%M%S")
