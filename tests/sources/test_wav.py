from __future__ import annotations

import wave

import numpy as np
import pytest

from edge.errors import ConfigError, SourceError
from edge.plugins.contexts import SourceContext
from edge.sources import wav
from edge.telemetry.clock import SystemClock
from edge.testing.checks import check_source


def write(path, samples, *, rate: int = 16_000, width: int = 2, channels: int = 1):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples)
    return path


def source(path):
    return wav.create(str(path), SourceContext(clock=SystemClock()))


def test_sound_comes_in_tenths_of_a_second_and_says_which_is_the_last(tmp_path):
    given = np.arange(-2000, 2000, dtype=np.int16)
    path = write(tmp_path / "a.wav", given.astype("<i2").tobytes())
    check_source(lambda: source(path), gives=3)
    made = source(path)
    made.open()
    stretches = [made.read(1).payload for _ in range(3)]
    np.testing.assert_array_equal(np.concatenate([s.samples[:, 0] for s in stretches]), given)
    assert [(s.rate, s.last) for s in stretches] == [(16_000, False), (16_000, False), (16_000, True)]
    made.close()


@pytest.mark.parametrize(
    ("width", "data", "expected"),
    [
        (1, bytes([0, 128, 255]), [-1.0, 0.0, 127 / 128]),
        (2, np.array([-(2**15), 0, 2**14], "<i2").tobytes(), [-1.0, 0.0, 0.5]),
        (3, bytes([0, 0, 0x80, 0, 0, 0, 0, 0, 0x40]), [-1.0, 0.0, 0.5]),
        (4, np.array([-(2**31), 0, 2**30], "<i4").tobytes(), [-1.0, 0.0, 0.5]),
    ],
)
def test_every_width_is_told_as_numbers_from_minus_1_to_1(tmp_path, width, data, expected):
    from edge.preprocess.audio.stream import mono

    made = source(write(tmp_path / "a.wav", data, width=width))
    made.open()
    assert mono(made.read(1).payload.samples).tolist() == expected
    made.close()


def test_channels_stand_side_by_side(tmp_path):
    made = source(write(tmp_path / "a.wav", np.array([1, 2, 3, 4], "<i2").tobytes(), channels=2))
    made.open()
    assert made.read(1).payload.samples.tolist() == [[1, 2], [3, 4]]
    made.close()


def test_a_file_that_ends_in_the_middle_broke_off(tmp_path):
    path = write(tmp_path / "a.wav", bytes(8000))
    path.write_bytes(path.read_bytes()[:5000])
    made = source(path)
    made.open()
    made.read(1)
    with pytest.raises(SourceError, match="ends in the middle"):
        made.read(1)
    made.close()


@pytest.mark.parametrize("content", [b"", b"RIFF", b"not a wav file at all" * 9])
def test_a_file_that_is_no_sound_is_told_at_once(tmp_path, content):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(ConfigError, match=r"not a PCM \.wav file"):
        source(tmp_path / "a.wav").open()
