"""The threads of the flow, and the main thread, which watches them.

The infer thread reads the source, prepares, infers, and puts results into the outboxes. A live source, and pictures,
have a capture thread too: it keeps the newest frame, or prepares the next picture while the model runs. With several
instances of the model each has a thread that prepares and infers (`instances.py`). Each outbox has a thread, unless its
sink has a loop.

Only here is an error's fate carried out: `FatalError` stops everything with its exit code, `UnavailableError`
closes the source and opens it again after a while, `SampleError` skips one sample and says so on `error`.
Anything else is a bug, and fatal too.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from edge.data.sample import Sample
from edge.data.units import SECOND_NS
from edge.delivery.outbox import Outbox
from edge.errors import FatalError
from edge.pipeline.pipeline import Pipeline
from edge.plugins.protocols import AcknowledgingSource, Clock, LoopSource, ReadySource, Source, WakeableSource
from edge.runtime.capturing import READ_WAIT_S, Capture
from edge.runtime.end_report import EndReport
from edge.runtime.frame_queue import Closed, FrameQueue
from edge.runtime.handover import Handover
from edge.runtime.inference import Feed, Inference, Item, Takeover, sample_of
from edge.runtime.options import RunnerOptions
from edge.runtime.publisher import Publisher
from edge.runtime.reader import SourceReader, Unreadable
from edge.telemetry.metrics import Metrics
from edge.telemetry.priority import stand_back

log = logging.getLogger("edge.runner")

LIVE_CAPACITY = 1
AHEAD_CAPACITY = 3
"""Of what is prepared ahead: large tensors, that the preprocessor uses again. Two are prepared at each wake."""
LOOK_S = 0.25
"""How long the main thread waits at most until it looks at everything again."""
HANGS_AFTER_S = 5.0
"""How long, beyond the grace time, the end waits for a thread that does not come back."""
TOLD_AFTER_S = 5.0
"""How long a finite source's last results wait for a sink that is away before the log says so."""
SINK_HANGS_AFTER_S = 12.0
"""The same for an outbox: its sink gives a request up after ten seconds at most, and what waits is saved only then."""


class Runner:
    """`run` returns when a finite source's last result is confirmed, or after `stop`; raises what was fatal."""

    def __init__(
        self,
        source: Source | None,
        pipeline: Pipeline,
        outboxes: Sequence[Outbox],
        *,
        clock: Clock,
        metrics: Metrics,
        options: RunnerOptions | None = None,
    ) -> None:
        self._options = options or RunnerOptions()
        self._end = self._options.stop
        self._acknowledging: AcknowledgingSource | None = source if isinstance(source, AcknowledgingSource) else None
        self._wakeable: WakeableSource | None = source if isinstance(source, WakeableSource) else None
        self._outboxes = tuple(outboxes)
        for outbox in self._outboxes:
            outbox.on_end = self._end.look
        self._clock = clock
        self._metrics = metrics
        self._stop = threading.Event()
        self._report = EndReport(metrics, self._options.source_name, self._options.run)
        publisher = Publisher(
            self._outboxes, self._safe, clock=clock, metrics=metrics, report=self._report, options=self._options
        )
        self._reader: SourceReader | None = None
        if source is not None:
            self._reader = SourceReader(source, self._stop, clock=clock, metrics=metrics, options=self._options)
        live = source is not None and source.live
        pipelines = self._options.instances
        gated = self._options.gate is not None
        captures = live or gated or pipeline.ahead or bool(pipelines)
        capacity = LIVE_CAPACITY if live else AHEAD_CAPACITY + len(pipelines)
        self._frames: FrameQueue[Item] = FrameQueue(capacity, drop_oldest=live, dropped=self._dropped)
        get = self._frames.get if captures or self._reader is None else self._reader.get
        left = self._frames.holds if captures or self._reader is None else lambda: True
        senders = self._acknowledging is not None
        feed = Feed(
            get, left, self._frames.wake, partial(self._dropped, reason="heat"), self._stop.is_set, senders, live
        )
        self._inference = Inference(pipeline, publisher, feed, clock=clock, metrics=metrics, options=self._options)
        self._capture: Capture | None = None
        if captures and self._reader is not None:
            ahead = self._inference if pipeline.ahead and not pipelines else None
            left_out = partial(self._dropped, reason="motion")
            self._capture = Capture(
                self._reader, self._frames, ahead, self._options, came=self._came, left_out=left_out
            )
        self._handover = self._make_handover(source, live=live)
        for outbox in self._outboxes:
            outbox.on_failed = self.fail
        self._ended: set[str] = set()
        self.left_behind: list[str] = []
        """Threads that hung in a source or a sink when `run` returned: an exit has to go without them."""

    def _make_handover(self, source: object, *, live: bool) -> Handover | None:
        """Where one loop sends all results, and reads the source or is woken for the frames of a live one, a sample
        need wake no other thread."""
        loop = self._outboxes[0].loop if self._outboxes else None
        if (
            loop is None
            or self._options.beside_others
            or self._options.instances
            or any(outbox.loop is not loop for outbox in self._outboxes)
        ):
            return None
        if self._capture is not None:
            return Handover(self._inference, self._outboxes, loop, self._clock) if live else None
        reads = source.loop is loop if isinstance(source, LoopSource) else _is_ready(source)
        return Handover(self._inference, self._outboxes, loop) if reads else None

    @property
    def instances(self) -> int:
        """How many of the model run side by side."""
        return max(1, len(self._options.instances))

    # --- from other threads -------------------------------------------------------------------------

    def stop(self) -> None:
        """Reading ends, what was read is inferred, outboxes send for the grace time. From any thread or a signal."""
        self._end.request()

    def fail(self, exc: BaseException) -> None:
        """A thread has ended with an error: the first one decides."""
        self._end.fail(exc)

    def take_over(self, takeover: Takeover) -> None:
        """Another model is to run. From any thread."""
        self._inference.put(takeover)

    # --- the main thread ----------------------------------------------------------------------------

    def run(self) -> None:
        """The whole life, where it is the only one."""
        for _ in self.life():
            self._end.wait(LOOK_S)

    def life(self) -> Iterator[None]:
        """Begins, and gives the main thread back each time it has looked at everything, until all has ended: it may
        look at other runs meanwhile, and is to go on when something came, or after `LOOK_S`. Raises what was fatal."""
        outboxes = [self._start_outbox(o) for o in self._outboxes if o.loop is None]
        infer = self._start("infer", self._infer, serves=False)
        capture = [self._start("capture", self._capture.run)] if self._capture is not None else []
        try:
            yield from self._watch(infer)
        finally:
            self._stop.set()
            yield from self._join([*capture, infer, *outboxes])
        if self._end.failure is not None:
            raise self._end.failure
        if self._reader is not None and self._reader.broken is not None:
            raise self._reader.broken
        if self._reader is not None and self._reader.ended:
            self._report.tell()
        else:
            self._report.stopped()

    def _join(self, threads: Sequence[threading.Thread]) -> Iterator[None]:
        began_ns = self._clock.monotonic_ns()
        while names := self._running(threads):
            most_s = SINK_HANGS_AFTER_S if any(name.startswith("outbox-") for name in names) else HANGS_AFTER_S
            if self._clock.monotonic_ns() - began_ns >= (self._options.grace_s + most_s) * SECOND_NS:
                break
            yield
            self._look()
        self.left_behind = names
        for name in names:
            log.error("thread hangs, the end goes on without it", extra={"hung": name})
        if set(names) - {"capture", "infer" if self._source_hangs else "capture"}:
            self.fail(FatalError(f"{', '.join(names)} did not end; what was held there is not delivered"))

    @property
    def _source_hangs(self) -> bool:
        """The infer thread is still inside the source although all is to end: what it had read before is delivered."""
        return self._capture is None and self._reader is not None and self._reader.in_source

    def _running(self, threads: Sequence[threading.Thread]) -> list[str]:
        """Threads, and outboxes in other loops, that have not ended."""
        in_loops = [f"outbox-{o.name}" for o in self._outboxes if o.loop is not None and not o.ended]
        return [t.name for t in threads if t.is_alive()] + in_loops

    def _watch(self, infer: threading.Thread) -> Iterator[None]:
        ends_ns: int | None = None
        hangs_at: int | None = None
        finished_ns: int | None = None
        told = False
        while not (infer.name in self._ended and all(outbox.ended for outbox in self._outboxes)):
            yield
            self._look()
            if self._end.asked:
                self._stop.set()
            if self._stop.is_set():
                self._frames.close()
                if self._wakeable is not None:
                    self._wakeable.wake()
                self._came()
                ends_ns = ends_ns or self._clock.monotonic_ns() + int(self._options.grace_s * SECOND_NS)
                for outbox in self._outboxes:
                    outbox.hurry()
                hangs_at = hangs_at or self._clock.monotonic_ns() + int(2 * READ_WAIT_S * SECOND_NS)
            hangs = hangs_at is not None and self._source_hangs and self._clock.monotonic_ns() > hangs_at
            if infer.name in self._ended and not self._stop.is_set() and finished_ns is None:
                finished_ns = self._clock.monotonic_ns()
                for outbox in self._outboxes:
                    outbox.finish()
            if finished_ns is not None and not told:
                told = self._clock.monotonic_ns() - finished_ns >= TOLD_AFTER_S * SECOND_NS
                if told:
                    self._tell_what_waits()
            if (infer.name in self._ended or hangs) and self._stop.is_set():
                left_ns = max(0, (ends_ns or 0) - self._clock.monotonic_ns())
                for outbox in self._outboxes:
                    outbox.stop(left_ns / SECOND_NS)
                break

    def _tell_what_waits(self) -> None:
        """The source has ended and a sink is away: without a word the process would seem to hang."""
        for outbox in self._outboxes:
            waiting = outbox.waiting()
            if outbox.ended or waiting["connected"]:
                continue
            text = (
                "the source has ended, its last results wait for a sink that is away; SIGTERM or Ctrl-C ends before, "
            )
            text += "and the next start sends them" if outbox.keeps else "and they are lost (--durability none)"
            log.warning(text, extra={"sink": outbox.name, "messages": waiting["depth"]})

    def _look(self) -> None:
        self._options.tick()
        self._options.beat("main")

    def _start_outbox(self, outbox: Outbox) -> threading.Thread:
        name = f"outbox-{outbox.name}"
        return self._start(name, partial(outbox.run, partial(self._options.beat, name)))

    def _start(self, name: str, target: Callable[[], None], *, serves: bool = True) -> threading.Thread:
        """`serves`: it is there for the one that infers, and does not interrupt it."""

        def guarded() -> None:
            try:
                if serves:
                    stand_back()
                target()
            except BaseException as exc:  # noqa: BLE001 - the end of a thread: the main thread raises it again
                self.fail(exc)
            finally:
                self._options.ended(name)
                self._ended.add(name)
                self._end.look()

        thread = threading.Thread(target=guarded, name=name, daemon=False)
        thread.start()
        return thread

    # --- told by the threads of the flow -------------------------------------------------------------

    def _came(self) -> None:
        if self._handover is not None:
            self._handover.came()

    def _dropped(self, item: Item, reason: str = "mailbox") -> None:
        self._metrics.inc(f"dropped:{reason}")
        if not isinstance(item, Unreadable) and self._acknowledging is not None:
            self._acknowledging.ack(sample_of(item))

    # --- infer --------------------------------------------------------------------------------------

    def _infer(self) -> None:
        inference, handover = self._inference, self._handover
        try:
            while True:
                inference.turn()
                if handover is not None and handover.pays():
                    handover.give()
        except Closed:
            inference.end()
        finally:
            inference.close()
            if self._reader is not None and self._capture is None:
                self._reader.close()

    def _safe(self, sample: Sample) -> None:
        self._metrics.inc("samples_safe")
        if self._acknowledging is not None and not isinstance(sample.token, Unreadable):
            self._acknowledging.ack(sample)


def _is_ready(source: object) -> bool:
    return isinstance(source, ReadySource) and source.ready is True
