"""Batches that take long: run piece by piece, with a look at the watchdog and at the end in between, and in turns.

One that ends within a turn keeps its place in the order. After a turn the samples that wait get as long, then the next
batch: none holds up the others for longer. A sample whose batch was not run to its end is not acknowledged.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from edge.data.result import Result, Skipped
from edge.delivery.ack import Ack
from edge.pipeline.pipeline import Pipeline
from edge.pipeline.prepare import Work
from edge.plugins.protocols import Clock
from edge.runtime.guard import Guard
from edge.runtime.publisher import Publisher
from edge.telemetry.metrics import Metrics

log = logging.getLogger("edge.runner")

TURN_NS = 400_000_000
"""How long one batch holds up other samples, and the same samples the batch."""

END_NS = 1_000_000_000
"""How long all batches together go on when the process is to end: the outboxes need the grace time too."""
MOST = 16
"""So many under way, and no other sample is read: each holds its rows, and more would only come faster than they go."""


class _Batch(msgspec.Struct):
    """`work` is its newest piece, `results` how many there were so far. It ends with the model it began with."""

    work: Work
    ack: Ack
    pipeline: Pipeline
    results: int = 0


class Batches:
    """Those that are under way. Belongs to the infer thread."""

    def __init__(
        self,
        publisher: Publisher,
        *,
        clock: Clock,
        metrics: Metrics,
        guard: Guard,
        stopping: Callable[[], bool],
        beat: Callable[[], None],
    ) -> None:
        """`stopping`: the process is to end; `beat` says before each piece that the thread makes progress."""
        self._publisher = publisher
        self._clock = clock
        self._metrics = metrics
        self._guard = guard
        self._stopping = stopping
        self._beat = beat
        self.under_way: deque[_Batch] = deque()
        self._others_until_ns = 0
        self._end_ns: int | None = None

    @property
    def full(self) -> bool:
        """True where as many are under way as may be."""
        return len(self.under_way) >= MOST

    @property
    def due(self) -> bool:
        """True where the other samples have had their time."""
        return bool(self.under_way) and self._clock.monotonic_ns() >= self._others_until_ns

    def uses(self, pipeline: Pipeline) -> bool:
        """True while a batch that began with this pipeline is under way."""
        return any(batch.pipeline is pipeline for batch in self.under_way)

    def begin(self, work: Work, results: Sequence[Result | Skipped], pipeline: Pipeline) -> None:
        """Of a batch that has a rest: `results` are those of its first piece. What follows is run for a turn, and to
        its end by `pipeline`."""
        batch = _Batch(work, self._publisher.begin(work.sample), pipeline)
        self._publish(batch, results)
        self.under_way.appendleft(batch)
        self.turn()

    def turn(self) -> None:
        """Goes on with the batch whose turn it is, to its end where that is near."""
        batch = self.under_way.popleft()
        self._run(batch)
        if batch.work.rest is not None:
            self.under_way.append(batch)
        self._others_until_ns = self._clock.monotonic_ns() + TURN_NS

    def finish(self) -> None:
        """The source has ended: all are run to their end. Where the process is to end, what is nearly done or will not
        come again gets one more turn, all together no more than a second."""
        while self.under_way and not self._stopping():
            self.turn()
        for batch in self.under_way:
            self._run(batch)
            self._leave(batch)
        self.under_way.clear()

    def _run(self, batch: _Batch) -> None:
        until_ns = self._until_ns()
        comes_again = batch.work.sample.origin is not None
        while (rest := batch.work.rest) is not None and self._clock.monotonic_ns() < until_ns:
            if comes_again and rest.is_long and self._stopping():
                return
            self._beat()
            self._next(batch, rest)

    def _until_ns(self) -> int:
        """When a turn that begins now is over."""
        now = self._clock.monotonic_ns()
        if not self._stopping():
            return now + TURN_NS
        self._end_ns = self._end_ns or now + END_NS
        return min(now + TURN_NS, self._end_ns)

    def _next(self, batch: _Batch, rest: Work) -> None:
        """Prepares and runs the next piece."""
        piece = self._guard.piece(batch.work.sample, rest.position)
        verdict = self._guard.verdict(piece) if self._guard.suspects else None
        self._guard.mark("infer", [piece])
        batch.work = batch.pipeline.next(batch.work, verdict or "")
        results = batch.pipeline.run([batch.work])[0]
        self._guard.mark("infer")
        if verdict is None:
            self._guard.acquit([piece])
        self._publish(batch, results)

    def _publish(self, batch: _Batch, results: Sequence[Result | Skipped]) -> None:
        batch.results += len(results)
        self._publisher.publish_piece(batch.work.sample, results, batch.ack, last=batch.work.rest is None)

    def _leave(self, batch: _Batch) -> None:
        if batch.work.rest is None:
            return
        facts = {"source": batch.work.sample.source, "results": batch.results}
        if batch.work.sample.origin is not None:
            log.info("the end came within a batch: it is not acknowledged, and comes again", extra=facts)
        else:
            self._metrics.inc("dropped:stop")
            log.warning("the end came within a batch: the rest of its rows has no results", extra=facts)
