"""Lines of JSON: standard input (`-`) and `.jsonl` files. One line is one input of the contract.

Where a picture, a sound or an array begins instead of a line, it goes on to its own end, for its bytes hold newlines
too: several may follow one another. One that does not say where it ends goes on to the end of the input.
"""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path

from edge.data import boundaries, magic
from edge.data.sample import Sample
from edge.errors import ConfigError, EndOfStream, SampleError, SourceError
from edge.plugins.contexts import SourceContext
from edge.plugins.declarations import SourceInfo
from edge.plugins.protocols import Clock
from edge.storage.places import Places

CHUNK = 65536
MAX_LINE = 64 * 2**20


class LineSource:
    """Reads without blocking past the timeout, splits at newlines, skips empty lines."""

    live = False
    repeats = True

    def __init__(self, path: Path | None, name: str, clock: Clock, *, max_line: int = MAX_LINE) -> None:
        """`path` None: standard input. A line longer than `max_line` bytes is skipped whole."""
        self.ready = path is not None and path.is_file()
        self._places = Places(path or Path(name))
        self._path = path
        self._name = name
        self._clock = clock
        self._max_line = max_line
        self._fd: int | None = None
        self._buffer = bytearray()
        self._scanned = 0
        self._discarding = False
        self._ended = False
        self._behind_file = False
        self._line = 0

    def open(self) -> None:
        if self._path is None:
            self._fd = sys.stdin.fileno()
            return
        if self._path.is_dir():
            raise ConfigError(f"--source {self._name}: a folder; end its name with / to read the files in it")
        try:
            # A pipe without a writer would hold up the thread, and the end with it; `select` waits for one.
            self._fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as exc:
            raise ConfigError(f"--source {self._name}: {exc.strerror}; check the path") from exc

    def read(self, timeout_s: float) -> Sample | None:
        while True:
            line = self._next_line()
            if line is None:
                if self._ended:
                    raise EndOfStream(self._name)
                if not self._fill(timeout_s):
                    return None
                continue
            if line.strip():
                digest = self._places.digest(self._line, line)
                now_ns, time_ns = self._clock.monotonic_ns(), self._clock.time_ns()
                return Sample(line, self._name, now_ns, time_ns, token=self._line, digest=digest)
            self._skip_empty()

    def _skip_empty(self) -> None:
        """More of them, behind one, at once: millions, each by itself, would hold up for a minute the thread that has
        a connection to keep alive."""
        size = len(self._buffer) - len(self._buffer.lstrip(b"\r\n"))
        self._line += self._buffer.count(b"\n", 0, size)
        del self._buffer[:size]

    def _next_line(self) -> bytes | None:
        if self._behind_file and not self._at_input():
            return None
        if self._is_binary():
            size = boundaries.end(self._buffer)
            if size is not None:
                return self._take(size, size)
            at = -1
        else:
            at = self._buffer.find(b"\n", self._scanned)
        if at < 0:
            self._scanned = len(self._buffer)
            if self._scanned > self._max_line:
                self._discarding = True
                self._buffer.clear()
                self._scanned = 0
            if not (self._ended and self._buffer):
                return self._too_long() if self._ended and self._discarding else None
            at = len(self._buffer)
        return self._take(at, at + 1)

    def _take(self, size: int, upto: int) -> bytes:
        """The first `size` bytes; what is held begins behind `upto` then."""
        self._behind_file = upto == size
        line = bytes(self._buffer[:size])
        del self._buffer[:upto]
        self._scanned = 0
        self._line += 1
        return self._too_long() if self._discarding or len(line) > self._max_line else line

    def _at_input(self) -> bool:
        """False where nothing is left behind a file. Raises SampleError for bytes that are no input."""
        del self._buffer[: boundaries.padding(self._buffer)]
        if not self._buffer:
            return False
        head = bytes(self._buffer[:64])
        if head[:1] in (b"{", b"[") or self._is_binary():
            self._behind_file = False
            return True
        if len(head) < magic.LONGEST and not self._ended:
            return False
        at = boundaries.start(self._buffer)
        if at is None and not self._ended and len(self._buffer) < self._max_line:
            return False
        count = len(self._buffer) if at is None else at
        del self._buffer[:count]
        raise SampleError(f"{count} bytes behind input {self._line} are no input: left out")

    def _is_binary(self) -> bool:
        """True where what comes next is no line."""
        head = bytes(self._buffer[:64])
        if head[:1] in (b"{", b"[", b"") or self._discarding:
            return False
        return magic.is_wav(head) or magic.is_npy(head) or magic.picture(head) is not None

    def _too_long(self) -> bytes:
        self._discarding = False
        raise SampleError(f"line {self._line}: longer than {self._max_line / 1e6:.0f} MB; send smaller inputs")

    def _fill(self, timeout_s: float) -> bool:
        """True when something changed: bytes came, or the end."""
        if self._fd is None:
            raise SourceError(f"{self._name}: read before open")
        try:
            ready, _, _ = select.select([self._fd], [], [], timeout_s)
            if not ready:
                return False
            chunk = os.read(self._fd, CHUNK)
        except OSError as exc:
            raise SourceError(f"--source {self._name}: {exc.strerror} after line {self._line}") from exc
        if chunk:
            self._buffer += chunk
        else:
            self._ended = True
        return True

    def close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None and self._path is not None:
            os.close(fd)


def create(rest: str, context: SourceContext) -> LineSource:
    """`rest` is "-" or the path of a .jsonl file."""
    return LineSource(None if rest == "-" else Path(rest), rest if rest != "-" else "stdin", context.clock)


SOURCE = SourceInfo(edge_api=1, create=create, usage="rows.jsonl", reads_path=True)
