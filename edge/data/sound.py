"""Sound: PCM and `.wav` bytes to samples."""

from __future__ import annotations

import io

import numpy as np

from edge.data.sample import Sound
from edge.data.tensor import Array
from edge.errors import ConfigError, SampleError


def decode_pcm(data: bytes, width: int) -> Array:
    """Little-endian PCM of `width` bytes a sample to int16, or int32 where it is wider. Raises ConfigError."""
    if width == 1:  # 8 bits are unsigned in a .wav file
        return (np.frombuffer(data, np.uint8).astype(np.int16) - 128) << 8
    if width == 2:
        return np.frombuffer(data, "<i2").astype(np.int16, copy=False)
    if width == 3:
        padded = np.zeros((len(data) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return padded.view("<i4").ravel().astype(np.int32, copy=False)
    if width == 4:
        return np.frombuffer(data, "<i4").astype(np.int32, copy=False)
    raise ConfigError(f"a .wav file of {8 * width} bits a sample; 8, 16, 24 and 32 are known")


def is_wav(data: bytes) -> bool:
    """True where the first bytes are those of a .wav file."""
    return data[:4] == b"RIFF" and data[8:12] == b"WAVE"


def decode_wav(data: bytes) -> Sound:
    """A whole `.wav` file: one stretch that stands alone. Raises SampleError."""
    import wave  # for those who hear

    try:
        with wave.open(io.BytesIO(data)) as file:
            count, channels, width = file.getnframes(), file.getnchannels(), file.getsampwidth()
            pcm = file.readframes(count)
            rate = file.getframerate()
    except (wave.Error, EOFError, ValueError) as exc:
        raise SampleError(f"not a PCM .wav file that can be read: {exc or 'it ends in its header'}") from exc
    if len(pcm) < count * channels * width:
        raise SampleError(
            f"the .wav file ends in the middle: {len(pcm)} bytes of sound, {count * channels * width} promised"
        )
    try:
        return Sound(decode_pcm(pcm, width).reshape(-1, channels), rate, last=True)
    except ConfigError as exc:
        raise SampleError(str(exc)) from exc
