"""From results to the outboxes: what is published, who is answered, and when a sample is safe."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from msgspec.structs import astuple, replace

from edge.data import codec, refusal
from edge.data.message import Message
from edge.data.result import Event, EventMessage, Result, Skipped
from edge.data.sample import Sample
from edge.delivery.ack import Ack
from edge.delivery.outbox import Outbox
from edge.delivery.pending import Acked
from edge.errors import SampleError
from edge.plugins.protocols import Clock
from edge.runtime.end_report import EndReport
from edge.runtime.options import RunnerOptions
from edge.telemetry.metrics import Metrics
from edge.telemetry.seldom import Seldom

if TYPE_CHECKING:
    from edge.wording.wording import Wording

log = logging.getLogger("edge.runner")

LOOK_AGAIN_S = 0.5

Outcome: TypeAlias = tuple[Sample, Sequence[Result | Skipped]]


class Publisher:
    """Belongs to the thread that infers: at any moment one."""

    def __init__(
        self,
        outboxes: Sequence[Outbox],
        safe: Callable[[Sample], None],
        *,
        clock: Clock,
        metrics: Metrics,
        report: EndReport,
        options: RunnerOptions,
    ) -> None:
        """`safe` is told of each sample that need not be kept any more, from any thread."""
        self._outboxes = outboxes
        self._safe = safe
        self._clock = clock
        self._metrics = metrics
        self._report = report
        self._filter = options.publish_filter
        self.holds_back = self._filter is not None
        """Results may be held back for later: `publish_due` is to be called."""
        self._observers = options.observers
        self._wording = options.wording
        self._controls = options.controls
        self._waiting = partial(options.beat, "infer")
        self._skips = Seldom(clock)
        self.owns_outboxes = False
        """The thread that infers is the owner of the outboxes: it cannot wait for the room that it makes."""

    def publish(self, outcomes: Sequence[Outcome]) -> None:
        """Hands the results of samples to every outbox, in order."""
        acked: list[Acked] = []
        for sample, results in outcomes:
            messages = self._messages(sample, results, whole=True)
            ack = Ack(len(messages) * len(self._outboxes), partial(self._safe, sample))
            acked += [(message, ack) for message in messages]
        self._put(acked)
        self._count(outcomes)
        for observe in self._observers:
            for sample, results in outcomes:
                observe(sample, results)

    def begin(self, sample: Sample) -> Ack:
        """The acknowledgement of a sample whose results come in pieces."""
        return Ack(1, partial(self._safe, sample), grows=True)

    def publish_piece(self, sample: Sample, results: Sequence[Result | Skipped], ack: Ack, *, last: bool) -> None:
        """Hands some of the results of a sample to every outbox. With the `last` ones the sample may become safe."""
        messages = self._messages(sample, results, whole=last)
        ack.add(len(messages) * len(self._outboxes))
        self._put([(message, ack) for message in messages])
        self._count([(sample, results)])
        for observe in self._observers:
            observe(sample, results)
        if last:
            ack.release()

    def publish_due(self) -> float:
        """Publishes what was held back and is due now; the seconds that may pass until the next call."""
        if self._filter is None:
            return LOOK_AGAIN_S
        self._publish_late(self._filter.due(self._clock.monotonic_ns()))
        return self._filter.due_in_s(self._clock.monotonic_ns(), LOOK_AGAIN_S)

    def publish_rest(self) -> None:
        """At the end: publishes all that was held back for later."""
        if self._filter is not None:
            self._publish_late(self._filter.rest())

    def _publish_late(self, results: Sequence[Result]) -> None:
        # Their samples were acknowledged, and their askers answered, when they were held back.
        messages = [m for r in results for m in self._late(r)]
        ack = Ack(len(messages), lambda: None)
        self._put([(message, ack) for message in messages])

    def _late(self, result: Result) -> Sequence[Message]:
        message = Message("result", codec.encode(result), result.seq)
        return (message,) if self._wording is None else self._worded(result, message, self._wording)

    def _put(self, acked: Sequence[Acked]) -> None:
        for outbox in self._outboxes:
            if self.owns_outboxes:
                outbox.add(acked)
            else:
                outbox.put(acked, self._waiting)

    def _messages(self, sample: Sample, results: Sequence[Result | Skipped], *, whole: bool) -> list[Message]:
        """What is published of these; `whole`: with the last of them the sample is done."""
        messages: list[Message] = []
        for result in results:
            if isinstance(result, Skipped):
                messages.append(self._skipped(sample, result))
                continue
            asked = self._controls is not None and self._controls.tells()
            published: Result | None = result
            if self._filter is not None and asked:
                *late, _ = self._filter.insist(result, self._clock.monotonic_ns())
                messages += [m for r in late for m in self._late(r)]
            elif self._filter is not None:
                published = self._filter.admit(result, self._clock.monotonic_ns())
            if published is not None:
                message = Message("result", codec.encode(published), result.seq, sample.reply)
                messages += (message,) if self._wording is None else self._worded(result, message, self._wording)
            elif sample.reply is not None:  # held back from all but the asker
                messages.append(Message("answer", codec.encode(result), result.seq, sample.reply))
            if result.events:  # no rule holds back what happened
                messages += self._events(result, result.events)
        if whole and messages and sample.origin is not None:
            messages[-1] = replace(messages[-1], origin=sample.origin)
        return messages

    def _events(self, result: Result, events: Sequence[Event]) -> list[Message]:
        self._metrics.inc("events", len(events))
        about = (result.schema, result.id, result.time, result.device, result.model.name, result.source, result.seq)
        messages = []
        for number, event in enumerate(events, 1):
            *what, source = astuple(event)
            told = replace(EventMessage(*about, *what), id=f"{result.id}/{number}", source=source or result.source)
            payload = codec.encode(told)
            words = self._wording.event(told, payload) if self._wording is not None else None
            messages.append(Message("event", payload, result.seq, words=words))
        return messages

    def _worded(self, result: Result, message: Message, wording: Wording) -> Sequence[Message]:
        """As the broker is told it; where the words fail the result goes out as it is, and an error says why."""
        try:
            return [replace(message, words=wording.result(result, message.payload))]
        except SampleError as exc:
            self._metrics.inc("words_failed")
            if not wording.is_new(str(exc)):
                return [message]
            log.error("a result is published in its usual words", extra={"seq": result.seq, "reason": str(exc)})
            error = refusal.of(message, "words", result.model.name, str(exc))
            return [message, Message("error", codec.encode(error), result.seq)]

    def _skipped(self, sample: Sample, result: Skipped) -> Message:
        self._metrics.inc("samples_skipped")
        if untold := self._skips.due():
            facts = {"reason": result.reason, "source": result.source, "seq": result.seq, "skipped": untold}
            log.warning("sample skipped", extra=facts)
        self._report.skipped(result.reason)
        return Message("error", codec.encode(result), result.seq, sample.reply)

    def _count(self, outcomes: Sequence[Outcome]) -> None:
        timings = [r.timing_ms for _, results in outcomes for r in results if isinstance(r, Result)]
        if not timings:
            return
        stages = (
            ("stage:preprocess", [t.preprocess / 1e3 for t in timings]),
            ("stage:infer", [t.infer / 1e3 for t in timings]),
            ("stage:postprocess", [t.postprocess / 1e3 for t in timings]),
        )
        self._metrics.record(stages, "results", len(timings))
        self._metrics.inc("infer_ms", sum([t.infer for t in timings]))
