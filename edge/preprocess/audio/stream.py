"""Stretches of sound to windows of one length, at one rate, in one channel."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge.data.sample import Sound
from edge.data.tensor import Array
from edge.errors import SampleError, needs
from edge.model.manifest import Window


class Stream:
    """Holds what is not yet a window, and the context that the next one begins with."""

    def __init__(self, rate: int, window: Window) -> None:
        self.rate, self._window = rate, window
        self._resampler: Any = None
        self._from_rate = 0
        self._reset()

    def _reset(self) -> None:
        # Silence stands before the first window.
        self._held = np.zeros(self._window.context, np.float32)
        self._skip = 0
        self._given = False
        self._resampler = None

    def push(self, sound: Sound) -> list[Array]:
        """The windows that are complete, each context + size samples, float32. Raises SampleError, ConfigError.

        A stream that ends before its first window is full gets silence behind it; a rest after that is dropped.
        """
        window = self._window
        fresh = self._at_rate(mono(sound.samples), sound)
        held = np.concatenate((self._held, fresh))
        length, windows, at = window.context + window.size, [], self._skip
        while at + length <= len(held):
            windows.append(held[at : at + length])
            at += window.hop
        if sound.last and not windows and not self._given and len(held) > window.context:
            windows.append(np.concatenate((held, np.zeros(length - len(held), np.float32))))
        self._given = self._given or bool(windows)
        # A hop longer than the window skips samples that have not come yet.
        self._held, self._skip = held[at:], max(0, at - len(held))
        if sound.last:
            self._reset()
        return windows

    def _at_rate(self, samples: Array, sound: Sound) -> Array:
        if sound.rate == self.rate:
            return samples
        if sound.rate < 1:
            raise SampleError(f"sound at {sound.rate} Hz")
        if self._resampler is None or self._from_rate != sound.rate:
            try:
                import soxr
            except ImportError:
                raise needs(f"sound at {sound.rate} Hz for a model of {self.rate} Hz", "soxr", "audio") from None
            self._resampler = soxr.ResampleStream(sound.rate, self.rate, 1, dtype="float32")
            self._from_rate = sound.rate
        return np.asarray(self._resampler.resample_chunk(samples, last=sound.last), dtype=np.float32)


def mono(samples: Array) -> Array:
    """[n] or n x channels to [n], float32 from -1 to 1; channels are averaged. Raises SampleError."""
    if samples.ndim not in (1, 2):
        raise SampleError(f"sound of shape {list(samples.shape)}: samples, or samples x channels, belong there")
    if samples.dtype.kind == "f":
        real = samples.astype(np.float32, copy=False)
        if not np.isfinite(real).all():
            raise SampleError("sound that holds NaN or infinite values")
    elif samples.dtype == np.int32:
        real = samples.astype(np.float32) / np.float32(2**31)
    elif samples.dtype.itemsize >= 2:
        real = samples.astype(np.float32) / np.float32(32_768)
    else:
        raise SampleError(f"sound of {samples.dtype}: int16, or float from -1 to 1, belongs there")
    return real if real.ndim == 1 else real.mean(axis=1, dtype=np.float32)
