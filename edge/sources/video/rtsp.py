"""`rtsp://...`: the newest picture of a network camera, by OpenCV's FFmpeg over TCP."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlsplit

from msgspec.structs import replace

from edge.errors import ConfigError, UnavailableError
from edge.plugins.contexts import SourceContext
from edge.plugins.declarations import SourceInfo
from edge.remote.address import without_credentials
from edge.sources.video.live import LiveSource
from edge.sources.video.opencv import OPENCV, Capture, opencv

OPEN_MS = 10_000
READ_MS = 5_000


class Stream:
    """How a stream is opened: `Stream(...)()` does it."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self) -> Capture:
        """Raises UnavailableError."""
        cv2 = opencv()
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_MS]
        capture = cv2.VideoCapture(self._url, cv2.CAP_FFMPEG, limits)
        if not capture.isOpened():
            capture.release()
            raise UnavailableError("the stream does not open: check the address, the password and the network")
        return Capture(cv2, capture)


def create(scheme: str, rest: str, context: SourceContext) -> LiveSource:
    """`rest` is the address without its scheme, `//host...`. Raises ConfigError."""
    url = f"{scheme}:{rest}"
    name = without_credentials(url)
    try:
        parts = urlsplit(url)
        known = bool(parts.hostname) and parts.port != 0  # a port that is no number raises
    except ValueError:
        known = False
    if not known:
        raise ConfigError(f"--source {name}: not an address like rtsp://user:password@host:554/stream")
    opencv()
    return LiveSource(name, Stream(url), context.clock, stall_s=2 * READ_MS / 1000)


SOURCE = SourceInfo(
    edge_api=1,
    create=partial(create, "rtsp"),
    usage="rtsp://user:password@host/stream",
    gives="pictures",
    ongoing=True,
    packages=OPENCV,
    fix="is the camera on, and are address, user and password right? ffplay shows it",
)
ENCRYPTED = replace(SOURCE, create=partial(create, "rtsps"), usage="rtsps://host/stream")
