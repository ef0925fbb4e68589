"""Video files: every picture, in order, then the end."""

from __future__ import annotations

from pathlib import Path

from edge.data.sample import Image, Sample
from edge.errors import ConfigError, EndOfStream, SourceError
from edge.plugins.protocols import SourceContext
from edge.sources.video.opencv import Capture, opencv


class VideoFile:
    """A file that ends before the count of pictures in its header is a source that broke off."""

    live = False

    def __init__(self, path: Path, context: SourceContext) -> None:
        self._path, self._context = path, context
        self._capture: Capture | None = None
        self._given = self._promised = 0

    def open(self) -> None:
        cv2 = opencv()
        if not self._path.is_file():
            raise ConfigError(f"--source {self._path}: there is no such file")
        capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            capture.release()
            raise ConfigError(
                f"--source {self._path}: not a video that can be read (damaged, or a codec that is not there)"
            )
        self._capture = Capture(cv2, capture)
        self._given, self._promised = 0, self._capture.frames()

    def read(self, timeout_s: float) -> Sample | None:
        if self._capture is None:
            raise EndOfStream(str(self._path))
        pixels = self._capture.read()
        if pixels is None:
            # Some containers round their count; a picture or two less is no damage.
            if self._given < self._promised - max(2, self._promised // 50):
                raise SourceError(
                    f"{self._path}: the video ends in the middle, after {self._given} of {self._promised} pictures"
                )
            raise EndOfStream(str(self._path))
        self._given += 1
        clock = self._context.clock
        image = Image(self._capture.to_rgb(pixels))
        return Sample(image, str(self._path), clock.monotonic_ns(), clock.time_ns())

    def ack(self, sample: Sample) -> None:
        """A picture cannot be asked for again: nothing to say."""

    def close(self) -> None:
        if self._capture is not None:
            self._capture.close()
            self._capture = None


def create(rest: str, context: SourceContext) -> VideoFile:
    """`rest` is the path."""
    opencv()
    return VideoFile(Path(rest), context)
