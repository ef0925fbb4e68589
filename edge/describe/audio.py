"""Sound: which inputs take it, and in which windows at which rate, by name and shape."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from edge.data.tensor import TensorSpec
from edge.errors import ConfigError

RATE = re.compile(r"^(sr|sample_?rate|sampling_?rate|rate)$", re.IGNORECASE)
SPEECH_RATE = 16_000
YAMNET_CLASSES = 521
MICRO_BANDS = 40
MICRO_FRAMES = 49
MICRO_FEATURES = MICRO_FRAMES * MICRO_BANDS
# Lengths that name a rate of their own: seconds of music at 44.1 and 22.05 kHz, three seconds of birds at 48 kHz.
_RATES = {44_032: 44_100, 43_844: 22_050, 144_000: 48_000}
_SPEECH = (SPEECH_RATE, 15_600, 15_360)
# Silero VAD: its windows with their context, by the length of the input.
_SILERO = {576: (SPEECH_RATE, 512, 64), 288: (8_000, 256, 32)}

STANDARDISED = (
    "preprocessor_config.json: each sound should have a mean of 0 and a deviation of 1, which is not done here: the "
    "outputs are told as they are, of the sound as it is (export the model with that step, then --task)"
)


class Hearing(msgspec.Struct, frozen=True):
    """In audio samples, at `rate` Hz; `context` samples of the window before go in front."""

    rate: int
    size: int
    hop: int
    context: int = 0
    frontend: str = ""
    sure: bool = True
    """False: the source is sound, the shape alone would not have told."""
    rate_sure: bool = True
    """False: the length is a whole second, or several, at other rates too."""


def is_sound(spec: TensorSpec, constants: Sequence[str], states: Sequence[TensorSpec], *, stated: bool) -> bool:
    """True where an input takes sound. `constants` are input names; `said`: the source or the user says so."""
    shape = spec.shape or ()
    if micro_frames(spec):
        return True
    if not 1 <= len(shape) <= 3 or not (spec.dtype.startswith("float") or spec.quantization is not None):
        return False
    if any(RATE.match(c) for c in constants) or _is_silero(spec, states):
        return True
    last = shape[axis(shape)]
    if isinstance(last, int) and _is_usual(last) and axis(shape) == -1:
        return _is_wave(shape)
    # A power of two and one more is a spectrum.
    return stated and _is_wave(shape) and (not isinstance(last, int) or (last > 64 and (last - 1) & (last - 2) != 0))


def _is_usual(length: int) -> bool:
    """True for a length of sound that networks are made for: whole fractions of seconds, and YAMNet's 0.975 s.

    Other long rows may hold any features.
    """
    return length >= 8000 and (length in (*_SPEECH, *_RATES) or length % 8000 == 0 or length % 11_025 == 0)


def micro_frames(spec: TensorSpec) -> int:
    """How many frames of the micro front end an input takes at once; 0 where it takes none.

    [1, 1960] is a second (micro_speech). Frames x 40, with or without a channel, may be any features: they are these
    where the input is quantised by the front end's own range, 0 to 26.
    """
    shape = spec.shape or ()
    if len(shape) == 2 and shape[1] == MICRO_FEATURES:
        return MICRO_FRAMES
    frames = shape[:-1] if len(shape) == 4 and shape[3] == 1 else shape
    quantization = spec.quantization
    if len(frames) != 3 or frames[2] != MICRO_BANDS or quantization is None or not isinstance(frames[1], int):
        return 0
    return frames[1] if abs(quantization.scale * 255 - 26) < 0.5 else 0


def axis(shape: Sequence[int | str | None]) -> int:
    """Where the samples lie: the last dimension, or the one before a single channel."""
    return -2 if len(shape) > 1 and shape[-1] == 1 and shape[-2] != 1 else -1


def _is_wave(shape: Sequence[int | str | None]) -> bool:
    """One dimension holds samples, the others nothing."""
    at = axis(shape) + len(shape)
    return all(d == 1 or not isinstance(d, int) for i, d in enumerate(shape) if i != at)


def _is_silero(spec: TensorSpec, states: Sequence[TensorSpec]) -> bool:
    """Since version 5 its LSTM has 128 cells, held in one state [2, n, 128] or in two [1, n, 128]."""
    shape = spec.shape or ()
    ends = [(s.shape[0], s.shape[-1]) for s in states if s.shape is not None and len(s.shape) == 3]
    held = ends == [(2, 128)] or ends == [(1, 128)] * 2
    return held and len(shape) == 2 and (shape[1] in _SILERO or not isinstance(shape[1], int))


def hear(spec: TensorSpec, states: Sequence[TensorSpec], rate: int | None = None) -> Hearing:
    """Windows of the model's length; where that is free, 512 samples for a model with states, else a second.

    `rate`: what the user says, in Hz. Raises ConfigError for one that the model is known not to take.
    """
    shape = spec.shape or (None,)
    last = shape[axis(shape)]
    frames = micro_frames(spec)
    if frames == MICRO_FRAMES:
        return Hearing(SPEECH_RATE, SPEECH_RATE, SPEECH_RATE // 2, frontend="micro")
    if frames:  # microWakeWord: a few frames of 10 ms at a time, the rest is in the model's own variables
        return Hearing(SPEECH_RATE, frames * 160, frames * 160, frontend="micro")
    if _is_silero(spec, states):
        return _silero(last, rate)
    if not isinstance(last, int):
        rate = rate or SPEECH_RATE
        size = 512 * rate // SPEECH_RATE if states else rate  # older versions of Silero VAD have no context
        return Hearing(rate, max(1, size), max(1, size), sure=bool(states))
    guessed = _RATES.get(last, next((r for r in (44_100, 22_050) if last % r == 0), SPEECH_RATE))
    rate_sure = rate is not None or guessed != SPEECH_RATE or last in _SPEECH or not _is_usual(last)
    return Hearing(rate or guessed, last, last, sure=_is_usual(last) or bool(states), rate_sure=rate_sure)


def _silero(last: int | str | None, rate: int | None) -> Hearing:
    known = [_SILERO[last]] if isinstance(last, int) else list(_SILERO.values())
    match = next((k for k in known if rate in (None, k[0])), None)
    if match is None:
        rates = " or ".join(str(k[0]) for k in known)
        raise ConfigError(
            f"--sample-rate {rate}: this model (Silero VAD) takes {rates} Hz; other sound is resampled to it"
        )
    heard, size, context = match
    return Hearing(heard, size, size, context)


def hear_features(signature: Hearing) -> Hearing:
    """For a model that takes features of sound: windows of a second, unless its shape told more."""
    return signature if signature.size >= SPEECH_RATE // 4 else Hearing(SPEECH_RATE, SPEECH_RATE, SPEECH_RATE)


def labels(heard: Hearing, states: Sequence[TensorSpec], constants: Sequence[str]) -> tuple[str, ...]:
    """What one score between 0 and 1 says, where nobody tells: speech, or a wake word."""
    if heard.context or (states and constants):
        return ("no speech", "speech")
    return ("no wake word", "wake word") if heard.frontend == "micro" and heard.size < SPEECH_RATE // 2 else ()


def doubts(heard: Hearing) -> list[str]:
    """What the user should hear where the source alone says that it is sound, and where a rate is a guess."""
    found = []
    if not heard.sure:
        found.append(
            f"the source is sound, so the model is taken to want {heard.size} samples of it at {heard.rate} Hz, from "
            "-1 to 1; where it wants features, --frontend makes them; samples up to 32767 (openWakeWord's mel, Kaldi's "
            "features) have to be made in its graph"
        )
    if not heard.rate_sure:
        found.append(
            f"{heard.size} samples are taken for {heard.size / heard.rate:g} s at {heard.rate} Hz, which is a guess; "
            "--sample-rate says otherwise"
        )
    return found
