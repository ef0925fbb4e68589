"""A sample and its result as they are written: one line of JSON, and a file beside it where the sample is no row."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from edge.capture.rules import Picked
from edge.data import magic
from edge.data.picture import picture_of, text_picture
from edge.data.result import Raw, Result
from edge.data.sample import EncodedImage, Frame, Image, Payload
from edge.errors import SampleError
from edge.overlay import annotate

SCHEMA = 1
LEAST_BYTES = 2000
"""What a row of a few numbers and its result are taken for until they are written."""
NUMBER_BYTES = 32
"""A number among others in memory, with its place in the list."""


class Candidate(msgspec.Struct, frozen=True):
    """What is to be kept, as the pipeline had it. `frame` tells the size of a picture; `trial` is what the second
    model says, where it differs."""

    picked: Picked
    payload: Payload
    frame: Frame | None
    result: Result
    trial: Result | None = None

    @property
    def size(self) -> int:
        """Bytes that it takes in memory, about."""
        raw = [p.data for p in self.result.predictions if isinstance(p, Raw)]
        return LEAST_BYTES + _held(self.payload) + sum(NUMBER_BYTES * len(data) for data in raw)

    def joined(self, other: Candidate) -> Candidate:
        """The same sample, picked by two."""
        reasons = tuple(dict.fromkeys((*other.picked.reasons, *self.picked.reasons)))
        picked = Picked(reasons, max(self.picked.worth, other.picked.worth))
        return Candidate(picked, self.payload, self.frame, self.result, self.trial or other.trial)


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of what is kept. `file` is the name of the picture, or array, beside it; `width` and `height` are in
    pixels, as the boxes are; `row` is the input where it is no file."""

    schema: int
    id: str
    reasons: tuple[str, ...]
    file: str | UnsetType = UNSET
    width: int | UnsetType = UNSET
    height: int | UnsetType = UNSET
    row: Any = UNSET
    result: Any = UNSET
    trial: Any = UNSET


def made(candidate: Candidate, name: str) -> tuple[bytes, str, bytes]:
    """The line, and the name and the bytes of the file beside it, "" and none for a row. `name` is that file's, without
    a suffix. Raises SampleError for what cannot be written as JSON or as a picture."""
    data, suffix = _file(_single(candidate))
    file = f"{name}{suffix}" if data else ""
    about: dict[str, Any] = {"row": _plain(candidate.payload)}
    if data:
        about = {"file": file}
        if candidate.frame is not None:
            about.update(width=candidate.frame.width, height=candidate.frame.height)
    if candidate.trial is not None:
        about["trial"] = {"model": candidate.trial.model, "predictions": candidate.trial.predictions}
    record = Record(SCHEMA, candidate.result.id, candidate.picked.reasons, **about, result=candidate.result)
    try:
        return msgspec.json.encode(record, enc_hook=_hook) + b"\n", file, data
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise SampleError(f"it cannot be written as JSON: {exc}") from exc


def _file(payload: Payload) -> tuple[bytes, str]:
    """What is no row, as a file: a picture as it came, pixels as a JPEG, an array as `.npy`."""
    picture = picture_of(payload)
    if isinstance(picture, EncodedImage):
        return picture.data, magic.picture_suffix(picture.data[:64])
    if picture is not None:
        return annotate.encode(picture.pixels), ".jpg"
    if isinstance(payload, np.ndarray) and payload.ndim > 1:
        file = io.BytesIO()
        try:
            np.save(file, payload, allow_pickle=False)
        except ValueError as exc:
            raise SampleError(f"it cannot be written as .npy: {exc}") from exc
        return file.getvalue(), ".npy"
    return b"", ""


def _single(candidate: Candidate) -> Payload:
    """A picture that came as text within JSON, as the picture that it is."""
    payload = candidate.payload
    if candidate.frame is None or not isinstance(payload, (Mapping, str)):
        return payload
    return text_picture(payload) or payload


def _plain(payload: Payload) -> Any:
    """Pictures among other inputs as text, as they come within JSON."""
    if not isinstance(payload, Mapping):
        return payload
    return {
        name: _text(value) if isinstance(value, (EncodedImage, Image)) else value for name, value in payload.items()
    }


def _text(picture: EncodedImage | Image) -> bytes:
    """Which JSON has as base64."""
    return picture.data if isinstance(picture, EncodedImage) else annotate.encode(picture.pixels)


def _held(payload: Payload) -> int:
    """Bytes of all that is in it, about; however deep that lies."""
    size, left = 0, [payload]
    while left:
        value = left.pop()
        if isinstance(value, Mapping):
            size += NUMBER_BYTES * len(value)
            left += value.values()
        elif isinstance(value, (list, tuple)):
            size += NUMBER_BYTES * len(value)
            left += [v for v in value if not isinstance(v, (int, float))]
        elif isinstance(value, (str, bytes)):
            size += len(value)
        elif isinstance(value, EncodedImage):
            size += len(value.data)
        else:
            held = value.pixels if isinstance(value, Image) else value
            size += held.nbytes if isinstance(held, np.ndarray) else 0
    return size


def _hook(value: Any) -> Any:
    """Numbers of numpy and arrays within rows."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} among the inputs")
