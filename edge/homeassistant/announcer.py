"""When Home Assistant is told what: at our birth and at its own, and a picture now and then.

Two threads touch it and none waits: the session's says that a connection is born, that Home Assistant is, and which
result it sends; the main thread's `tick` does the work, about twice a second.

Home Assistant remembers no states of results across its own restart, and `result` is not retained: so when it comes
back, the last result is sent again, marked as replayed. Its `id` is the old one: other consumers drop it as a repeat.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol
from zlib import crc32

from edge.data.message import Message
from edge.data.units import SECOND_NS
from edge.homeassistant.document import Document, removal
from edge.homeassistant.pictures import Pictures, Poster
from edge.homeassistant.record import Announced, Record
from edge.mqtt.messages import Incoming, OnDelivery, Outgoing
from edge.mqtt.topics import Topics
from edge.plugins.protocols import Clock

log = logging.getLogger("edge.homeassistant")

JITTER_S = 2
"""A hundred devices hear the same `online`: they answer spread over this time, each at a moment of its own."""


class Broker(Poster, Protocol):
    """What is needed of the session."""

    def call_soon(self, call: Callable[[], None]) -> None:
        """`call` is made in the session's thread."""

    def ack(self, incoming: Incoming) -> None: ...


class Announcer:
    """`born`, `heard` and `sending` in the session's thread; `open`, `tick` and `close` in the main thread; `follow` in
    any."""

    def __init__(
        self,
        document: Document,
        broker: Broker,
        record: Record,
        *,
        clock: Clock,
        states: Callable[[], Sequence[Outgoing]] = tuple,
        pictures: Pictures | None = None,
    ) -> None:
        """`states` are published behind the document, so that entities know something at once."""
        self._document = document
        self._newer: deque[Document] = deque()
        self._broker = broker
        self._record = record
        self._clock = clock
        self._states = states
        self.pictures = pictures
        self._due_ns: int | None = None
        self._greeted_ns: int | None = None
        self._last: Message | None = None
        self._settled = False

    def open(self) -> None:
        """Looks up what was announced before."""
        self._record.open()

    def close(self) -> None:
        """Entities become unavailable by our `status`; what is announced stays."""
        self._record.close()

    # --- from other threads -------------------------------------------------------------------------

    def born(self) -> None:
        """A connection stands, and `online` was published."""
        if self.pictures is not None:
            self.pictures.born()
        self._due_ns = self._clock.monotonic_ns()

    def heard(self, incoming: Incoming) -> None:
        """Home Assistant's own status."""
        if incoming.payload == b"online":
            self._greeted_ns = self._clock.monotonic_ns() + jitter_ns(self._document.topic)
        self._broker.ack(incoming)

    def sending(self, message: Message) -> None:
        """What the outbox sends next."""
        if message.kind == "result":
            self._last = message

    def follow(self, document: Document) -> None:
        """Another model runs: entities that it has no more are removed, those that it has are shown."""
        self._newer.append(document)

    # --- the main thread ----------------------------------------------------------------------------

    def tick(self) -> None:
        """Does what is due."""
        while self._newer:
            self._document = self._newer.popleft()
            self._due_ns = self._clock.monotonic_ns()
        # Where the broker goes this moment, its next birth begins again.
        self._announce_if_due()
        if self.pictures is not None:
            self.pictures.show(Topics(self._document.base).image)
        if self._settled:
            self._settled = False
            self._record.forget_stale()
            self._record.write(Announced(self._document.topic, self._document.platforms))

    def _announce_if_due(self) -> None:
        now = self._clock.monotonic_ns()
        if self._due_ns is not None:
            self._due_ns = None
            self._announce()
        if self._greeted_ns is not None and now >= self._greeted_ns:
            self._greeted_ns = None
            self._announce()
            self._broker.call_soon(self._say_last)

    def _announce(self) -> None:
        topic, platforms = self._document.topic, self._document.platforms
        before = self._record.mine() or Announced(topic, {})
        removed = {k: p for k, p in before.components.items() if platforms.get(k) != p}
        # Until the broker has confirmed, both are remembered: a process that is killed here loses track of nothing.
        self._record.write(Announced(topic, {**before.components, **platforms}))
        stale = {announced.topic for announced in self._record.stale()} | {before.topic}
        for old in sorted(stale - {topic}):
            self._broker.post(removal(old))
            log.info("removed from Home Assistant", extra={"topic": old})
        if removed:
            self._broker.post(self._document.message(removed))
            log.info("removed from Home Assistant", extra={"components": ", ".join(removed)})
        self._broker.post(self._document.message(), OnDelivery(self._confirmed))
        for message in self._states():
            self._broker.post(message)

    def _confirmed(self, _: list[int]) -> None:
        self._settled = True

    def _say_last(self) -> None:
        # In the thread that sends results: none can go between this one and the next.
        if self._last is not None:
            topic = Topics(self._document.base).result
            self._broker.post(Outgoing(topic, self._last.replayed(), content_type="application/json"))


def jitter_ns(topic: str) -> int:
    """How long a device waits before it answers: always the same, and others another time."""
    return crc32(topic.encode()) % (JITTER_S * SECOND_NS)
