"""Features of sound: the micro front end of TensorFlow Lite Micro, and Kaldi's log-mel and MFCC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from edge.data.tensor import Array, TensorSpec
from edge.describe.audio import MICRO_FRAMES, micro_frames
from edge.errors import ModelError, needs
from edge.model.manifest import Input

Frontend: TypeAlias = Callable[[Array], Array | None]
"""A window, float32 from -1 to 1, to features, in the model's own dtype or as real values; None: more has to come."""

NAMES = ("micro", "log-mel", "mfcc")
MICRO_STEP = 160
_FULL_SCALE = 32_768  # Kaldi and the micro front end count in 16 bits


def make_frontend(part: Input, spec: TensorSpec, size: int) -> Frontend:
    """Tried on silence at once. Raises ModelError where its features do not fill the input, ConfigError (library)."""
    frames = micro_frames(spec)
    if part.frontend == "micro" and 0 < frames < MICRO_FRAMES and size == frames * MICRO_STEP:
        return MicroStream(frames)
    if part.frontend == "micro":
        frontend: Frontend = Micro(spec)
    elif part.frontend in ("log-mel", "mfcc"):
        frontend = Kaldi(part)
    else:
        raise ModelError(f"input {part.name!r}: there is no front end {part.frontend!r}; known: {', '.join(NAMES)}")
    tried = frontend(np.zeros(size, np.float32))
    count, wanted = 0 if tried is None else tried.size, int(np.prod(spec.fixed()))
    if count != wanted:
        raise ModelError(
            f"input {part.name!r}: the front end {part.frontend!r} makes {count} values of {size} samples, the model "
            f"takes {wanted} ({list(spec.fixed())}); mend window or frontend_options"
        )
    return frontend


class Micro:
    """49 frames of 40 bands from one second: 30 ms windows every 20 ms, by the library pymicro-features.

    The library steps by 10 ms and gives float features; every second frame is taken. The conversion to int8 is
    that of TensorFlow Lite Micro's micro_speech example: (feature * 256 + 333) // 666 - 128 of the raw integers.
    """

    _RAW = 0.0390625  # the library's factor from raw integers to floats, 10 / 256

    def __init__(self, spec: TensorSpec) -> None:
        self._make = _micro_library()
        self._native = spec.dtype == "int8"

    def __call__(self, samples: Array) -> Array:
        features = np.array(_micro_frames(self._make(), samples)[::2], dtype=np.float32).reshape(-1)
        if not self._native:
            return features
        raw = np.rint(features / self._RAW).astype(np.int64)
        return np.asarray(np.clip((raw * 256 + 333) // 666 - 128, -128, 127).astype(np.int8))


class MicroStream:
    """The same, for models that take a few frames of 10 ms and remember the rest (microWakeWord).

    The front end follows the noise of the whole stream, so it is one, and gives real values, which the input's own
    scale quantises. Its first frame needs 30 ms: until `frames` are there it gives None.
    """

    def __init__(self, frames: int) -> None:
        self._count = frames
        self._frontend = _micro_library()()
        self._held: list[list[float]] = []

    def __call__(self, samples: Array) -> Array | None:
        self._held += _micro_frames(self._frontend, samples)
        if len(self._held) < self._count:
            return None
        taken, self._held = self._held[: self._count], self._held[self._count :]
        return np.array(taken, dtype=np.float32)


def _micro_library() -> Any:
    try:
        from pymicro_features import MicroFrontend
    except ImportError:
        raise needs("the micro front end", "pymicro-features", "audio") from None
    return MicroFrontend


def _micro_frames(frontend: Any, samples: Array) -> list[list[float]]:
    data = np.clip(np.rint(samples * _FULL_SCALE), -32_768, 32_767).astype("<i2").tobytes()
    frames: list[list[float]] = []
    at = 0
    while at < len(data):
        step = frontend.process_samples(data[at:])
        if step.features:
            frames.append(step.features)
        if not step.samples_read:
            break
        at += step.samples_read * 2
    return frames


class Kaldi:
    """Frames x bands by the library kaldi-native-fbank; `frontend_options` are its options by name.

    `num_bins` (40), `low_freq`, `high_freq`, `frame_length_ms` (25), `frame_shift_ms` (10), `window_type`
    (hann), `preemph_coeff`, `snip_edges`, `num_ceps` (mfcc: 13), `use_energy`, `is_librosa`, ...; and `scale`, what a
    full-scale sample counts (32768, Kaldi's habit; 1 for features made of floats).
    """

    def __init__(self, part: Input) -> None:
        try:
            import kaldi_native_fbank as library
        except ImportError:
            raise needs(f"the front end {part.frontend!r}", "kaldi-native-fbank", "audio") from None
        given = {"num_bins": 40, "dither": 0.0, "window_type": "hann", **part.frontend_options}
        self._scale = np.float32(given.pop("scale", _FULL_SCALE))
        self._rate = part.sample_rate
        mfcc = part.frontend == "mfcc"
        self._options = library.MfccOptions() if mfcc else library.FbankOptions()
        self._make = library.OnlineMfcc if mfcc else library.OnlineFbank
        self._options.frame_opts.samp_freq = part.sample_rate
        for name, value in given.items():
            self._set(part.name, name, value)

    def _set(self, part: str, name: str, value: Any) -> None:
        for target in (self._options, self._options.frame_opts, self._options.mel_opts):
            if hasattr(target, name):
                try:
                    setattr(target, name, value)
                except TypeError as exc:
                    raise ModelError(f"input {part!r}: frontend_options.{name} = {value!r}: {exc}") from exc
                return
        raise ModelError(f"input {part!r}: the front end has no option {name!r}")

    def __call__(self, samples: Array) -> Array:
        extractor = self._make(self._options)
        extractor.accept_waveform(self._rate, (samples * self._scale).tolist())
        extractor.input_finished()
        frames = [extractor.get_frame(i) for i in range(extractor.num_frames_ready)]
        return np.asarray(frames, dtype=np.float32)
