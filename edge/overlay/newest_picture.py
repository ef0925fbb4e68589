"""The newest picture with what was found drawn on it, for people who look at a dashboard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.data.picture import picture_of
from edge.data.result import Result, Skipped
from edge.data.sample import EncodedImage, Payload, Sample
from edge.data.tensor import Array
from edge.errors import SampleError
from edge.overlay import annotate
from edge.preprocess.image.decode import decode, opencv

SIDE_MOST = 800


class NewestPicture:
    """`observe` is called by the infer thread and keeps references; `take` by another, which pays for the drawing."""

    def __init__(self) -> None:
        self._newest: tuple[Sample, Result] | None = None

    def observe(self, sample: Sample, outcomes: Sequence[Result | Skipped]) -> None:
        """A sample and what became of it."""
        results = [o for o in outcomes if isinstance(o, Result)]
        if len(results) == 1:
            self._newest = (sample, results[0])

    def take(self) -> bytes | None:
        """A JPEG, its longer side at most 800 pixels; None where there is no picture that was not taken before."""
        newest, self._newest = self._newest, None
        if newest is None:
            return None
        sample, result = newest
        try:
            pixels = _pixels(sample.payload)
        except SampleError:
            return None
        return None if pixels is None else annotate.encode(_small(annotate.on(pixels, result)))


def _pixels(payload: Payload) -> Array | None:
    picture = picture_of(payload)
    if picture is None:
        return None
    return decode(picture.data) if isinstance(picture, EncodedImage) else picture.pixels


def _small(pixels: Array) -> Array:
    height, width = pixels.shape[:2]
    scale = SIDE_MOST / max(height, width)
    if scale >= 1:
        return pixels
    cv2 = opencv()
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
