from __future__ import annotations

import numpy as np
import pytest

from edge.errors import ConfigError, UnavailableError
from edge.plugins.contexts import SourceContext
from edge.sources import microphone
from edge.telemetry.clock import SystemClock


@pytest.fixture
def arecord(tmp_path, monkeypatch):
    """A stand-in on the PATH that writes what the test says, as arecord writes sound."""

    def make(script: str) -> None:
        path = tmp_path / "arecord"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    return make


def source(device: str = "") -> microphone.Microphone:
    return microphone.create(device, SourceContext(clock=SystemClock()))


def test_sound_comes_in_tenths_of_a_second(arecord, tmp_path):
    samples = np.arange(3200, dtype="<i2")
    (tmp_path / "sound").write_bytes(samples.tobytes())
    arecord(f"cat {tmp_path}/sound; sleep 300")
    made = source()
    made.open()
    found = [made.read(150).payload for _ in range(2)]
    np.testing.assert_array_equal(np.concatenate([f.samples for f in found]), samples)
    assert {f.rate for f in found} == {16_000}
    assert made.read(0.05) is None
    made.close()
    made.close()


def test_a_device_is_passed_on_and_its_complaint_is_told(arecord):
    arecord('echo "no such device: $@" >&2; exit 1')
    made = source("plughw:7,0")
    made.open()
    with pytest.raises(UnavailableError, match=r"microphone:plughw:7,0: no such device: .* -D plughw:7,0"):
        made.read(150)
    made.close()
    made.open()
    made.close()


def test_without_arecord_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="alsa-utils"):
        source()


def test_a_device_is_no_flag(arecord):
    arecord("exit 0")
    with pytest.raises(ConfigError, match="not a device"):
        source("--help")
