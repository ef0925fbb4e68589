from __future__ import annotations

import io
import wave

import numpy as np
import pytest

from edge.data import codec
from edge.data.sample import Sound
from edge.errors import SampleError


def wav(samples, width=2, channels=1, rate=16000):
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples)
    return out.getvalue()


def test_the_bytes_of_a_wav_file_are_an_input():
    sound = codec.decode(wav(np.array([1, -2, 3], dtype="<i2").tobytes()))
    assert isinstance(sound, Sound)
    assert sound.samples.ravel().tolist() == [1, -2, 3]
    assert (sound.rate, sound.last) == (16000, True)


def test_a_wav_file_that_is_cut_short_is_skipped():
    whole = wav(np.arange(1000, dtype="<i2").tobytes())
    for cut in (16, 30, 500):
        with pytest.raises(SampleError, match=r"\.wav"):
            codec.decode(whole[:cut])
