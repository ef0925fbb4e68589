"""Files that are one input each: a picture, a folder or a glob of them; `--watch` goes on looking for new ones."""

from __future__ import annotations

import glob
import time
from collections import deque
from pathlib import Path

from edge.data.sample import Sample
from edge.errors import ConfigError, EndOfStream, SampleError
from edge.plugins.contexts import SourceContext
from edge.plugins.declarations import SourceInfo
from edge.storage.places import Places, stamp

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".npy", ".json", ".wav"})
MAX_BYTES = 256 * 2**20
SCAN_EVERY_S = 0.5


class FileSource:
    """In the order of their names. While watching, a file counts once its size stood still for one look."""

    live = False
    repeats = True

    def __init__(self, pattern: str, context: SourceContext) -> None:
        self._pattern = pattern
        self._context = context
        self._waiting: deque[Path] = deque()
        self._seen: dict[Path, tuple[int, int]] = {}
        self._growing: dict[Path, tuple[int, int]] = {}
        self._opened = False

    def open(self) -> None:
        files = self._list()
        if not files and not self._context.watch:
            raise ConfigError(
                f"--source {self._pattern}: no such file, and no folder or glob with "
                f"{', '.join(sorted(SUFFIXES))} files in it; add --watch to wait for some"
            )
        if not self._opened:
            self._opened = True
            self._waiting.extend(files)
            self._seen = {p: stamp(p) for p in files}

    def _list(self) -> list[Path]:
        path = Path(self._pattern)
        if path.is_dir():
            return sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
        if path.is_file():
            return [path]
        return sorted(p for p in map(Path, glob.glob(self._pattern, recursive=True)) if p.is_file())  # noqa: PTH207

    def read(self, timeout_s: float) -> Sample | None:
        if not self._waiting:
            if not self._context.watch:
                raise EndOfStream(self._pattern)
            self._look()
            if not self._waiting:
                time.sleep(min(SCAN_EVERY_S, timeout_s))  # how often a folder is looked at, not a wait for a thing
                return None
        path = self._waiting.popleft()
        clock = self._context.clock
        digest = Places(path).digest(0)
        return Sample(content(path), str(path), clock.monotonic_ns(), clock.time_ns(), digest=digest)

    def _look(self) -> None:
        now = {p: stamp(p) for p in self._list()}
        fresh = {p: s for p, s in now.items() if self._seen.get(p) != s}
        still = [p for p, s in fresh.items() if self._growing.get(p) == s]
        self._growing = fresh
        self._seen = {p: s for p, s in self._seen.items() if p in now}
        for path in still:
            self._seen[path] = fresh[path]
            self._waiting.append(path)

    def close(self) -> None:
        """Nothing stays open."""


def content(path: Path) -> bytes:
    """What is in a file that is one input. Raises SampleError."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SampleError(f"{path}: larger than {MAX_BYTES // 2**20} MB")
        data = path.read_bytes()
    except OSError as exc:
        raise SampleError(f"{path}: {exc.strerror}") from exc
    if not data:
        raise SampleError(f"{path}: the file is empty")
    return data


def create(rest: str, context: SourceContext) -> FileSource:
    """`rest` is a path, a folder or a glob."""
    return FileSource(rest, context)


SOURCE = SourceInfo(edge_api=1, create=create, usage="folder/", reads_path=True)
PICTURES = SourceInfo(
    edge_api=1,
    create=create,
    usage="picture.jpg",
    gives="pictures",
    reads_path=True,
    packages=("opencv-python-headless",),
)
