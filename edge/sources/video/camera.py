"""`camera:N`: a camera of Video4Linux, the newest picture.

`camera:0`, `camera:/dev/v4l/by-id/...`; options follow a question mark: `camera:0?width=1280&height=720&fps=30`,
`fourcc=MJPG` (USB cameras give more pictures a second with it).
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import parse_qsl

from edge.errors import ConfigError, UnavailableError
from edge.plugins.contexts import SourceContext
from edge.plugins.declarations import SourceInfo
from edge.sources.video.live import LiveSource
from edge.sources.video.opencv import OPENCV, Capture, opencv

OPTIONS = ("width", "height", "fps", "fourcc")
KERNEL = Path("/sys/class/video4linux")
SHOWN_MOST = 6
"""A Raspberry Pi has a dozen nodes of its codecs and its camera's parts."""


class Camera:
    """How one camera is opened: `Camera(...)()` does it."""

    def __init__(self, device: str, options: dict[str, str]) -> None:
        self.path = Path(f"/dev/video{device}" if device.isdigit() else device)
        self._options = options

    def __call__(self) -> Capture:
        """Raises UnavailableError."""
        cv2 = opencv()
        if not self.path.exists():
            raise UnavailableError(f"there is no {self.path}; plug the camera in{_there_are()}")
        if not os.access(self.path, os.R_OK | os.W_OK):
            raise UnavailableError(f"no right to read {self.path}: add the user to the group 'video'")
        capture = cv2.VideoCapture(str(self.path), cv2.CAP_V4L2)
        if not capture.isOpened():
            capture.release()
            raise UnavailableError(f"{self.path} does not open; another program may hold it (fuser {self.path})")
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # an older picture that waits is of no use
        if "fourcc" in self._options:
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*self._options["fourcc"]))
        for name, key in (("width", cv2.CAP_PROP_FRAME_WIDTH), ("height", cv2.CAP_PROP_FRAME_HEIGHT),
                          ("fps", cv2.CAP_PROP_FPS)):  # fmt: skip
            if name in self._options:
                capture.set(key, float(self._options[name]))
        return Capture(cv2, capture)


def cameras(kernel: Path) -> list[str]:
    """The cameras there are: `camera:0 (HD Webcam)`. A camera has further nodes, for metadata, which are none."""
    found = []
    for node in sorted(kernel.glob("video*"), key=lambda n: (len(n.name), n.name)):
        if _read(node / "index") == "0":
            found.append(f"camera:{node.name.removeprefix('video')} ({_read(node / 'name') or 'no name'})")
    return found


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""


def _there_are() -> str:
    found = cameras(KERNEL)
    more = len(found) - SHOWN_MOST
    text = ", ".join(found[:SHOWN_MOST]) + (f" and {more} more" if more > 0 else "")
    return f"; there are: {text}" if found else "; there is no camera of Video4Linux at all"


def create(rest: str, context: SourceContext) -> LiveSource:
    """`rest` is a number or a device, and its options. Raises ConfigError."""
    device, _, query = rest.partition("?")
    options = dict(parse_qsl(query))
    unknown = [k for k in options if k not in OPTIONS]
    if unknown:
        raise ConfigError(f"--source camera:{rest}: unknown option {unknown[0]!r}; known: {', '.join(OPTIONS)}")
    if not device.isdigit() and not device.startswith("/"):
        raise ConfigError(f"--source camera:{rest}: {device!r} is no number and no device; say camera:0{_there_are()}")
    if any(not options[k].isdigit() for k in ("width", "height", "fps") if k in options):
        raise ConfigError(f"--source camera:{rest}: width, height and fps are whole numbers")
    if len(options.get("fourcc", "MJPG")) != 4:
        raise ConfigError(f"--source camera:{rest}: fourcc has four letters, as in MJPG")
    opencv()
    return LiveSource(f"camera:{device}", Camera(device, options), context.clock)


SOURCE = SourceInfo(
    edge_api=1,
    create=create,
    usage="camera:0",
    gives="pictures",
    devices=("char-video4linux",),
    groups=("video",),
    packages=OPENCV,
    fix="is it plugged in, and used by nobody else? rpicam-hello --list-cameras; sudo usermod -aG video $USER",
)
