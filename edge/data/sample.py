"""What a source reads and what a preprocessor makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeGuard

import msgspec
from msgspec import UNSET, UnsetType

from edge.data.tensor import Array, Tensors

InputId: TypeAlias = str | int | UnsetType


class Image(msgspec.Struct, frozen=True):
    """A decoded picture: RGB, height x width x 3, uint8."""

    pixels: Array


class EncodedImage(msgspec.Struct, frozen=True):
    """The bytes of a JPEG, PNG, BMP or WebP file, not decoded yet."""

    data: bytes


class Sound(msgspec.Struct, frozen=True):
    """A stretch of sound: [n] or n x channels, int16 or float32 from -1 to 1, `rate` samples a second.

    Stretches follow one another without a gap; after the one that is `last` the next begins anew.
    """

    samples: Array
    rate: int
    last: bool = False


Payload: TypeAlias = Any
"""One of: `bytes` (an input of the contract, not decoded yet), a JSON value, an `Array`, an `Image`,
an `EncodedImage`, a `Sound`."""


def is_object(payload: Payload) -> TypeGuard[Mapping[str, Any]]:
    """Whether it has names. Most payloads tell it by their class; to ask an abstract class takes ten times as long."""
    kind = payload.__class__
    return kind is dict or (kind is not list and isinstance(payload, Mapping))


class Reply(msgspec.Struct, frozen=True):
    """Where an asker wants the answer: MQTT 5 Response Topic and Correlation Data."""

    topic: str
    correlation: bytes | None = None


class Sample(msgspec.Struct, frozen=True):
    """One thing that a source read.

    `captured_ns` is monotonic and serves for latency, `time_ns` is the system's clock and serves for
    `time` in the result. `token` belongs to the source: it finds its own sample again in `ack`. By `origin` it
    would know the same sample again in a later life of the process, were that given to it once more. A `retained` one
    is not new: its broker kept it for whoever subscribes. A source that is given again what was under way when the
    process died tells in `digest` (16 bytes) what the sample is known by then. `at_ns` is its place in a recording that
    tells it. `still_ns`: since the start of its stream frames were left out, because nothing moved, for so long in all.
    `redelivered`: its broker has sent it before, and what became of it then is not known. `unkept`: the bytes of a
    payload that its source did not keep, for it is larger than any that is taken; `payload` is empty then.
    """

    payload: Payload
    source: str
    captured_ns: int
    time_ns: int
    reply: Reply | None = None
    token: Any = None
    origin: bytes | None = None
    retained: bool = False
    digest: bytes | None = None
    at_ns: int | None = None
    still_ns: int = 0
    redelivered: bool = False
    unkept: int = 0


class Frame(msgspec.Struct, frozen=True):
    """How a picture was fitted into the model's input, so that boxes can be mapped back.

    A point of the input is `x * scale_x + offset_x` pixels of the input; `width` and `height` are those of
    the captured picture, in pixels.
    """

    width: int
    height: int
    scale_x: float = 1.0
    scale_y: float = 1.0
    offset_x: float = 0.0
    offset_y: float = 0.0


class ModelInput(msgspec.Struct, frozen=True):
    """Tensors ready for the engine, one sample: the batch dimension is 1 where there is one.

    `release` gives the memory of the tensors back to the preprocessor. It is called once, from any thread, by the last
    that reads them; a preprocessor whose memory does not come back takes new one. `picture` is what was decoded, whole
    (RGB, height x width x 3, uint8), where the preprocessor was asked to keep it; `look` is what was told of it in
    numbers, where that was asked.

    The pipeline adds what it was made of: `payload` is that one sample's, `input_id` its name. Where there is a
    `reason` there is nothing for the engine.
    """

    tensors: Tensors
    frame: Frame | None = None
    release: Callable[[], None] | None = None
    picture: Array | None = None
    look: Array | None = None
    payload: Payload = None
    input_id: InputId = UNSET
    preprocess_ns: int = 0
    reason: str | None = None
