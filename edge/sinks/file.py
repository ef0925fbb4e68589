"""Results into a file of JSON lines. A line is whole or not there, also when the disk fills up in its middle."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from edge.errors import ConfigError, SpoolError, UnavailableError
from edge.plugins.contexts import SinkContext
from edge.plugins.declarations import SinkInfo
from edge.plugins.protocols import Entry, SinkEvents
from edge.plugins.reach import Reached


class FileSink:
    """Appends. What the system has taken counts as confirmed; it reaches the disk when the system writes it."""

    window = 64
    durable = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._events: SinkEvents | None = None
        self._fd: int | None = None

    def open(self, events: SinkEvents) -> None:
        self.close()
        self._events = events
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            self._end_line(self._fd)
        except OSError as exc:
            raise UnavailableError(f"--sink file:{self._path}: {exc.strerror}") from exc

    def reach(self) -> Reached:
        """See `ReachableSink`; makes no file."""
        there = self._path.exists()
        if not os.access(self._path if there else self._path.parent, os.W_OK):
            fix = "make it writable for this user, or say another path"
            return Reached(str(self._path), "this user may not write there: results will wait in the spool", fix)
        return Reached(
            f"{self._path}, " + ("goes on behind what is there" if there else "is made with the first result")
        )

    @staticmethod
    def _end_line(fd: int) -> None:
        """A line that was cut off by a power cut is closed, so that the next one is whole."""
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            os.write(fd, b"\n")

    def send(self, entry: Entry) -> None:
        if self._fd is None:
            raise UnavailableError(f"--sink file:{self._path}: not open")
        if entry.message.kind == "result":
            self._write(self._fd, entry.payload + b"\n")
        if self._events is not None:
            self._events.confirmed([entry.key])

    def _write(self, fd: int, line: bytes) -> None:
        start = os.fstat(fd).st_size
        try:
            written = os.write(fd, line)
            while written < len(line):
                written += os.write(fd, line[written:])
        except OSError as exc:
            with contextlib.suppress(OSError):  # a pipe or a device cannot be cut
                os.ftruncate(fd, start)
            raise UnavailableError(f"--sink file:{self._path}: {exc.strerror}") from exc

    def close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


def create(rest: str, context: SinkContext) -> FileSink:
    """`rest` is the path. Raises ConfigError where there is none, SpoolError where it cannot be meant.

    Whatever may mend itself while results wait (a full disk, one that is read-only, rights) is none of that: a folder
    that is not there is mostly a slip, and where a disk is mounted late, another start finds it.
    """
    if not rest:
        raise ConfigError("--sink file: has no path; say file:results.jsonl")
    path = Path(rest.removeprefix("//"))
    if path.is_dir():
        raise SpoolError(f"--sink file:{path}: that is a folder; say file:{path / 'results.jsonl'}")
    if not path.parent.is_dir():
        raise SpoolError(f"--sink file:{path}: there is no folder {path.parent}; make it, or check the path")
    return FileSink(path)


SINK = SinkInfo(edge_api=1, create=create, usage="file:out.jsonl", writes_path=True)
