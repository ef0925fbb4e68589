"""Whether a payload is a picture: the one place that says so."""

from __future__ import annotations

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
