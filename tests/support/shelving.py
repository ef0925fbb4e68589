"""Runs that share a connection, each with a disk that a test may let fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from support.fed import Session

from edge.data.message import Message
from edge.delivery.guarded_spool import GuardedSpool
from edge.mqtt.shelf import Shelf
from edge.mqtt.source import MqttSource
from edge.plugins.contexts import SourceContext
from edge.storage.sqlite import SqliteSpool
from edge.telemetry.metrics import Metrics
from edge.testing.fakes import FakeClock


class Shared(Session):
    """A connection that several runs share: each is given what it expects."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.expected: dict[str, list[Any]] = {}
        self.workers: list[Shelf] = []

    def attach(self, worker: Shelf) -> None:
        self.workers.append(worker)

    def expect(self, topic: str, handler: Any) -> None:
        self.expected.setdefault(topic, []).append(handler)

    def subscribe(self, topic: str, handler: Any, **_: Any) -> None:
        self.asked.append(topic)
        self.own = handler

    def handler(self, message: Any) -> None:
        handlers = self.expected[message.topic]
        self.acks.share(message.mid, handlers)
        for handler in handlers:
            handler(message)

    def turn(self) -> None:
        for worker in self.workers:
            worker.turn()


class Remembering(GuardedSpool):
    """And what was ever put there."""

    def __init__(self, stored: list[list[int]], *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._stored = stored

    def save(self, messages: Sequence[Message]) -> list[int] | None:
        keys = super().save(messages)
        self._stored += [keys] if keys else []
        return keys


class Run:
    """One of them: its source, and its disk, which a test lets fail."""

    def __init__(
        self, session: Shared, clock: FakeClock, spool: SqliteSpool, topic: str, retry_s: float, *, shares: bool
    ) -> None:
        self.counted: list[str] = []
        self.spool = spool
        self.stored: list[list[int]] = []
        disk = Remembering(self.stored, "inputs", spool, clock, Metrics(), retry_s, what="inputs")
        shelf = Shelf("run", disk, clock, self.counted.append, lambda: spool.dropped, shares=shares)
        self.shelf = shelf
        context = SourceContext(clock, topic=topic, shelf=shelf, count=self.counted.append)
        self.source = MqttSource(session, (topic,), context)

    def begin(self, *origins: bytes) -> Run:
        self.source.remember(origins)
        self.source.open()
        return self


def give(session: Shared, topic: str, *mids: int, **more: Any) -> None:
    for mid in mids:
        session.give(b"%d" % mid, mid, topic=topic, **more)
