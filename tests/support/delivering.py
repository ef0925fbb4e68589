"""Results, and an outbox that delivers them to a real store."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import msgspec

from edge.app import assembly
from edge.data.message import Message
from edge.delivery.ack import Ack
from edge.delivery.options import SAVE_PAST, OutboxOptions
from edge.delivery.outbox import Outbox
from edge.plugins.contexts import SinkContext
from edge.storage.sqlite import SqliteSpool
from edge.telemetry.clock import SystemClock
from edge.telemetry.metrics import Metrics

TIME = "2026-11-23T03:04:05.123456Z"


def result(n: int, **more: Any) -> Message:
    """A result as the pipeline makes it; `more` is what differs."""
    said = {
        "schema": 1,
        "id": f"line3/digits/5f0c9a1e/{n}",
        "time": TIME,
        "clock_synced": True,
        "device": "line3",
        "model": {"name": "digits", "version": "1", "sha256": "ab" * 32},
        "source": "mqtt:edge/line3/digits/input",
        "seq": n,
        "task": "classify",
        "predictions": [{"index": 7, "label": "7", "score": 0.98}],
        "timing_ms": {"preprocess": 0.2, "infer": 1.1, "postprocess": 0.1},
    }
    return Message("result", msgspec.json.encode({**said, **more}), n)


class Delivery:
    """An outbox with a sink for a real store and a spool on disk, in a thread as `edge-run` has it."""

    def __init__(self, uri: str, folder: Path, context: SinkContext | None = None) -> None:
        self.metrics = Metrics()
        self.refused: list[tuple[int, str]] = []
        self.safe: list[int] = []
        sink = assembly.make_sink(uri, context or SinkContext(device="line3", model="digits"))
        self.outbox = Outbox(
            "store",
            sink,
            SqliteSpool(folder / "test.spool", 100_000_000),
            clock=SystemClock(),
            metrics=self.metrics,
            options=OutboxOptions(save_past=max(SAVE_PAST, 2 * sink.window), retry_first_s=0.05, retry_most_s=0.2),
        )
        self.outbox.on_refused = lambda message, reason: self.refused.append((message.seq, reason))
        self.outbox.open()
        self._thread = threading.Thread(target=self.outbox.run)
        self._thread.start()

    def put(self, *messages: Message) -> None:
        for message in messages:
            self.outbox.put([(message, Ack(1, lambda n=message.seq: self.safe.append(n)))])

    def count(self, what: str) -> int:
        return int(self.metrics.snapshot().get(what, 0))

    def finish(self, timeout_s: float = 240.0) -> None:
        """Waits until all is confirmed."""
        self.outbox.finish()
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), f"not delivered in {timeout_s:.0f} s: {self.outbox.waiting()}"

    def stop(self) -> None:
        if self._thread.is_alive():
            self.outbox.stop(0.0)
            self._thread.join(150.0)
