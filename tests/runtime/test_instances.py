"""Several instances of a model: side by side, and to everybody outside as if there were one."""

from __future__ import annotations

import itertools
import random
import threading

import pytest

from edge.data.result import ModelRef
from edge.data.sample import Sample
from edge.delivery.outbox import Outbox
from edge.errors import SampleError
from edge.pipeline.pipeline import Pipeline
from edge.pipeline.prepare import Preparation
from edge.pipeline.results import Identity, ResultBuilder
from edge.runtime.guard import Guard
from edge.runtime.inference import Takeover
from edge.runtime.instances import Instances, Team
from edge.runtime.options import RunnerOptions
from edge.runtime.runner import Runner
from edge.storage.memory import MemorySpool
from edge.telemetry.clock import SystemClock
from edge.telemetry.metrics import Metrics
from edge.testing.fakes import DoublingEngine, FakeBroker, ListSource, NumbersPreprocessor, as_numbers

PATIENCE_S = 60
IDENTITY = Identity("d", ModelRef("m", "1", "0"), "regress", "b")


class Numbers(NumbersPreprocessor):
    """Keeps nothing from sample to sample."""

    by_row = False


class Gated(DoublingEngine):
    """Holds each inference until its input is let go."""

    def __init__(self):
        super().__init__()
        self._changed = threading.Condition()
        self._inside: list[float] = []
        self._free: set[float] = set()
        self._open = False

    def infer(self, tensors):
        value = float(tensors["x"][0, 0])
        with self._changed:
            self._inside.append(value)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._open or value in self._free, PATIENCE_S)
            self._inside.remove(value)
            self._changed.notify_all()
        return super().infer(tensors)

    def wait_for(self, *values):
        """Until exactly these are run at once."""
        with self._changed:
            return self._changed.wait_for(lambda: sorted(self._inside) == sorted(values), PATIENCE_S)

    def let_go(self, *values):
        with self._changed:
            self._free.update(values)
            self._changed.notify_all()

    def open(self):
        with self._changed:
            self._open = True
            self._changed.notify_all()


class Shuffled(DoublingEngine):
    """Runs end in another order than they began: each may wait for some that come after it."""

    def __init__(self, instances, count):
        super().__init__()
        self._changed = threading.Condition()
        self._instances, self._left = instances, count
        self._inside: list[float] = []
        self._random = random.Random(7)

    def infer(self, tensors):
        value = float(tensors["x"][0, 0])
        with self._changed:
            self._inside.append(value)
            self._let_one_go()
            assert self._changed.wait_for(lambda: value not in self._inside, PATIENCE_S)
            self._let_one_go()
        return super().infer(tensors)

    def _let_one_go(self):
        if self._inside and len(self._inside) == min(self._instances, self._left):
            oldest = min(self._inside)
            late = max(self._inside) - oldest > 5
            self._inside.remove(oldest if late else self._random.choice(self._inside))
            self._left -= 1
            self._changed.notify_all()


class Marks(Guard):
    """What is marked as under way; a suspect is run alone."""

    def __init__(self, suspect=None):
        self.suspects = suspect is not None
        self._suspect = suspect
        self.beside: list[list[object]] = []
        self.marked: list[object] = []

    def alone(self, sample):
        return sample.payload == self._suspect

    def mark(self, thread, samples=()):
        self.marked = [s.payload for s in samples]
        self.beside.append(self.marked)


class Standing(SystemClock):
    """No time passes: a batch that is long for a busy machine ends within its turn."""

    def monotonic_ns(self):
        return 1


class Flow:
    """A runner with three instances, or so many, of one engine."""

    def __init__(self, source, engine, *, count=3, broker=None, guard=None, runs_by=None):
        self.source = source
        self.broker = broker or FakeBroker()
        self.metrics = Metrics()
        clock = SystemClock()
        slow = itertools.count(0, 10_000_000).__next__  # by this clock each runs alone
        pipeline, *instances = [
            Pipeline(engine, Preparation(Numbers(), now=slow), as_numbers, ResultBuilder(IDENTITY))
            for _ in range(count + 1)
        ]
        self.runner = Runner(
            source,
            pipeline,
            [Outbox("broker", self.broker, MemorySpool(10**7), clock=clock, metrics=self.metrics)],
            clock=runs_by or clock,
            metrics=self.metrics,
            options=RunnerOptions(instances=tuple(instances), guard=guard or Guard()),
        )

    def received(self):
        return [m["predictions"][0]["value"] if "predictions" in m else m["reason"] for m in self.broker.received]

    def __enter__(self):
        self._thread = threading.Thread(target=self.runner.run)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.runner.stop()
        self._thread.join()


def test_as_many_inputs_run_at_once_as_there_are_instances():
    engine = Gated()
    with Flow(ListSource([1, 2, 3, 4], endless=True), engine):
        assert engine.wait_for(1, 2, 3)
        engine.let_go(2)
        assert engine.wait_for(1, 3, 4)
        engine.open()


def test_results_come_in_the_order_of_their_inputs_however_long_each_runs():
    count = 60
    flow = Flow(ListSource(range(count)), Shuffled(3, count))
    flow.runner.run()
    assert flow.received() == [2.0 * n for n in range(count)]
    assert [m["seq"] for m in flow.broker.received] == list(range(1, count + 1))
    assert flow.source.acked == list(range(count))


def test_an_input_is_not_acknowledged_before_one_that_came_before_it():
    engine = Gated()
    with Flow(ListSource([1, 2, 3], endless=True), engine) as flow:
        assert engine.wait_for(1, 2, 3)
        engine.let_go(2, 3)
        assert engine.wait_for(1)
        assert flow.source.acked == []
        engine.let_go(1)
        assert flow.source.wait_for_acks(3)
    assert flow.source.acked == [1, 2, 3]


def test_inputs_that_cannot_be_used_are_told_in_their_places():
    given = [1, -2, 3, "x", 5, SampleError("torn"), 7]
    flow = Flow(ListSource(given), DoublingEngine())
    flow.runner.run()
    assert flow.received() == [
        2.0, "the model refuses negative values", 6.0, "'x' is not a number", 10.0, "torn", 14.0,
    ]  # fmt: skip
    assert flow.metrics.counter("samples_skipped") == 3


def test_a_batch_in_one_payload_keeps_its_place():
    flow = Flow(ListSource([1, list(range(100, 300)), 2, [3, 4], 5]), DoublingEngine(), runs_by=Standing())
    flow.runner.run()
    assert flow.received() == [2.0 * n for n in (1, *range(100, 300), 2, 3, 4, 5)]
    assert len(flow.source.acked) == 5


def test_what_was_read_is_delivered_after_a_stop():
    engine = Gated()
    with Flow(ListSource([1, 2, 3, 4], endless=True), engine) as flow:
        assert engine.wait_for(1, 2, 3)
        flow.runner.stop()
        engine.open()
    assert flow.received() == [2.0, 4.0, 6.0, 8.0]
    assert flow.source.acked == [1, 2, 3, 4]


def test_the_next_free_instance_takes_the_newest_frame_of_a_live_source():
    engine = Gated()
    source = ListSource([1], live=True, endless=True)
    with Flow(source, engine, count=2) as flow:
        assert engine.wait_for(1)
        source.give(2)
        assert engine.wait_for(1, 2)
        source.give(3, 4, 5)
        assert source.wait_for_acks(2)  # 3 and 4 were dropped for 5
        engine.let_go(2)
        assert engine.wait_for(1, 5)
        engine.open()
        assert flow.broker.wait_for(3)
    assert flow.received() == [2.0, 4.0, 10.0]
    assert flow.metrics.counter("dropped:mailbox") == 2


def test_all_that_is_under_way_is_marked_and_nothing_else():
    engine, marks = Gated(), Marks()
    with Flow(ListSource([1, 2], endless=True), engine, guard=marks) as flow:
        assert engine.wait_for(1, 2)
        assert marks.marked == [1, 2]
        engine.let_go(1)
        assert flow.broker.wait_for(1)
        assert flow.source.wait_for_acks(1)
        assert engine.wait_for(2)
        flow.source.give(3)
        assert engine.wait_for(2, 3)
        assert marks.marked == [2, 3]
        engine.open()
        assert flow.broker.wait_for(3)
    assert marks.marked == []


def test_a_suspect_runs_beside_no_other():
    marks = Marks(suspect=3)
    flow = Flow(ListSource([1, 2, 3, 4, 5]), DoublingEngine(), guard=marks)
    flow.runner.run()
    assert flow.received() == [2.0, 4.0, 6.0, 8.0, 10.0]
    assert [beside for beside in marks.beside if 3 in beside]
    assert all(beside == [3] for beside in marks.beside if 3 in beside)


def test_a_bug_in_an_instance_ends_the_process():
    class Broken(DoublingEngine):
        def infer(self, tensors):
            raise RuntimeError("a bug")

    flow = Flow(ListSource([1], endless=True), Broken())
    with pytest.raises(RuntimeError, match="a bug"):
        flow.runner.run()


def test_an_instance_that_does_not_come_back_is_no_progress():
    engine, ended = Gated(), threading.Event()
    pipeline = Pipeline(engine, Preparation(Numbers()), as_numbers, ResultBuilder(IDENTITY))
    instances = Instances(Team(pipeline, (pipeline,)), ended.set, ahead=0)
    assert instances.progress()
    instances.put([Sample(1, "s", 0, 0)])
    assert engine.wait_for(1)
    assert not instances.progress()
    assert not instances.room
    engine.open()
    assert ended.wait(PATIENCE_S)
    assert instances.take() is not None
    assert instances.progress()
    instances.close()


def test_what_an_instance_has_run_is_not_run_again_for_its_results():
    engine = DoublingEngine()
    one, other = (Pipeline(engine, Preparation(Numbers()), as_numbers, ResultBuilder(IDENTITY)) for _ in range(2))
    works = one.decoded(one.prepare([Sample(2, "s", 0, 0)]))
    ((result,),) = other.run(works)
    assert result.predictions[0].value == 4.0
    assert engine.runs == 1


def test_another_model_takes_over_at_the_next_sample_while_those_before_end_with_theirs_in_order():
    old, new = Gated(), Gated()
    identities = [Identity("d", ModelRef("m", version, version), "regress", "b") for version in "12"]
    seq = itertools.count(1)

    def pipelines(engine, identity, count):
        slow = itertools.count(0, 10_000_000).__next__  # by this clock each runs alone
        return tuple(
            Pipeline(engine, Preparation(Numbers(), now=slow), as_numbers, ResultBuilder(identity, seq=seq))
            for _ in range(count)
        )

    (flow, *each), (flow2, *each2) = pipelines(old, identities[0], 3), pipelines(new, identities[1], 3)
    source, broker = ListSource([1, 2], endless=True), FakeBroker()
    clock, metrics = SystemClock(), Metrics()
    outbox = Outbox("broker", broker, MemorySpool(10**7), clock=clock, metrics=metrics)
    runner = Runner(source, flow, [outbox], clock=clock, metrics=metrics, options=RunnerOptions(instances=tuple(each)))
    let_go, taken = threading.Event(), threading.Event()
    running = threading.Thread(target=runner.run)
    running.start()
    try:
        assert old.wait_for(1, 2)
        runner.take_over(Takeover(flow2, tuple(each2), let_go.set, taken))
        assert taken.wait(PATIENCE_S)
        source.give(3)
        old.let_go(2)  # whose instance is free now
        assert new.wait_for(3)
        new.open()
        held = not let_go.is_set()
        old.open()
        assert let_go.wait(PATIENCE_S)
        assert source.wait_for_acks(3)
    finally:
        new.open()
        old.open()
        runner.stop()
        running.join()

    assert held
    results = broker.received
    assert [r["seq"] for r in results] == [1, 2, 3]
    assert [r["predictions"][0]["value"] for r in results] == [2, 4, 6]
    assert [r["model"]["version"] for r in results] == ["1", "1", "2"]
