"""A picture for Home Assistant now and then: the newest, with what was found drawn on it."""

from __future__ import annotations

import logging
from typing import Protocol

from edge.data.units import SECOND_NS
from edge.mqtt.messages import OnDelivery, Outgoing, Refusal
from edge.overlay.newest_picture import NewestPicture
from edge.plugins.protocols import Clock

log = logging.getLogger("edge.homeassistant")


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
