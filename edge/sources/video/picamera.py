"""`picamera:N`: a camera of the Raspberry Pi by picamera2.

picamera2 comes with Raspberry Pi OS (`apt install python3-picamera2`), not from a package index: a virtual
environment sees it when it is made with `python3 -m venv --system-site-packages`. Options: `width`, `height`,
`fps`, as in `picamera:0?width=640&height=480`.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from edge.data.tensor import Array
from edge.errors import ConfigError, UnavailableError
from edge.plugins.contexts import SourceContext
from edge.plugins.declarations import SourceInfo
from edge.sources.video.live import LiveSource

OPTIONS = ("width", "height", "fps")


def _library() -> Any:
    try:
        import picamera2
    except ImportError:
        raise ConfigError(
            "the picamera source needs picamera2: sudo apt install python3-picamera2, and a virtual environment made "
            "with python3 -m venv --system-site-packages"
        ) from None
    return picamera2


class PiCamera:
    """One camera, streaming."""

    def __init__(self, camera: Any) -> None:
        self._camera = camera

    def read(self) -> Array | None:
        """The next picture."""
        try:
            return np.asarray(self._camera.capture_array("main"))
        except RuntimeError:
            return None

    def to_rgb(self, pixels: Array) -> Array:
        """libcamera's BGR888 is RGB in memory; only a copy without padding is needed."""
        return np.ascontiguousarray(pixels[:, :, :3])

    def close(self) -> None:
        """Stops the stream and gives the camera back."""
        self._camera.stop()
        self._camera.close()


class _Start:
    def __init__(self, library: Any, number: int, options: dict[str, int]) -> None:
        self._library, self._number, self._options = library, number, options

    def __call__(self) -> PiCamera:
        try:
            camera = self._library.Picamera2(self._number)
            size = (self._options.get("width", 640), self._options.get("height", 480))
            controls = {"FrameRate": self._options["fps"]} if "fps" in self._options else {}
            camera.configure(
                camera.create_video_configuration(main={"size": size, "format": "BGR888"}, controls=controls)
            )
            camera.start()
        except (RuntimeError, IndexError) as exc:
            raise UnavailableError(f"the camera does not start: {exc}") from exc
        return PiCamera(camera)


def create(rest: str, context: SourceContext) -> LiveSource:
    """`rest` is a number and options. Raises ConfigError."""
    number, _, query = rest.partition("?")
    options = dict(parse_qsl(query))
    if not (number or "0").isdigit() or any(k not in OPTIONS or not v.isdigit() for k, v in options.items()):
        raise ConfigError(f"--source picamera:{rest}: say picamera:0 or picamera:0?width=640&height=480&fps=30")
    start = _Start(_library(), int(number or 0), {k: int(v) for k, v in options.items()})
    return LiveSource(f"picamera:{number or 0}", start, context.clock)


SOURCE = SourceInfo(
    edge_api=1,
    create=create,
    usage="picamera:0",
    gives="pictures",
    devices=("char-video4linux", "char-media", "char-dma_heap"),
    groups=("video",),
    fix="is it plugged in, and used by nobody else? rpicam-hello --list-cameras; sudo usermod -aG video $USER",
)
