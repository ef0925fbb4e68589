"""`rtsp://...`: the newest picture of a network camera, by OpenCV's FFmpeg over TCP."""

from __future__ import annotations

from urllib.parse import urlsplit

from edge.errors import ConfigError, UnavailableError
from edge.plugins.protocols import SourceContext
from edge.sources.video.live import LiveSource
from edge.sources.video.opencv import Capture, opencv

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


def create(rest: str, context: SourceContext) -> LiveSource:
    """`rest` is the whole address. Raises ConfigError."""
    try:
        name = without_password(rest)
        known = urlsplit(rest).scheme in ("rtsp", "rtsps") and bool(urlsplit(rest).hostname)
    except ValueError as exc:
        raise ConfigError(f"--source rtsp: an address that cannot be read: {exc}") from exc
    if not known:
        raise ConfigError(f"--source {name}: not an address like rtsp://user:password@host:554/stream")
    opencv()
    return LiveSource(name, Stream(rest), context.clock, stall_s=2 * READ_MS / 1000)
