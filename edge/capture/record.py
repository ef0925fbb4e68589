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
from edge.data.picture import picture_of
from edge.data.result import Result
from edge.data.sample import EncodedImage, Frame, Image, Payload
from edge.errors import SampleError
from edge.overlay import annotate

SCHEMA = 1
LEAST_BYTES = 2000
"""What a row and its result are taken for until they are written."""


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
        payload = self.payload
        data = payload.data if isinstance(payload, EncodedImage) else payload
        held = data.pixels if isinstance(data, Image) else data
        size = held.nbytes if isinstance(held, np.ndarray) else len(held) if isinstance(held, bytes) else 0
        return LEAST_BYTES + size

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
    data, suffix = _file(candidate.payload)
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
        kind = magic.picture(picture.data[:64])
        return picture.data, magic.SUFFIX_OF[kind] if kind is not None else ".bin"
    if picture is not None:
        return annotate.encode(picture.pixels), ".jpg"
    if isinstance(payload, np.ndarray) and payload.ndim > 1:
        file = io.BytesIO()
        np.save(file, payload, allow_pickle=False)
        return file.getvalue(), ".npy"
    return b"", ""


def _plain(payload: Payload) -> Any:
    return dict(payload) if isinstance(payload, Mapping) else payload


def _hook(value: Any) -> Any:
    """Numbers of numpy and arrays within rows."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, (EncodedImage, Image)):
        raise TypeError("a picture among other inputs")
    raise TypeError(f"{type(value).__name__} among the inputs")
