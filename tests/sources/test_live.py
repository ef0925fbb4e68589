from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from edge.errors import ConfigError, UnavailableError
from edge.plugins.contexts import SourceContext
from edge.remote.address import without_credentials
from edge.sources.video import camera, rtsp
from edge.sources.video.live import LiveSource
from edge.telemetry.clock import SystemClock


class Tap:
    """A device that gives what the test hands it, and hangs until then."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[np.ndarray | None] = []
        self.closed = threading.Event()
        self.taken = 0

    def give(self, *pictures: np.ndarray | None) -> None:
        with self._changed:
            self._waiting.extend(pictures)
            self._changed.notify_all()

    def wait_until_taken(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.taken >= count and not self._waiting, 150)

    def read(self) -> np.ndarray | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting)
            self.taken += 1
            self._changed.notify_all()
            return self._waiting.pop(0)

    def to_rgb(self, pixels: np.ndarray) -> np.ndarray:
        return pixels[..., ::-1]

    def close(self) -> None:
        self.closed.set()


def picture(value: int, width: int = 4) -> np.ndarray:
    return np.full((2, width, 3), (value, 0, 0), np.uint8)


def source(start: Callable[[], Tap], stall_s: float = 1000.0) -> LiveSource:
    return LiveSource("tap:0", start, SystemClock(), stall_s)


@pytest.fixture
def tap():
    tap = Tap()
    yield tap
    tap.give(None)


def test_a_picture_is_given_as_rgb_with_its_time(tap):
    made = source(lambda: tap)
    made.open()
    tap.give(picture(7))
    sample = made.read(150)
    assert sample.payload.pixels[0, 0].tolist() == [0, 0, 7]
    assert (sample.source, made.live) == ("tap:0", True)
    assert sample.captured_ns > 0
    tap.give(None)
    made.close()


def test_of_many_pictures_the_newest_is_given_once(tap):
    made = source(lambda: tap)
    made.open()
    tap.give(*(picture(n) for n in range(5)))
    tap.give(picture(9))
    tap.wait_until_taken(6)
    while made.read(150).payload.pixels[0, 0, 2] != 9:
        pass
    assert made.read(0.05) is None
    tap.give(None)
    made.close()


def test_the_geometry_may_change_between_two_pictures(tap):
    made = source(lambda: tap)
    made.open()
    for width in (4, 8):
        tap.give(picture(1, width))
        assert made.read(150).payload.pixels.shape == (2, width, 3)
    tap.give(None)
    made.close()


def test_a_device_that_goes_away_is_unavailable_and_opens_again(tap):
    later = Tap()
    devices = [tap, later]
    made = source(lambda: devices.pop(0))
    made.open()
    tap.give(None)
    with pytest.raises(UnavailableError, match="tap:0: it gives no more pictures"):
        made.read(150)
    assert tap.closed.wait(150)
    made.close()
    made.open()
    later.give(picture(3))
    assert made.read(150) is not None
    later.give(None)
    made.close()


def test_a_device_that_hangs_is_unavailable_and_is_left_behind(tap):
    made = source(lambda: tap, stall_s=0.0)
    made.open()
    with pytest.raises(UnavailableError, match="no picture for 0 s"):
        made.read(0.01)
    made.close()
    assert not tap.closed.is_set()
    tap.give(picture(1))
    assert tap.closed.wait(150)  # the reader closes its device itself when it wakes


def test_a_device_that_does_not_open_says_why():
    def refuse():
        raise UnavailableError("no right to read it")

    with pytest.raises(UnavailableError, match="tap:0: no right to read it"):
        source(refuse).open()


def test_it_may_be_closed_twice_and_before_it_was_opened(tap):
    made = source(lambda: tap)
    made.close()
    made.open()
    tap.give(None)
    made.close()
    made.close()


def context() -> SourceContext:
    return SourceContext(clock=SystemClock())


def test_a_camera_that_is_not_plugged_in_is_unavailable():
    with pytest.raises(UnavailableError, match="there is no /dev/video77"):
        camera.create("77", context()).open()


@pytest.mark.parametrize("rest", ["front", "0?size=3", "0?width=wide", "0?fourcc=TOOLONG"])
def test_a_camera_that_is_named_wrongly_is_a_configuration_error(rest):
    with pytest.raises(ConfigError, match="--source camera"):
        camera.create(rest, context())


@pytest.mark.parametrize("rest", ["//", "stream", "//[bad/x"])
def test_an_address_that_is_none_is_a_configuration_error(rest):
    with pytest.raises(ConfigError):
        rtsp.create("rtsp", rest, context())


def test_a_password_is_never_told():
    for address in ("rtsp://me:secret@cam:8554/live?token=x", "rtsp://me:se/cret@cam/live"):
        assert "secret" not in without_credentials(address)
        assert "se" not in without_credentials(address)
    assert without_credentials("rtsp://me:secret@cam:8554/live?token=x") == "rtsp://cam:8554/live"
