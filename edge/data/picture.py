"""Whether a payload is a picture: the one place that says so."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import numpy as np

from edge.data import magic
from edge.data.sample import EncodedImage, Image, Payload


def picture_of(payload: Payload) -> EncodedImage | Image | None:
    """A payload as a picture, nothing decoded: the bytes of a picture file, or RGB [height, width, 3] uint8; None where
    it is none."""
    if isinstance(payload, (EncodedImage, Image)):
        return payload
    if isinstance(payload, bytes):
        return EncodedImage(payload) if magic.picture(payload[:64]) is not None else None
    if isinstance(payload, np.ndarray) and payload.dtype == np.uint8 and payload.ndim == 3 and payload.shape[2] == 3:
        return Image(payload)
    return None


def text_picture(payload: Payload) -> EncodedImage | None:
    """A picture that stands as base64, or as a data URL, in text or alone in an object, beside its `id`; None where
    there is none."""
    if isinstance(payload, Mapping):
        rest = [value for name, value in payload.items() if name != "id"]
        payload = rest[0] if len(rest) == 1 else None
    if not isinstance(payload, str):
        return None
    try:
        found = from_text(payload)
    except ValueError:
        return None
    return found if magic.picture(found.data[:64]) is not None else None


def from_text(text: str) -> EncodedImage:
    """The bytes that stand as base64, or as a data URL. Raises ValueError for letters that are none of base64's."""
    return EncodedImage(base64.b64decode(text.partition("base64,")[2] or text, validate=True))
