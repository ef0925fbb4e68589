"""Motion JPEG: OpenCV hands over each picture as its bytes, and the decoder of pictures reads them.

OpenCV's own decoder fills what it cannot read of a damaged picture and calls it a picture; ours tells of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge.data.tensor import Array
from edge.errors import SampleError
from edge.preprocess.image.decode import decode
from edge.sources.video.opencv import Capture

TRIES = 10
"""Pictures that are looked at for one that is whole, before OpenCV decodes them all."""


class MotionJpeg(Capture):
    """`read` raises SampleError for a damaged picture, and gives RGB."""

    def read(self) -> Array | None:
        packet = super().read()
        return None if packet is None else decode(packet.tobytes())

    def to_rgb(self, pixels: Array) -> Array:
        return pixels


def capture(cv2: Any, path: Path) -> MotionJpeg | None:
    """The file, opened; None where it holds something else, or pictures that only OpenCV puts together.

    Such are fields of two halves, and pictures that the container turns.
    """
    made = _open(cv2, path)
    if made is None:
        return None
    first, size = _first(made), made.size()
    made.close()
    return _open(cv2, path) if first is not None and first.shape[:2] == size else None


def _open(cv2: Any, path: Path) -> MotionJpeg | None:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    is_jpeg = int(capture.get(cv2.CAP_PROP_FOURCC)) == cv2.VideoWriter.fourcc(*"MJPG")
    turned = capture.get(cv2.CAP_PROP_ORIENTATION_META)
    if is_jpeg and not turned and capture.set(cv2.CAP_PROP_FORMAT, -1):
        return MotionJpeg(cv2, capture)
    capture.release()
    return None


def _first(made: MotionJpeg) -> Array | None:
    for _ in range(TRIES):
        try:
            return made.read()
        except SampleError:
            continue
    return None
