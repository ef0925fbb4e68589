"""The threads of the flow, and the main thread, which watches them.

The infer thread reads the source, prepares, infers, and puts results into the outboxes. A live source, and pictures,
have a capture thread too: it keeps the newest frame, or prepares the next picture while the model runs. Each outbox has
a thread, unless its sink has a loop.

Only here is an error's fate carried out: `FatalError` stops everything with its exit code, `UnavailableError`
closes the source and opens it again after a while, `SampleError` skips one sample and says so on `error`.
Anything else is a bug, and fatal too.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TypeAlias

import msgspec

from edge.data.sample import Sample
from edge.data.units import SECOND_NS
from edge.delivery.outbox import Outbox
from edge.delivery.publish_filter import PublishFilter
from edge.delivery.retry import Backoff
from edge.errors import FatalError
from edge.pipeline.pipeline import Pipeline
from edge.pipeline.prepare import Work
from edge.plugins.protocols import AcknowledgingSource, Clock, Source
from edge.runtime.batches import Batches, up_to_a_batch
from edge.runtime.crash_guard import CrashGuard
from edge.runtime.end_report import EndReport
from edge.runtime.frame_queue import Closed, FrameQueue
from edge.runtime.publisher import Observer, Outcome, Publisher
from edge.runtime.reader import SourceReader, Unreadable
from edge.runtime.stop import Stop
from edge.telemetry.metrics import Metrics
from edge.telemetry.priority import stand_back

log = logging.getLogger("edge.runner")

LIVE_CAPACITY = 1
AHEAD_CAPACITY = 3
"""Of what is prepared ahead: large tensors, that the preprocessor uses again. Two are prepared at each wake."""
READ_WAIT_S = 0.5
HANGS_AFTER_S = 5.0
"""How long, beyond the grace time, the end waits for a thread that does not come back."""

Item: TypeAlias = Sample | Work | Unreadable


class RunnerOptions(msgspec.Struct, frozen=True):
    """`grace_s`: how long outboxes go on sending after a signal. `tick` is called about twice a second.

    `publish_filter` says which results are published; None: all. Observers see all of them.
    """

    grace_s: float = 5.0
    source_name: str = "source"
    tick: Callable[[], None] = lambda: None
    observers: tuple[Observer, ...] = ()
    beat: Callable[[str], None] = msgspec.field(default=lambda _: None)
    """A thread makes progress, by its name."""
    ended: Callable[[str], None] = msgspec.field(default=lambda _: None)
    """A thread has ended."""
    admit: Callable[[], bool] = lambda: True
    """False: this sample of a live source is shed, for the board is hot."""
    publish_filter: PublishFilter | None = None
    guard: CrashGuard | None = None
    """Leaves out inputs that kill the process; for a source that would be given them again."""


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
        backoff: Backoff | None = None,
        stop: Stop | None = None,
    ) -> None:
        """`stop` is how other parts and signals end it; a runner without one has its own."""
        self._end = stop or Stop()
        self._source = source
        self._acknowledging: AcknowledgingSource | None = source if isinstance(source, AcknowledgingSource) else None
        self._pipeline = pipeline
        self._outboxes = tuple(outboxes)
        for outbox in self._outboxes:
            outbox.on_end = self._end.look
        self._clock = clock
        self._metrics = metrics
        self._options = options or RunnerOptions()
        self._stop = threading.Event()
        self._report = EndReport(metrics, self._options.source_name)
        self._publisher = Publisher(
            self._outboxes,
            self._safe,
            clock=clock,
            metrics=metrics,
            report=self._report,
            publish_filter=self._options.publish_filter,
            observers=self._options.observers,
            waiting=self._beat_infer,
        )
        self._batches = Batches(
            pipeline,
            self._publisher,
            clock=clock,
            metrics=metrics,
            guard=self._options.guard,
            stopping=self._stop.is_set,
            beat=self._beat_infer,
        )
        self._reader: SourceReader | None = None
        if source is not None:
            self._reader = SourceReader(
                source,
                self._options.source_name,
                clock=clock,
                metrics=metrics,
                backoff=backoff or Backoff(),
                stop=self._stop,
            )
        live = source is not None and source.live
        self._captures = source is not None and (live or pipeline.ahead)
        self._frames: FrameQueue[Item] = FrameQueue(
            LIVE_CAPACITY if live else AHEAD_CAPACITY, drop_oldest=live, dropped=self._dropped
        )
        self._ended: set[str] = set()
        self.left_behind: list[str] = []
        """Threads that hung in a source or a sink when `run` returned: an exit has to go without them."""

    # --- from other threads -------------------------------------------------------------------------

    def stop(self) -> None:
        """Reading ends, what was read is inferred, outboxes send for the grace time. From any thread or a signal."""
        self._end.request()

    def fail(self, exc: BaseException) -> None:
        """A thread has ended with an error: the first one decides."""
        self._end.fail(exc)

    # --- the main thread ----------------------------------------------------------------------------

    def run(self) -> None:
        outboxes = [self._start(f"outbox-{o.name}", o.run) for o in self._outboxes if not o.in_loop]
        infer = self._start("infer", self._infer, serves=False)
        capture = [self._start("capture", self._capture)] if self._captures else []
        try:
            self._watch(infer)
        finally:
            self._stop.set()
            self._join([*capture, infer, *outboxes])
        if self._end.failure is not None:
            raise self._end.failure
        if self._reader is not None and self._reader.broken is not None:
            raise self._reader.broken
        if self._reader is not None and self._reader.ended:
            self._report.tell()

    def _join(self, threads: Sequence[threading.Thread]) -> None:
        until = self._clock.monotonic_ns() + int((self._options.grace_s + HANGS_AFTER_S) * SECOND_NS)
        while (names := self._running(threads)) and self._clock.monotonic_ns() < until:
            self._look()
        self.left_behind = names
        for name in names:
            log.error("thread hangs, the end goes on without it", extra={"hung": name})
        if set(names) - {"capture", "infer" if self._source_hangs else "capture"}:
            self.fail(FatalError(f"{', '.join(names)} did not end; what was held there is not delivered"))

    @property
    def _source_hangs(self) -> bool:
        """The infer thread is still inside the source although all is to end: what it had read before is delivered."""
        return not self._captures and self._reader is not None and self._reader.reading

    def _running(self, threads: Sequence[threading.Thread]) -> list[str]:
        """Threads, and outboxes in other loops, that have not ended."""
        in_loops = [f"outbox-{o.name}" for o in self._outboxes if o.in_loop and not o.ended]
        return [t.name for t in threads if t.is_alive()] + in_loops

    def _watch(self, infer: threading.Thread) -> None:
        ends_ns: int | None = None
        hangs_at: int | None = None
        told = False
        while not (infer.name in self._ended and all(outbox.ended for outbox in self._outboxes)):
            if self._look():
                self._stop.set()
            if self._stop.is_set():
                self._frames.close()
                ends_ns = ends_ns or self._clock.monotonic_ns() + int(self._options.grace_s * SECOND_NS)
                for outbox in self._outboxes:
                    outbox.hurry()
                hangs_at = hangs_at or self._clock.monotonic_ns() + int(2 * READ_WAIT_S * SECOND_NS)
            hangs = hangs_at is not None and self._source_hangs and self._clock.monotonic_ns() > hangs_at
            if infer.name in self._ended and not self._stop.is_set() and not told:
                told = True
                for outbox in self._outboxes:
                    outbox.finish()
            if (infer.name in self._ended or hangs) and self._stop.is_set():
                left_ns = max(0, (ends_ns or 0) - self._clock.monotonic_ns())
                for outbox in self._outboxes:
                    outbox.stop(left_ns / SECOND_NS)
                break

    def _look(self) -> bool:
        """Waits until something has changed, a quarter of a second at most; True where it is a request to end."""
        ends = self._end.wait(0.25)
        self._options.tick()
        self._options.beat("main")
        return ends

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

    # --- capture ------------------------------------------------------------------------------------

    def _capture(self) -> None:
        reader = self._reader
        assert reader is not None
        try:
            while True:
                self._options.beat("capture")
                for item in reader.get(READ_WAIT_S):
                    self._queue(item)
        except Closed:
            return
        finally:
            self._frames.close()
            reader.close()

    def _queue(self, item: Item) -> None:
        """Prepares the item where it is the next one, and waits until there is room for it. Raises Closed."""
        prepares = self._pipeline.ahead and (not self._is_live or self._frames.empty)
        if isinstance(item, Sample) and prepares and self._verdict(item) is None:
            # Of a live source a newer one takes the place of the one that waits: only the first is worth preparing.
            self._begin("capture", [item])
            (item,) = self._pipeline.prepare([item])
            self._finish("capture")
        while not self._frames.put(item, READ_WAIT_S):
            self._options.beat("capture")
            if self._stop.is_set():
                raise Closed

    @property
    def _is_live(self) -> bool:
        return self._source is not None and self._source.live

    def _dropped(self, item: Item, reason: str = "mailbox") -> None:
        self._metrics.inc(f"dropped:{reason}")
        if not isinstance(item, Unreadable) and self._acknowledging is not None:
            self._acknowledging.ack(item.sample if isinstance(item, Work) else item)

    # --- infer --------------------------------------------------------------------------------------

    def _infer(self) -> None:
        reads = self._reader is not None and not self._captures
        try:
            while True:
                self._options.beat("infer")
                for_s, most = self._publisher.publish_due(), self._pipeline.at_once
                if self._batches.due or (self._batches and not self._mixes and not self._stop.is_set()):
                    self._batches.turn()
                    continue
                for_s = 0.0 if self._batches else for_s
                items = self._reader.get(for_s, most) if reads and self._reader else self._frames.get(for_s, most)
                if items:
                    self._infer_all(items)
                elif self._batches:
                    self._batches.turn()
        except Closed:
            self._batches.finish()
            self._publisher.publish_rest()
        finally:
            if reads and self._reader is not None:
                self._reader.close()

    def _infer_all(self, items: Sequence[Item]) -> None:
        self._metrics.set("last_sample_s", self._clock.time_ns() / SECOND_NS)
        for _, group in itertools.groupby(items, self._together):
            self._infer_group(list(group))

    def _together(self, item: Item) -> object:
        """Equal for neighbours that may run together."""
        if isinstance(item, Unreadable):
            return "unreadable"
        guard = self._options.guard
        if guard is None or not guard.suspects:
            return "readable"
        sample = _sample(item)
        return sample.captured_ns if guard.alone(sample) else "readable"

    def _infer_group(self, items: Sequence[Item]) -> None:
        """Of one kind, by `_together`."""
        if isinstance(items[0], Unreadable):
            self._publisher.publish([self._unread(item) for item in items if isinstance(item, Unreadable)])
            return
        readable = [item for item in items if not isinstance(item, Unreadable)]
        verdict = self._verdict(_sample(readable[0]))
        if verdict is not None:
            self._metrics.inc("dropped:input-crash", len(readable))
            samples = [_sample(item) for item in readable]
            self._publisher.publish([(sample, [self._pipeline.skipped(sample, verdict)]) for sample in samples])
            return
        self._begin("infer", readable)
        works: Sequence[Work] = self._prepared(readable)
        while works:
            some, works = up_to_a_batch(works)
            self._run(some)

    def _run(self, works: Sequence[Work]) -> None:
        """The last one may be the first piece of a batch: the samples behind it wait for their turn."""
        self._begin("infer", works)
        results = self._pipeline.run(works)
        self._finish("infer")
        if self._options.guard is not None:
            self._options.guard.acquit([work.sample for work in works])
        whole = [(w.sample, found) for w, found in zip(works, results, strict=True) if w.rest is None]
        if whole:
            self._publisher.publish(whole)
        if len(whole) < len(works):
            self._batches.begin(works[-1], results[-1])

    @cached_property
    def _mixes(self) -> bool:
        """Whether other samples run between the pieces of a batch: they come from several senders, none has to wait."""
        return self._acknowledging is not None and self._pipeline.free

    def _verdict(self, sample: Sample) -> str | None:
        guard = self._options.guard
        return guard.verdict(sample) if guard is not None and guard.suspects else None

    def _begin(self, thread: str, items: Sequence[Sample | Work]) -> None:
        """Until `_finish` these are to blame should the process die."""
        if self._options.guard is not None:
            self._options.guard.begin(thread, [_sample(item) for item in items])

    def _finish(self, thread: str) -> None:
        if self._options.guard is not None:
            self._options.guard.end(thread)

    def _beat_infer(self) -> None:
        self._options.beat("infer")

    def _prepared(self, items: Sequence[Sample | Work]) -> list[Work]:
        """What is admitted, prepared where the capture thread has not done so."""
        admitted = [item for item in items if self._admits(item)]
        now = self._clock.monotonic_ns()
        self._metrics.observe_all("stage:capture", [(now - _left_ns(item)) / SECOND_NS for item in admitted])
        raw = iter(self._pipeline.prepare([i for i in admitted if isinstance(i, Sample)]))
        return [i if isinstance(i, Work) else next(raw) for i in admitted]

    def _admits(self, item: Sample | Work) -> bool:
        if self._options.admit():
            return True
        self._dropped(item, "heat")
        return False

    def _unread(self, item: Unreadable) -> Outcome:
        sample = Sample(None, item.source, self._clock.monotonic_ns(), self._clock.time_ns(), token=item)
        return sample, [self._pipeline.skipped(sample, item.reason)]

    def _safe(self, sample: Sample) -> None:
        self._metrics.inc("samples_safe")
        if self._acknowledging is not None and not isinstance(sample.token, Unreadable):
            self._acknowledging.ack(sample)


def _sample(item: Sample | Work) -> Sample:
    return item.sample if isinstance(item, Work) else item


def _left_ns(item: Sample | Work) -> int:
    """When it was captured, less what preparing it has taken since: what is left is waiting."""
    if isinstance(item, Work):
        return item.sample.captured_ns + sum(p.preprocess_ns for p in item.parts)
    return item.captured_ns
