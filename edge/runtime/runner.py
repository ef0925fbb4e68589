"""Capture, infer and finish threads, a thread for each outbox without a loop, and the main thread, which watches them.

Only here is an error's fate carried out: `FatalError` stops everything with its exit code, `UnavailableError`
closes the source and opens it again after a while, `SampleError` skips one sample and says so on `error`.
Anything else is a bug, and fatal too.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from edge.data import codec
from edge.data.message import Message
from edge.data.result import Result, Skipped, Timing
from edge.data.sample import Sample
from edge.delivery.ack import Ack
from edge.delivery.outbox import Outbox
from edge.delivery.pending import Acked
from edge.delivery.publish_filter import Gate
from edge.delivery.retry import Backoff
from edge.errors import EndOfStream, FatalError, SampleError, SourceError, UnavailableError
from edge.pipeline.pipeline import Inferred, Pipeline
from edge.pipeline.prepare import Work
from edge.plugins.protocols import AcknowledgingSource, Clock, Source
from edge.runtime.end_report import EndReport
from edge.runtime.finisher import Relay
from edge.runtime.frame_queue import Closed, Mailbox
from edge.runtime.skip_log import SkipLog
from edge.runtime.stop import Stop
from edge.telemetry.metrics import Metrics
from edge.telemetry.priority import stand_back

log = logging.getLogger("edge.runner")

SECOND_NS = 1_000_000_000
LIVE_CAPACITY = 1
QUEUE_CAPACITY = 16
AHEAD_CAPACITY = 3
"""Of what is prepared ahead: large tensors, that the preprocessor uses again. Two are prepared at each wake."""
FEW = 8
"""A model that takes so few samples at once takes half a millisecond for each: ten times a thread's wake."""
HANGS_AFTER_S = 5.0
"""How long, beyond the grace time, the end waits for a thread that does not come back."""


class Unreadable(msgspec.Struct, frozen=True):
    """A sample that the source could not read: it takes its place in the order, to be reported."""

    reason: str
    source: str


Item: TypeAlias = Sample | Work | Unreadable
Task: TypeAlias = Inferred | Sequence[Unreadable]
Outcome: TypeAlias = tuple[Sample, Sequence[Result | Skipped]]
Observer: TypeAlias = Callable[[Sample, Sequence[Result | Skipped]], None]
"""Is shown each sample with its results, in the thread that finishes them."""


class RunnerOptions(msgspec.Struct, frozen=True):
    """`grace_s`: how long outboxes go on sending after a signal. `tick` is called about twice a second.

    `gate` says which results are published; None: all. Observers see all of them.
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
    gate: Gate | None = None


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
        self._backoff = backoff or Backoff()
        live = source is not None and source.live
        queued = AHEAD_CAPACITY if pipeline.ahead else QUEUE_CAPACITY
        self._mailbox: Mailbox[Item] = Mailbox(
            LIVE_CAPACITY if live else queued, drop_oldest=live, dropped=self._dropped
        )
        self._stop = threading.Event()
        self._broken: SourceError | None = None
        self._relay: Relay[Task] = Relay(self._finish)
        self._skips = SkipLog(clock)
        self._report = EndReport(metrics, self._options.source_name)
        self._source_ended = False
        self._gate = self._options.gate
        self._ended: set[str] = set()
        self.left_behind: list[str] = []
        """Threads that hung in a source or a sink when `run` returned: an exit has to go without them."""

    # --- from other threads -------------------------------------------------------------------------

    def stop(self) -> None:
        """Capture ends, the mailbox is emptied, outboxes send for the grace time. From any thread or a signal."""
        self._end.request()

    def fail(self, exc: BaseException) -> None:
        """A thread has ended with an error: the first one decides."""
        self._end.fail(exc)

    # --- the main thread ----------------------------------------------------------------------------

    def run(self) -> None:
        outboxes = [self._start(f"outbox-{o.name}", o.run) for o in self._outboxes if not o.in_loop]
        infer = self._start("infer", self._infer, serves=False)
        finish = self._start("finish", self._relay.run)
        capture = self._start("capture", self._capture) if self._source is not None else None
        try:
            self._watch(infer)
        finally:
            self._stop.set()
            self._join([t for t in (capture, infer, finish, *outboxes) if t is not None])
        if self._end.failure is not None:
            raise self._end.failure
        if self._broken is not None:
            raise self._broken
        if self._source_ended:
            self._report.tell()

    def _join(self, threads: Sequence[threading.Thread]) -> None:
        until = self._clock.monotonic_ns() + int((self._options.grace_s + HANGS_AFTER_S) * SECOND_NS)
        while (names := self._running(threads)) and self._clock.monotonic_ns() < until:
            self._options.tick()
            self._options.beat("main")
            self._end.wait(0.25)
        self.left_behind = names
        for name in names:
            log.error("thread hangs, the end goes on without it", extra={"hung": name})
        if set(names) - {"capture"}:
            self.fail(FatalError(f"{', '.join(names)} did not end; what was held there is not delivered"))

    def _running(self, threads: Sequence[threading.Thread]) -> list[str]:
        """Threads, and outboxes in other loops, that have not ended."""
        in_loops = [f"outbox-{o.name}" for o in self._outboxes if o.in_loop and not o.ended]
        return [t.name for t in threads if t.is_alive()] + in_loops

    def _watch(self, infer: threading.Thread) -> None:
        told = False
        while not (infer.name in self._ended and all(outbox.ended for outbox in self._outboxes)):
            if self._end.wait(0.25):
                self._stop.set()
            self._options.tick()
            self._options.beat("main")
            if self._stop.is_set():
                self._mailbox.close()
                for outbox in self._outboxes:
                    outbox.hurry()
            if infer.name in self._ended and not told:
                told = True
                for outbox in self._outboxes:
                    if not self._stop.is_set():
                        outbox.finish()
            if infer.name in self._ended and self._stop.is_set():
                for outbox in self._outboxes:
                    outbox.stop(self._options.grace_s)
                break

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
        source = self._source
        if source is None:
            return
        away = False
        try:
            while not self._stop.is_set():
                try:
                    source.open()
                    self._metrics.set("source_up", 1)
                    if away:
                        away = False
                        log.info("source available again", extra={"source": self._options.source_name})
                    self._read_all(source)
                except UnavailableError as exc:
                    if not away:
                        away = True
                        log.warning(
                            "source unavailable", extra={"source": self._options.source_name, "reason": str(exc)}
                        )
                    self._metrics.inc("source_unavailable")
                    self._metrics.set("source_up", 0)
                    source.close()
                    self._pause(self._backoff.next_s())
        except EndOfStream:
            self._source_ended = True
            log.info("source ended", extra={"source": self._options.source_name})
        except SourceError as exc:
            self._broken = exc
        finally:
            self._mailbox.close()
            source.close()

    def _pause(self, seconds: float) -> None:
        until = self._clock.monotonic_ns() + int(seconds * SECOND_NS)
        while not self._stop.is_set() and self._clock.monotonic_ns() < until:
            self._options.beat("capture")
            self._stop.wait(min(0.5, seconds))

    def _read_all(self, source: Source) -> None:
        while not self._stop.is_set():
            self._options.beat("capture")
            try:
                item: Item | None = source.read(0.5)
            except SampleError as exc:
                item = Unreadable(str(exc), self._options.source_name)
            if item is None:
                continue
            self._backoff.reset()
            self._metrics.inc("samples_read")
            if isinstance(item, Sample) and self._pipeline.ahead and self._is_next(source):
                (item,) = self._pipeline.prepare([item])
            try:
                while not self._mailbox.put(item, 0.5):
                    self._options.beat("capture")
                    if self._stop.is_set():
                        return
            except Closed:
                return

    def _is_next(self, source: Source) -> bool:
        """Whether the sample just read will be inferred, or at least may: a newer one takes the place of a live one
        that waits, and to prepare each for that would be work for nothing."""
        return not source.live or self._mailbox.empty

    def _dropped(self, item: Item, reason: str = "mailbox") -> None:
        self._metrics.inc(f"dropped:{reason}")
        if not isinstance(item, Unreadable) and self._acknowledging is not None:
            self._acknowledging.ack(item.sample if isinstance(item, Work) else item)

    # --- infer --------------------------------------------------------------------------------------

    def _infer(self) -> None:
        try:
            while True:
                self._options.beat("infer")
                try:
                    items = self._mailbox.get(self._publish_due(), self._pipeline.at_once)
                except Closed:
                    self._relay.finish()
                    self._publish_late(self._gate.rest() if self._gate is not None else ())
                    return
                if items:
                    self._infer_all(items)
        finally:
            self._relay.close()

    def _infer_all(self, items: Sequence[Item]) -> None:
        self._metrics.set("last_sample_s", self._clock.time_ns() / 1e9)
        for readable, group in itertools.groupby(items, lambda item: not isinstance(item, Unreadable)):
            if readable:
                works = self._prepared([item for item in group if not isinstance(item, Unreadable)])
                task: Task = self._pipeline.infer_all(works)
            else:
                task = [item for item in group if isinstance(item, Unreadable)]
            self._relay.give(task, here=self._at_leisure(), waiting=self._beat_infer)

    def _at_leisure(self) -> bool:
        """False where the next sample waits for a model that takes its time: what comes after an inference, a tenth
        of it and more, is better done in another thread then. Small ones go together, and a rule looks at all."""
        return self._pipeline.at_once > FEW or self._mailbox.empty or self._gate is not None

    def _finish(self, task: Task) -> None:
        if isinstance(task, Inferred):
            outcomes = zip(task.works, self._pipeline.finish(task), strict=True)
            self._hand_over([(work.sample, found) for work, found in outcomes])
        else:
            self._hand_over([self._unread(item) for item in task])

    def _beat_infer(self) -> None:
        self._options.beat("infer")

    def _prepared(self, items: Sequence[Sample | Work]) -> list[Work]:
        """What is admitted, prepared where the capture thread has not done so."""
        admitted = [item for item in items if self._admits(item)]
        now = self._clock.monotonic_ns()
        self._metrics.observe_all("stage:capture", [(now - _left_ns(item)) / 1e9 for item in admitted])
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

    def _publish_due(self) -> float:
        """Publishes what was held back and is due now; returns how many seconds may pass before it is called again."""
        if self._gate is None:
            return 0.5
        self._publish_late(self._gate.due(self._clock.monotonic_ns()))
        return self._gate.due_in_s(self._clock.monotonic_ns(), 0.5)

    def _publish_late(self, results: Sequence[Result]) -> None:
        # Their samples were acknowledged, and their askers answered, when they were held back.
        ack = Ack(len(results), lambda: None)
        self._append([(Message("result", codec.encode(r), r.seq), ack) for r in results])

    def _hand_over(self, outcomes: Sequence[Outcome]) -> None:
        self._append([acked for sample, found in outcomes for acked in self._acked(sample, found)])
        self._count([o.timing_ms for _, found in outcomes for o in found if isinstance(o, Result)])
        for observe in self._options.observers:
            for sample, found in outcomes:
                observe(sample, found)

    def _acked(self, sample: Sample, found: Sequence[Result | Skipped]) -> list[Acked]:
        messages = [m for o in found if (m := self._message(sample, o)) is not None]
        if messages and sample.origin is not None:
            messages[-1] = replace(messages[-1], origin=sample.origin)
        ack = Ack(len(messages) * len(self._outboxes), lambda: self._safe(sample))
        return [(message, ack) for message in messages]

    def _safe(self, sample: Sample) -> None:
        self._metrics.inc("samples_safe")
        if self._acknowledging is not None and not isinstance(sample.token, Unreadable):
            self._acknowledging.ack(sample)

    def _append(self, given: Sequence[Acked]) -> None:
        for outbox in self._outboxes:
            outbox.put(given, self._beat_infer)

    def _count(self, timings: Sequence[Timing]) -> None:
        self._metrics.inc("results", len(timings))
        self._metrics.inc("infer_ms", sum([t.infer for t in timings]))
        self._metrics.observe_all("stage:preprocess", [t.preprocess / 1e3 for t in timings])
        self._metrics.observe_all("stage:infer", [t.infer / 1e3 for t in timings])
        self._metrics.observe_all("stage:postprocess", [t.postprocess / 1e3 for t in timings])

    def _message(self, sample: Sample, outcome: Result | Skipped) -> Message | None:
        """None where it is held back and nobody asked for it."""
        if isinstance(outcome, Skipped):
            self._metrics.inc("samples_skipped")
            self._skips.say(outcome)
            self._report.skipped(outcome.reason)
            return Message("error", codec.encode(outcome), outcome.seq, sample.reply)
        published = outcome if self._gate is None else self._gate.admit(outcome, self._clock.monotonic_ns())
        if published is not None:
            return Message("result", codec.encode(published), outcome.seq, sample.reply)
        return Message("answer", codec.encode(outcome), outcome.seq, sample.reply) if sample.reply else None


def _left_ns(item: Sample | Work) -> int:
    """When it was captured, less what preparing it has taken since: what is left is waiting."""
    if isinstance(item, Work):
        return item.sample.captured_ns + sum(p.preprocess_ns for p in item.parts)
    return item.captured_ns
