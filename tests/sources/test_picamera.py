"""`picamera:` with a stand-in for picamera2, which no package index has."""

from __future__ import annotations

import sys
import threading
import types
from typing import ClassVar

import numpy as np
import pytest

from edge.errors import ConfigError, UnavailableError
from edge.plugins.contexts import SourceContext
from edge.sources.video import picamera
from edge.telemetry.clock import SystemClock


class Picamera2:
    """Rows are padded by a fourth channel; after `pictures` it fails as libcamera does when the cable goes."""

    made: ClassVar[list[Picamera2]] = []
    pictures = 2

    def __init__(self, number: int = 0) -> None:
        if number > 0:
            raise IndexError("list index out of range")
        self.configured: dict = {}
        self.closed = threading.Event()
        self._left = self.pictures
        self.made.append(self)

    def create_video_configuration(self, **said):
        return said

    def configure(self, said) -> None:
        self.configured = said

    def start(self) -> None:
        pass

    def capture_array(self, name: str) -> np.ndarray:
        if not self._left:
            raise RuntimeError("Camera frontend has timed out")
        self._left -= 1
        width, height = self.configured[name]["size"]
        return np.full((height, width, 4), (9, 8, 7, 0), np.uint8)

    def stop(self) -> None:
        pass

    def close(self) -> None:
        self.closed.set()


@pytest.fixture
def library(monkeypatch):
    module = types.ModuleType("picamera2")
    module.Picamera2 = Picamera2
    monkeypatch.setattr(Picamera2, "made", [])
    monkeypatch.setitem(sys.modules, "picamera2", module)


def source(rest: str):
    return picamera.create(rest, SourceContext(SystemClock()))


def read_all(made) -> None:
    while True:
        made.read(150)


@pytest.mark.usefixtures("library")
def test_pictures_are_rgb_of_the_size_that_was_asked():
    made = source("0?width=8&height=6&fps=5")
    made.open()
    sample = made.read(150)
    assert sample.source == "picamera:0"
    assert sample.payload.pixels.shape == (6, 8, 3)
    assert sample.payload.pixels[0, 0].tolist() == [9, 8, 7]
    (camera,) = Picamera2.made
    assert camera.configured == {"main": {"size": (8, 6), "format": "BGR888"}, "controls": {"FrameRate": 5}}
    made.close()


@pytest.mark.usefixtures("library")
def test_a_camera_that_times_out_is_given_back_and_opened_again():
    made = source("")
    made.open()
    with pytest.raises(UnavailableError):
        read_all(made)
    assert Picamera2.made[0].closed.wait(150)
    made.open()
    assert made.read(150) is not None
    made.close()


@pytest.mark.usefixtures("library")
def test_a_camera_that_is_not_there_is_unavailable():
    with pytest.raises(UnavailableError, match="picamera:3: the camera does not start"):
        source("3").open()


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("rest", ["x", "0?width=x", "0?nonsense=1"])
def test_options_that_are_none_are_told(rest):
    with pytest.raises(ConfigError, match="say picamera:0"):
        source(rest)


def test_without_picamera2_it_says_how_to_see_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(ConfigError, match="--system-site-packages"):
        source("0")
