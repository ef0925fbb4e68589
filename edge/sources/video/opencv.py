"""OpenCV's capture, opened so that it neither hangs for long nor writes to stderr."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from edge.data.tensor import Array
from edge.errors import Needing

OPENCV = ("opencv-python-headless",)
"""The distribution."""


def opencv() -> Any:
    """The library. Raises ConfigError where it is not installed."""
    # Both are read once, at the first capture: without them each broken frame is a line on stderr.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    # What the kernel's driver may take for one picture, in seconds, before `read` gives up.
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "5")
    with Needing("a camera, a stream or a video", "OpenCV", "vision"):
        import cv2
    return cv2


class Capture:
    """A `cv2.VideoCapture` whose pictures are RGB, height x width x 3, uint8."""

    def __init__(self, cv2: Any, capture: Any) -> None:
        self._cv2, self._capture = cv2, capture

    def read(self) -> Array | None:
        """The next picture; None where there is none: the end, or a device that went away. May block for seconds."""
        ok, pixels = self._capture.read()
        return np.asarray(pixels) if ok and pixels is not None else None

    def to_rgb(self, pixels: Array) -> Array:
        """What `read` gave, as RGB."""
        if pixels.ndim == 2 or pixels.shape[2] == 1:
            return np.asarray(self._cv2.cvtColor(pixels, self._cv2.COLOR_GRAY2RGB))
        return np.asarray(self._cv2.cvtColor(pixels, self._cv2.COLOR_BGR2RGB))

    def size(self) -> tuple[int, int]:
        """Height and width of the pictures, as their container says."""
        height, width = self._cv2.CAP_PROP_FRAME_HEIGHT, self._cv2.CAP_PROP_FRAME_WIDTH
        return int(self._capture.get(height)), int(self._capture.get(width))

    def frames(self) -> int:
        """How many pictures a file says it holds; 0 where it does not."""
        return max(0, int(self._capture.get(self._cv2.CAP_PROP_FRAME_COUNT)))

    def at_ms(self) -> float:
        """Where in a file the picture stands that was read last; 0 where it does not say."""
        return float(self._capture.get(self._cv2.CAP_PROP_POS_MSEC))

    def rate(self) -> float:
        """Pictures a second, as a file says; 0 where it does not."""
        return float(self._capture.get(self._cv2.CAP_PROP_FPS))

    def last_ms(self) -> float:
        """Where in a file its last picture stands, less one; 0 where it does not say."""
        rate = self.rate()
        return max(0.0, (self.frames() - 3) * 1000 / rate) if rate > 0 else 0.0

    def close(self) -> None:
        """Releases the device. Not while another thread reads."""
        self._capture.release()
