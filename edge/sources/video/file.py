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
from edge.sources.video.opencv import OPENCV, Capture, opencv
from edge.storage.places import Places

TRIES = 10_000
"""Reads in a row that give no picture before the file counts as ended; behind the end each takes a microsecond."""
HEAD = 4096
"""Bytes; the element that holds a Matroska file begins within them."""
_SEGMENT = b"\x18\x53\x80\x67"
_QUICKTIME = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


class Container:
    """What the head of a video file says that OpenCV does not tell. Raises OSError where it cannot be read."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._head = file.read(HEAD)
        self._size = path.stat().st_size

    @property
    def counts(self) -> bool:
        """Whether it has the number of its pictures. Of Matroska and WebM OpenCV makes one of length and rate, and
        that of an .avi counts places that hold none."""
        return self._head[4:8] in _QUICKTIME

    @property
    def is_avi(self) -> bool:
        """Behind a damaged place its times count on as if nothing were missing."""
        return self._head[:4] == b"RIFF" and self._head[8:12] == b"AVI "

    @property
    def cut(self) -> bool | None:
        """Whether it is shorter than its head says; None where that says nothing of it."""
        head = self._head
        if self.is_avi:
            return int.from_bytes(head[4:8], "little") + 8 > self._size
        at = head.find(_SEGMENT) + len(_SEGMENT)
        if head[:4] == b"\x1a\x45\xdf\xa3" and len(_SEGMENT) <= at < HEAD - 8 and head[at]:
            length = 9 - head[at].bit_length()  # a number says by its leading zeros how many bytes it takes
            mask = (1 << 7 * length) - 1
            size = int.from_bytes(head[at : at + length], "big") & mask
            return None if size == mask else at + length + size > self._size  # all ones: written as it came
        return None


ROUNDED_MS = 1.5
"""Matroska's times are whole milliseconds."""
OFF = 0.2
"""Share of a step by which a picture may stand beside it."""
MOST_OFF = 0.05
"""Share of pictures that may, in a file of one rate: times behind a damaged place may be wrong."""
FEW = 5


class Pace:
    """Whether the pictures of a file come at the rate that its container says.

    Matroska and WebM hold no count of pictures, and that of an .avi counts places that hold none: OpenCV's count is
    length times rate, or such places. It is right where every picture stands one step of the rate behind the one
    before. Recorders of screens and browsers write none where nothing moved.
    """

    def __init__(self, rate: float) -> None:
        """`rate`: pictures a second, as the container says; 0 where it does not."""
        self._step_ms = 1000 / rate if rate > 0 else 0.0
        self._first_ms = 0.0
        self._last_ms: float | None = None
        self._steps = self._ones = self._irregular = 0

    def came(self, at_ms: float) -> None:
        """A picture, in the order of their times."""
        last_ms, self._last_ms = self._last_ms, at_ms
        if last_ms is None:
            self._first_ms = at_ms
        if last_ms is None or not self._step_ms:
            return
        steps = round((at_ms - last_ms) / self._step_ms)
        self._steps += 1
        self._ones += steps <= 1
        beside_ms = abs(at_ms - last_ms - steps * self._step_ms)
        self._irregular += beside_ms > max(ROUNDED_MS, OFF * self._step_ms)

    @property
    def varies(self) -> bool:
        """Pictures come at no rate, or at none that the container knows."""
        if self._steps < FEW:
            return False
        return not self._ones or self._irregular > MOST_OFF * self._steps

    @property
    def room(self) -> int:
        """How many pictures there would be up to the last one, at the rate."""
        if self._last_ms is None or not self._step_ms:
            return 0
        return round((self._last_ms - self._first_ms) / self._step_ms) + 1


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
