"""`--save-frames DIR`: pictures beside their results, for people who would rather look; `--annotate` draws on them.

Called by the infer thread after a result was handed over. The folder is bounded in bytes: the oldest of our
pictures go first. A picture that cannot be written (a full card) is counted and said once, and costs no result.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge.data import magic
from edge.data.picture import picture_of
from edge.data.result import Result, Skipped
from edge.data.sample import EncodedImage, Sample
from edge.errors import ConfigError, SampleError
from edge.overlay import annotate

if TYPE_CHECKING:
    from edge.tracking.stage import Places

log = logging.getLogger("edge.frames")

PREFIX = "frame-"


class FrameSaver:
    """Used by one thread. What is no picture is passed over."""

    def __init__(self, folder: Path, max_bytes: int, *, annotate: bool, places: Places | None = None) -> None:
        """`places`: zones and lines to be drawn with `annotate`."""
        self._places = places
        self._folder, self._max_bytes, self._annotate = folder, max_bytes, annotate
        self._kept: deque[tuple[Path, int]] = deque()
        self._bytes = 0
        self.failed = 0
        """Pictures that could not be written."""

    def open(self) -> None:
        """Raises ConfigError where the folder cannot be used. Pictures of an earlier run count."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            files = sorted(self._folder.glob(f"{PREFIX}*"), key=lambda p: p.stat().st_mtime_ns)
            self._kept = deque((p, p.stat().st_size) for p in files)
        except OSError as exc:
            raise ConfigError(
                f"--save-frames {self._folder}: {exc.strerror}; name a folder that can be written"
            ) from exc
        self._bytes = sum(size for _, size in self._kept)

    def __call__(self, sample: Sample, outcomes: Sequence[Result | Skipped]) -> None:
        results = [o for o in outcomes if isinstance(o, Result)]
        if len(results) != 1:
            return
        try:
            data = self._encoded(sample, results[0])
        except SampleError:
            return
        if data is not None:
            stamp = results[0].time.replace(":", "-")
            self._write(self._folder / f"{PREFIX}{stamp}-{results[0].seq}{magic.picture_suffix(data[:64])}", data)

    def _encoded(self, sample: Sample, result: Result) -> bytes | None:
        picture = picture_of(sample.payload)
        if isinstance(picture, EncodedImage):
            return annotate.draw(picture, result, self._places) if self._annotate else picture.data
        if picture is None:
            return None
        return annotate.encode(annotate.on(picture.pixels, result, self._places) if self._annotate else picture.pixels)

    def _write(self, path: Path, data: bytes) -> None:
        try:
            while self._kept and self._bytes + len(data) > self._max_bytes:
                oldest, size = self._kept.popleft()
                oldest.unlink(missing_ok=True)
                self._bytes -= size
            if len(data) <= self._max_bytes:
                path.write_bytes(data)
                self._kept.append((path, len(data)))
                self._bytes += len(data)
        except OSError as exc:
            self.failed += 1
            if self.failed == 1:
                log.warning("a picture was not saved", extra={"path": str(path), "reason": exc.strerror})
