"""Another model takes over between two samples: what was begun ends with the one before."""

from __future__ import annotations

import json
import threading

from edge.data.result import ModelRef
from edge.data.sample import ModelInput, Sample
from edge.delivery.outbox import Outbox
from edge.pipeline.pipeline import Pipeline
from edge.pipeline.prepare import Preparation
from edge.pipeline.results import Identity, ResultBuilder
from edge.runtime.inference import Takeover
from edge.runtime.runner import Runner, RunnerOptions
from edge.storage.memory import MemorySpool
from edge.telemetry.clock import SystemClock
from edge.telemetry.metrics import Metrics
from edge.testing.fakes import DoublingEngine, FakeBroker, ListSource, NumbersPreprocessor, as_numbers


class Times(NumbersPreprocessor):
    """A number, so many times, prepared ahead; says what it has prepared."""

    ahead = True
    by_row = False

    def __init__(self, factor):
        self.factor, self.prepared, self.more = factor, [], threading.Condition()

    def __call__(self, sample):
        given = super().__call__(sample)
        with self.more:
            self.prepared.append(sample.payload)
            self.more.notify_all()
        return ModelInput({"x": given.tensors["x"] * self.factor})

    def wait_for(self, payload):
        with self.more:
            assert self.more.wait_for(lambda: payload in self.prepared, 150)


class Held(DoublingEngine):
    """Holds its inferences until it is let go."""

    def __init__(self):
        super().__init__()
        self.entered, self.go_on = threading.Event(), threading.Event()

    def infer(self, tensors):
        self.entered.set()
        assert self.go_on.wait(150)
        return super().infer(tensors)


class KeptSource(ListSource):
    """Of several senders: what it gave comes again until it is acknowledged."""

    def read(self, timeout_s):
        sample = super().read(timeout_s)
        return sample and Sample(sample.payload, "list", sample.captured_ns, sample.time_ns, origin=b"1")


class Flow:
    def __init__(self, source, engine):
        self.source, self.broker, self.first = source, FakeBroker(), Times(1)
        self.second = Times(10)
        metrics, clock = Metrics(), SystemClock()
        outbox = Outbox("b", self.broker, MemorySpool(10**8), clock=clock, metrics=metrics)
        self.runner = Runner(
            source, self.pipeline("1", engine, self.first), [outbox], clock=clock, metrics=metrics,
            options=RunnerOptions(grace_s=2.0),
        )  # fmt: skip
        self.let_go = threading.Event()

    def pipeline(self, version, engine, preprocess):
        return Pipeline(
            engine,
            Preparation(preprocess),
            as_numbers,
            ResultBuilder(Identity("d", ModelRef("m", version, "0"), "regress", "b")),
        )

    def take_over(self):
        takeover = Takeover(self.pipeline("2", DoublingEngine(), self.second), (), self.let_go.set, threading.Event())
        self.runner.take_over(takeover)
        return takeover

    def received(self):
        return [(m["model"]["version"], m["predictions"][0]["value"]) for m in self.broker.received]


def test_what_was_prepared_ahead_for_the_model_before_is_prepared_anew():
    engine = Held()
    flow = Flow(ListSource(range(5)), engine)
    thread = threading.Thread(target=flow.runner.run)
    thread.start()
    assert engine.entered.wait(150)
    flow.first.wait_for(2)  # 1 and 2 wait, ready for the engine
    takeover = flow.take_over()
    assert not takeover.taken.is_set()
    engine.go_on.set()
    thread.join()

    assert flow.received() == [("1", 0.0), *(("2", 20.0 * n) for n in range(1, 5))]
    assert flow.let_go.is_set()


def test_a_batch_under_way_ends_with_the_model_that_it_began_with_and_holds_that_until_then():
    engine = Held()
    rows = json.dumps(list(range(3_000))).encode()
    flow = Flow(KeptSource([rows, b"[7]"]), engine)
    thread = threading.Thread(target=flow.runner.run)
    thread.start()
    assert engine.entered.wait(150)
    flow.take_over()
    engine.go_on.set()
    thread.join()
    batch = [value for version, value in flow.received() if version == "1"]

    assert batch == [2.0 * n for n in range(3_000)]
    assert [value for version, value in flow.received() if version == "2"] == [140.0]
    assert sorted(flow.source.acked) == sorted([rows, b"[7]"])
