"""A picture for Home Assistant now and then: the newest, with what was found drawn on it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from edge.data.picture import picture_of
from edge.data.result import Result, Skipped
from edge.data.sample import EncodedImage, Payload, Sample
from edge.data.tensor import Array
from edge.data.units import SECOND_NS
from edge.errors import SampleError
from edge.mqtt.messages import OnDelivery, Outgoing, Refusal
from edge.overlay import annotate
from edge.plugins.protocols import Clock
from edge.preprocess.image.decode import decode, opencv

log = logging.getLogger("edge.homeassistant")


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


class Poster(Protocol):
    """Who publishes."""

    def post(self, message: Outgoing, on_delivery: OnDelivery | None = None) -> None:
        """Publishes where there is a connection."""


class Pictures:
    """`show` in the main thread, `newest.observe` in the one that infers, the rest in the session's."""

    def __init__(self, broker: Poster, clock: Clock, every_s: float) -> None:
        self.newest = NewestPicture()
        self._broker = broker
        self._clock = clock
        self._every_ns = int(every_s * SECOND_NS)
        self._due_ns = 0
        self._under_way = False

    def born(self) -> None:
        """A connection stands: what was under way on another one went with it."""
        self._under_way = False

    def show(self, topic: str) -> None:
        """Publishes where it is time to, and there is a new one. The next waits for this one's PUBACK."""
        now = self._clock.monotonic_ns()
        if self._under_way or now < self._due_ns:
            return
        data = self.newest.take()
        if not data:
            return
        self._due_ns = now + self._every_ns
        self._under_way = True
        picture = Outgoing(topic, data, content_type="image/jpeg")
        self._broker.post(picture, OnDelivery(self._shown, self._not_shown))

    def _shown(self, _: list[int]) -> None:
        self._under_way = False

    def _not_shown(self, _: int, refusal: Refusal) -> None:
        self._under_way = False
        log.warning("picture not shown", extra={"reason": refusal.reason})
