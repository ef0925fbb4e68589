from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edge.data.message import Message
from edge.delivery.ack import Ack
from edge.delivery.options import OutboxOptions
from edge.delivery.outbox import Outbox
from edge.storage.memory import MemorySpool
from edge.storage.sqlite import SqliteSpool
from edge.telemetry.metrics import Metrics
from edge.testing.fakes import FakeBroker, FakeClock


class Bench:
    """An outbox between a fake broker and a spool, driven by hand."""

    def __init__(self, spool: Any, broker: FakeBroker, *, turned: bool = True, **options: Any) -> None:
        self.clock = FakeClock()
        self.broker = broker
        self.spool = spool
        self.metrics = Metrics()
        self.safe: list[int] = []
        self.outbox = Outbox(
            "broker", broker, spool, clock=self.clock, metrics=self.metrics, options=OutboxOptions(**options)
        )
        self.outbox.open()
        if turned:
            self.outbox.turn()

    def append(self, *numbers: int) -> None:
        for n in numbers:
            ack = Ack(1, lambda n=n: self.safe.append(n))
            self.outbox.put([(Message("result", b'{"n":%d}' % n, n), ack)])

    def turn(self, times: int = 4) -> None:
        for _ in range(times):
            self.outbox.turn()

    @property
    def received(self) -> list[int]:
        return [m["n"] for m in self.broker.received]


@pytest.fixture
def bench(tmp_path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(*, durable: bool = True, broker: FakeBroker | None = None, **options: Any) -> Bench:
        spool = SqliteSpool(tmp_path / "test.spool", 10_000_000) if durable else MemorySpool(10_000_000)
        made.append(Bench(options.pop("spool", spool), broker or FakeBroker(), **options))
        return made[-1]

    yield make
    for one in made:
        one.outbox.end()
