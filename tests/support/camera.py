"""A camera where there is none: a file stands for the device, OpenCV's capture reads from it.

`sitecustomize.py` below a folder on PYTHONPATH puts it into the process. The file holds "R G B WIDTH HEIGHT"; without
the file the camera is unplugged; "hang" is a driver that never answers.
"""

from __future__ import annotations

from pathlib import Path

_STAND_IN = """
import threading, time
from pathlib import Path
import cv2, numpy as np

class Capture:
    def __init__(self, path, api=0):
        self._path = Path(path)
    def isOpened(self):
        return self._path.exists()
    def set(self, key, value):
        return True
    def get(self, key):
        return 0.0
    def getBackendName(self):
        return "V4L2"
    def read(self, *_):
        time.sleep(0.02)  # fifty pictures a second
        try:
            said = self._path.read_text()
        except OSError:
            return False, None
        if said == "hang":
            threading.Event().wait()
        red, green, blue, width, height = map(int, said.split())
        return True, np.full((height, width, 3), (blue, green, red), np.uint8)
    def release(self):
        pass

cv2.VideoCapture = Capture
"""


class Camera:
    """Plugged in when it shows something."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "video0"
        (folder / "stand-in").mkdir()
        (folder / "stand-in/sitecustomize.py").write_text(_STAND_IN)
        self.environ = {"PYTHONPATH": str(folder / "stand-in")}

    def show(self, red: int, green: int, blue: int, *, width: int = 32, height: int = 24) -> None:
        self._write(f"{red} {green} {blue} {width} {height}")

    def hang(self) -> None:
        self._write("hang")

    def unplug(self) -> None:
        self.path.unlink()

    def _write(self, text: str) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.path)
