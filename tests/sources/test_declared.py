"""What sources say of themselves."""

from __future__ import annotations

import pytest

from edge.sources import uri


@pytest.mark.parametrize(
    "text",
    ["mqtt:a/b", "rtsp://h/s", "rtsps://h/s", "http://h/s.jpg", "https://h/s", "synthetic:2", "camera:0", "picamera:0",
     "microphone:", "serial:/dev/ttyUSB0"],
)  # fmt: skip
def test_what_gives_what_is_now_goes_on_when_it_is_opened_again(text):
    declared = uri.parse(text).declared
    assert declared.ongoing or declared.devices


@pytest.mark.parametrize("text", ["rows.csv", "rows.jsonl", "rows.npy", "sound.wav", "video.mp4", "pictures/", "-"])
def test_what_is_read_from_its_beginning_does_not(text):
    declared = uri.parse(text).declared
    assert not declared.ongoing
    assert not declared.devices
