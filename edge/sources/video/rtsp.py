"""`rtsp://...`: the newest picture of a network camera, by OpenCV's FFmpeg over TCP."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlsplit

from msgspec.structs import replace

from edge.errors import ConfigError, UnavailableError
from edge.plugins.contexts import SourceContext
from edge.plugins.declarations import SourceInfo
from edge.sources.video.live import LiveSource
from edge.sources.video.opencv import OPENCV, Capture, opencv

OPEN_MS = 10_000
READ_MS = 5_000


def without_password(url: str) -> str:
    """The address as it may be told: no user, no password, no query."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"


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
    try:
        name = without_password(url)
        known = bool(urlsplit(url).hostname)
    except ValueError as exc:
        raise ConfigError(f"--source rtsp: an address that cannot be read: {exc}") from exc
    if not known:
        raise ConfigError(f"--source {name}: not an address like rtsp://user:password@host:554/stream")
    opencv()
    return LiveSource(name, Stream(url), context.clock, stall_s=2 * READ_MS / 1000)


SOURCE = SourceInfo(
    edge_api=1,
    create=partial(create, "rtsp"),
    usage="rtsp://user:password@host/stream",
    gives="pictures",
    packages=OPENCV,
    fix="is the camera on, and are address, user and password right? ffplay shows it",
)
ENCRYPTED = replace(SOURCE, create=partial(create, "rtsps"), usage="rtsps://host/stream")
