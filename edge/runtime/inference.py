"""From samples that wait to results in the outboxes, one turn after the other."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from threading import Event
from typing import TypeAlias

import msgspec

from edge.data.sample import Sample
from edge.data.units import SECOND_NS
from edge.pipeline.pipeline import Pipeline
from edge.pipeline.prepare import Work
from edge.plugins.protocols import Clock
from edge.runtime.batches import Batches
from edge.runtime.instances import Instances, Team
from edge.runtime.options import RunnerOptions
from edge.runtime.publisher import LOOK_AGAIN_S, Outcome, Publisher
from edge.runtime.reader import Unreadable
from edge.telemetry.metrics import Metrics

Item: TypeAlias = Sample | Work | Unreadable


class Takeover(msgspec.Struct, frozen=True):
    """Another model's pipeline, of the same kind: what it keeps from sample to sample (nothing) and whether it prepares
    ahead is as before, and so is the number of `instances`. `let_go` is called once nothing runs with the one before
    any more; `taken` is set once the next sample is the new one's."""

    pipeline: Pipeline
    instances: tuple[Pipeline, ...]
    let_go: Callable[[], None]
    taken: Event


class Feed(msgspec.Struct, frozen=True):
    """Where samples come from, and what is told of them. `get` gives what waits, so many seconds and so many items at
    most, and raises Closed at the end; `left` says whether more may wait; `wake` has it look again; `shed` is told of
    each sample that is not run because the board is hot. `senders`: samples come from several, of whom none has to wait
    for another one's batch; `live`: only the newest matters. `stopping`: the process is to end."""

    get: Callable[[float, int], Sequence[Item]]
    left: Callable[[], bool]
    wake: Callable[[], None]
    shed: Callable[[Sample], None]
    stopping: Callable[[], bool]
    senders: bool
    live: bool


class Inference:
    """Belongs to one thread at a time: the infer thread, or the loop that it was handed to (`handover.py`). `put` and
    `pipeline` from any thread."""

    def __init__(
        self,
        pipeline: Pipeline,
        publisher: Publisher,
        feed: Feed,
        *,
        clock: Clock,
        metrics: Metrics,
        options: RunnerOptions,
    ) -> None:
        """Samples are prepared and run by the instances of `options`, or, where there are none, by the thread that this
        belongs to."""
        self.pipeline = pipeline
        """That of the next sample."""
        self._publisher = publisher
        self._get = feed.get
        self._left = feed.left
        self._shed = feed.shed
        self._senders = feed.senders
        self._stopping = feed.stopping
        self._clock = clock
        self._metrics = metrics
        self.beat = partial(options.beat, "infer")
        """Says that the owner makes progress, or waits for room as it should."""
        self._admit = options.admit
        self._idle = options.idle
        self._guard = options.guard
        self._batches = Batches(
            publisher,
            clock=clock,
            metrics=metrics,
            guard=self._guard,
            stopping=feed.stopping,
            beat=self.beat,
        )
        self._instances: Instances | None = None
        if options.instances:
            # Of a live source the newest frame is taken when an instance is free, of any other one before.
            team = Team(pipeline, tuple(options.instances))
            self._instances = Instances(team, feed.wake, ahead=0 if feed.live else 1)
        self._groups: deque[Sequence[Item]] = deque()
        self._works: Sequence[Work] = ()
        self._by = pipeline
        """What makes the results of these works."""
        self._takeovers: deque[Takeover] = deque()
        self._leaving: list[tuple[Pipeline, Callable[[], None]]] = []
        self._in_loop = False
        self.turns = 0
        """Those in which something ran."""
        self.came_ns = 0
        """When the first of the last samples had been read and prepared by another thread."""
        self.due_s = LOOK_AGAIN_S
        """When another turn is due although nothing came."""

    @property
    def is_long(self) -> bool:
        """A long batch is under way, or is the next to run: not in a loop."""
        return bool(self._batches.under_way or self._works)

    @property
    def _holds_up(self) -> bool:
        """The samples behind a batch that is under way have to wait for its end: their results come after its own,
        and what the model or a window keeps is the batch's. So they have where too many batches are under way."""
        return not self._mixes or self._batches.full

    @cached_property
    def _mixes(self) -> bool:
        """Whether other samples run between the pieces of a batch."""
        return self._senders and self._free

    @cached_property
    def _free(self) -> bool:
        """Whether samples may be prepared before others have run."""
        return self.pipeline.free

    def put(self, takeover: Takeover) -> None:
        """Another model is to run from one of the next samples on."""
        self._takeovers.append(takeover)

    def moved(self, *, into_loop: bool) -> None:
        """It has another owner: the loop, whose workers the outboxes are, or the infer thread again."""
        self._in_loop = self._publisher.owns_outboxes = into_loop

    def turn(self, wait_s: float = LOOK_AGAIN_S) -> bool:
        """Runs what waits, and waits for it so long at most. True where more may wait. Raises Closed."""
        if self._instances is None or self._instances.progress():
            self.beat()
        if self._takeovers or self._leaving:
            self._take_over()
        if self._publisher.holds_back:
            self.due_s = self._publisher.publish_due()
        batches = bool(self._batches.under_way)
        if batches and self._holds_up:
            self._batches.finish() if self._stopping() else self._batches.turn()
            return True
        if self._works or self._groups:
            return self._run()
        if batches and self._batches.due:
            self._batches.turn()
            return True
        if self._instances and (found := self._instances.take()) is not None:
            self._by, self._works = found
            return self._run()
        most = self.pipeline.batching.at_once if self._instances is None else self._room(self._instances)
        items = self._get(0.0 if batches else min(wait_s, self.due_s), most)
        if items:
            self.turns += 1
            self._metrics.set("last_sample_s", self._clock.time_ns() / SECOND_NS)
            if len(items) == 1 or not (self._guard.suspects or Unreadable in map(type, items)):
                self._groups.append(items)
            else:
                self._groups.extend(list(group) for _, group in itertools.groupby(items, self._kind))
            self._run()
        elif batches:
            self._batches.turn()
        elif self._idle is not None:
            self._idle()
        return len(items) >= most and self._left()

    def _take_over(self) -> None:
        """Between two samples: what is prepared is run by the pipeline that prepared it, and a batch to its end."""
        while self._takeovers and not self._works:
            takeover = self._takeovers.popleft()
            self._leaving.append((self.pipeline, takeover.let_go))
            self.pipeline = takeover.pipeline
            if self._instances is not None:
                self._instances.use(Team(takeover.pipeline, takeover.instances))
            takeover.taken.set()
        for left in [one for one in self._leaving if not self._uses(one[0])]:
            self._leaving.remove(left)
            left[1]()

    def _uses(self, pipeline: Pipeline) -> bool:
        """True while something is, or may be, under way with it."""
        beside = self._instances is not None and self._instances.uses(pipeline)
        return bool(self._works) or beside or self._batches.uses(pipeline)

    def _room(self, instances: Instances) -> int:
        """How many items may be taken on now."""
        return min(instances.at_once, self.pipeline.followed_at_once) if instances.room else 0

    def end(self) -> None:
        """After Closed: what is under way, the rest of batches, and what was held back."""
        while self._instances or self._works:
            if self._batches.under_way and self._holds_up:
                self._batches.finish()
            if not self._works and self._instances is not None:
                self._wait_for(self._instances)
            self._run()
        self._batches.finish()
        self._publisher.publish_rest()

    def close(self) -> None:
        """Ends the threads of the instances."""
        if self._instances is not None:
            self._instances.close()

    def _kind(self, item: Item) -> object:
        """Equal for neighbours that may run together."""
        if isinstance(item, Unreadable):
            return "unreadable"
        if not self._guard.suspects:
            return "readable"
        sample = sample_of(item)
        return sample.captured_ns if self._guard.alone(sample) else "readable"

    def _run(self) -> bool:
        """What was read, up to a batch that holds up the rest. False in a loop before a long batch: that is the infer
        thread's."""
        while self._works or self._groups:
            if not self._works:
                self._by = self.pipeline
                if self._instances is not None:
                    self._hand_out(self._instances)
                else:
                    self._works = self._begun(self._groups.popleft())
            while self._works:
                # The samples behind the first piece of a batch wait for their turn.
                end = next((at for at, work in enumerate(self._works, 1) if work.rest is not None), len(self._works))
                some, rest = self._works[:end], self._works[end:]
                if self._in_loop and some[-1].rest is not None:
                    return False
                self._works = rest
                self._run_together(some)
                if self._batches.under_way and self._holds_up:
                    return True
        return True

    def _hand_out(self, instances: Instances) -> None:
        """Has the instances take the oldest group. One that has to be alone waits for what they have."""
        if (beside := self._beside_others(self._groups[0])) is not None:
            self._groups.popleft()
            admitted = beside if self._admit is None else self._admitted(beside, self._admit)
            samples = [sample_of(item) for item in admitted]
            if samples:
                self._guard.mark("infer", [*instances.under_way, *samples])
                instances.put(samples)
                self._observe_waiting(samples)
        elif instances:
            self._wait_for(instances)
        else:
            self._works = self._begun(self._groups.popleft())

    def _beside_others(self, group: Sequence[Item]) -> list[Sample | Work] | None:
        """None where the samples before it have to be done: it is alone under suspicion, or cannot be read."""
        readable = [item for item in group if not isinstance(item, Unreadable)]
        alone = self._guard.suspects and any(self._guard.alone(sample_of(item)) for item in readable)
        return None if alone or not readable else readable

    def _wait_for(self, instances: Instances) -> None:
        """What the instances were given first is next; the thread makes no progress meanwhile."""
        while (found := instances.take(LOOK_AGAIN_S)) is None:
            pass
        self._by, self._works = found

    def _begun(self, group: Sequence[Item]) -> Sequence[Work]:
        """Of one kind, prepared; nothing where all is said of them already."""
        readable = [item for item in group if not isinstance(item, Unreadable)]
        if not readable:
            self._publisher.publish([self._unread(item) for item in group if isinstance(item, Unreadable)])
            return ()
        samples = [sample_of(item) for item in readable]
        verdict = self._guard.verdict(samples[0]) if self._guard.suspects else None
        if verdict is not None:
            self._metrics.inc("dropped:input-crash", len(readable))
            self._publisher.publish([(sample, [self.pipeline.skipped(sample, verdict)]) for sample in samples])
            return ()
        self._guard.mark("infer", samples)
        return self._prepared(readable if self._admit is None else self._admitted(readable, self._admit))

    def _run_together(self, works: Sequence[Work]) -> None:
        """The last one may be the first piece of a batch."""
        samples = [work.sample for work in works]
        beside = self._instances.under_way if self._instances is not None else ()
        self._guard.mark("infer", [*beside, *samples])
        results = self._by.run(works)
        self._guard.mark("infer", beside)
        if self._guard.suspects:
            self._guard.acquit(samples)
        whole = [(w.sample, found) for w, found in zip(works, results, strict=True) if w.rest is None]
        if whole:
            self._publisher.publish(whole)
        if len(whole) < len(works):
            self._batches.begin(works[-1], results[-1], self._by)

    def _prepared(self, items: Sequence[Sample | Work]) -> list[Work]:
        """Prepared, where the capture thread has not done so."""
        began_ns = self._clock.monotonic_ns()
        items = [i if isinstance(i, Sample) or self.pipeline.fits(i) else i.sample for i in items]
        if self._free:
            raw = [i for i in items if isinstance(i, Sample)]
            prepared = iter(self.pipeline.prepare(raw) if raw else ())
            works = [i if isinstance(i, Work) else next(prepared) for i in items]
        else:
            works = self._up_to_a_rest(items)
        self._observe_waiting(items[: len(works)], began_ns)
        return works

    def _observe_waiting(self, items: Sequence[Sample | Work], now_ns: int = 0) -> None:
        now_ns = now_ns or self._clock.monotonic_ns()
        came = [item.captured_ns if isinstance(item, Sample) else _left_ns(item) for item in items]
        self.came_ns = came[0] if came else now_ns
        self._metrics.record((("stage:capture", [(now_ns - came_ns) / SECOND_NS for came_ns in came]),))

    def _up_to_a_rest(self, items: Sequence[Sample | Work]) -> list[Work]:
        """Prepared one after the other: the rows of a batch go into a window before those of the samples behind it."""
        works: list[Work] = []
        for item in items:
            works.append(item if isinstance(item, Work) else self.pipeline.prepare([item])[0])
            if works[-1].rest is not None:
                break
        if len(works) < len(items):
            self._groups.appendleft(list(items[len(works) :]))
        return works

    def _admitted(self, items: Sequence[Sample | Work], admit: Callable[[], bool]) -> list[Sample | Work]:
        admitted = []
        for item in items:
            if admit():
                admitted.append(item)
            else:
                self._shed(sample_of(item))
        return admitted

    def _unread(self, item: Unreadable) -> Outcome:
        sample = Sample(None, item.source, self._clock.monotonic_ns(), self._clock.time_ns(), token=item)
        return sample, [self.pipeline.skipped(sample, item.reason)]


def sample_of(item: Sample | Work) -> Sample:
    """As it was read."""
    return item.sample if isinstance(item, Work) else item


def _left_ns(work: Work) -> int:
    """When it was captured, less what preparing it has taken since: what is left is waiting."""
    return work.sample.captured_ns + sum(p.preprocess_ns for p in work.parts)
