"""Video files: every picture, in order, then the end."""

from __future__ import annotations

from pathlib import Path

from edge.data.sample import Image, Sample
from edge.data.tensor import Array
from edge.data.units import SECOND_NS
from edge.errors import ConfigError, EndOfStream, SampleError, SourceError
from edge.plugins.contexts import SourceContext
from edge.plugins.declarations import SourceInfo
from edge.sources.video import mjpeg
from edge.sources.video.container import Container
from edge.sources.video.opencv import OPENCV, Capture, opencv
from edge.sources.video.pace import Pace
from edge.storage.places import Places

TRIES = 10_000
"""Reads in a row that give no picture before the file counts as ended; behind the end each takes a microsecond."""


class VideoFile:
    """A picture that cannot be read is told once, and the video goes on behind it.

    Of codecs other than motion JPEG only those are told that OpenCV drops: its decoder hides damage inside of one.

    A file that ends before the count of pictures in its header is a source that broke off. Where the count is none, for
    pictures come at no constant rate, nothing is told of it.
    """

    live = False
    repeats = True

    def __init__(self, path: Path, context: SourceContext) -> None:
        self._path, self._context = path, context
        self._capture: Capture | None = None
        self._places = Places(path)
        self._given = self._damaged = self._promised = 0
        self._at_ms = 0.0
        self._pace = Pace(0.0)
        self._held: Array | None = None
        self._went_on = False

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
        motion_jpeg = mjpeg.capture(cv2, self._path)
        if motion_jpeg is not None:
            capture.release()
        self._capture = motion_jpeg or Capture(cv2, capture)
        self._given = self._damaged = 0
        self._promised = self._capture.frames()
        self._pace = Pace(self._capture.rate())
        self._places.open()
        self._at_ms, self._held, self._went_on = 0.0, None, False

    def read(self, timeout_s: float) -> Sample | None:
        """Raises SampleError where pictures are damaged, SourceError where the file breaks off."""
        capture = self._capture
        if capture is None:
            raise EndOfStream(str(self._path))
        pixels, self._held = self._held, None
        if pixels is None:
            try:
                pixels = capture.read()
            except SampleError as exc:
                self._damaged += 1
                raise SampleError(f"{self._path}: picture {self._given + self._damaged}: {exc}") from exc
        if pixels is None:
            self._held = self._behind(capture)
            self._went_on = True
            raise SampleError(f"{self._path}: damaged behind picture {self._given}; the video goes on behind it")
        self._given += 1
        self._at_ms = capture.at_ms()
        self._pace.came(self._at_ms)
        clock = self._context.clock
        image = Image(capture.to_rgb(pixels))
        at_ns = int(self._at_ms * SECOND_NS / 1000)
        digest = self._places.digest(self._given)
        return Sample(image, str(self._path), clock.monotonic_ns(), clock.time_ns(), digest=digest, at_ns=at_ns)

    def _behind(self, capture: Capture) -> Array:
        """The next picture that can be read. Raises SampleError, SourceError, EndOfStream where there is none."""
        for _ in range(min(TRIES, max(self._promised - self._given - self._damaged, 1))):
            try:
                pixels = capture.read()
            except SampleError:
                continue  # one of those that are missing
            if pixels is not None:
                return pixels
        raise self._end(capture)

    def _end(self, capture: Capture) -> EndOfStream | SampleError | SourceError:
        """What is to be said where nothing comes any more."""
        # Some containers round their count; a picture or two less is no damage.
        missing = self._promised - self._given - self._damaged
        if missing <= max(2, self._promised // 50):
            return EndOfStream(str(self._path))
        container = Container(self._path)
        early = self._at_ms < (capture.last_ms() or float("inf"))
        if not self._went_on and (container.cut or (container.cut is None and container.counts and early)):
            return SourceError(
                f"{self._path}: the video ends in the middle, after {self._given} of {self._promised} pictures"
            )
        if container.counts:
            self._promised = 0  # told once
            lost = missing + self._damaged
            return SampleError(f"{self._path}: {lost} of {lost + self._given} pictures could not be read")
        if container.cut is None and not self._went_on and early:
            self._promised = 0
            return SampleError(
                f"{self._path}: its last picture stands at {self._at_ms / 1000:.1f} s and its end lies behind that: "
                "the file is cut, or holds no later one"
            )
        room = self._promised if container.is_avi else min(self._promised, self._pace.room)
        few = room - self._given - self._damaged <= max(2, room // 50)
        self._promised = 0
        if few or (self._pace.varies and not self._went_on):
            return EndOfStream(str(self._path))
        return SampleError(
            f"{self._path}: there is room for {room} pictures, {self._given} could be read: the others are damaged, or "
            "were never there, for this kind of file does not say how many it holds"
        )

    def close(self) -> None:
        if self._capture is not None:
            self._capture.close()
            self._capture = None


def create(rest: str, context: SourceContext) -> VideoFile:
    """`rest` is the path."""
    opencv()
    return VideoFile(Path(rest), context)


SOURCE = SourceInfo(edge_api=1, create=create, usage="video.mp4", gives="pictures", reads_path=True, packages=OPENCV)
