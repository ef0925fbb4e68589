"""The publishing rules in the flow: what is held back is safe, answered to its asker, and not lost for ever."""

from __future__ import annotations

import threading

import pytest

from edge.data.result import ModelRef
from edge.data.sample import Reply, Sample
from edge.delivery.outbox import Outbox
from edge.delivery.publish_filter import PublishFilter, PublishRules
from edge.pipeline.pipeline import Pipeline
from edge.pipeline.prepare import Preparation
from edge.pipeline.results import Identity, ResultBuilder
from edge.runtime.options import RunnerOptions
from edge.runtime.runner import Runner
from edge.storage.memory import MemorySpool
from edge.telemetry.clock import SystemClock
from edge.telemetry.metrics import Metrics
from edge.testing.fakes import DoublingEngine, FakeBroker, ListSource, NumbersPreprocessor, as_numbers


class Asked(ListSource):
    """Every sample is a request."""

    def read(self, timeout_s):
        sample = super().read(timeout_s)
        return sample and Sample(sample.payload, "list", sample.captured_ns, sample.time_ns, Reply("asker"))


class AnsweringBroker(FakeBroker):
    """Knows what a Response Topic is."""

    answers = True

    def __init__(self):
        super().__init__()
        self.kinds = []

    def send(self, entry):
        self.kinds.append((entry.message.kind, entry.message.reply))
        super().send(entry)


class Flow:
    """Numbers, doubled, on their way to a broker, by the rules."""

    def __init__(self, source, *brokers, **rules):
        self.source, self.brokers = source, brokers or (FakeBroker(),)
        self.metrics = Metrics()
        clock = SystemClock()
        identity = Identity("d", ModelRef("m", "1", "0"), "regress", "b")
        publish_filter = PublishFilter(PublishRules(**rules), lambda reason: self.metrics.inc(f"held:{reason}"))
        lanes = [
            Outbox(f"b{i}", b, MemorySpool(10**7), clock=clock, metrics=self.metrics)
            for i, b in enumerate(self.brokers)
        ]
        pipeline = Pipeline(DoublingEngine(), Preparation(NumbersPreprocessor()), as_numbers, ResultBuilder(identity))
        options = RunnerOptions(grace_s=2.0, publish_filter=publish_filter)
        self.runner = Runner(source, pipeline, lanes, clock=clock, metrics=self.metrics, options=options)

    def received(self, broker=0):
        return [m.get("reason") or m["predictions"][0]["value"] for m in self.brokers[broker].received]


def test_what_is_held_back_is_acknowledged_and_counted():
    flow = Flow(ListSource([1, 1, 1, 2]), on_change=True)
    flow.runner.run()
    assert flow.received() == [2.0, 4.0]
    assert sorted(flow.source.acked) == [1, 1, 1, 2]
    assert flow.metrics.counter("held:unchanged") == 2
    assert flow.metrics.counter("samples_safe") == 4


def test_errors_are_never_held_back():
    flow = Flow(ListSource([1, "x", "x", 1]), on_change=True, min_interval_s=3600)
    flow.runner.run()
    assert flow.received() == [2.0, "'x' is not a number", "'x' is not a number"]


def test_the_rows_of_a_batch_are_looked_at_one_by_one_and_acknowledged_together():
    flow = Flow(ListSource([[1, 1, 2], [2, 2]]), on_change=True)
    flow.runner.run()
    assert flow.received() == [2.0, 4.0]
    assert sorted(flow.source.acked) == [[1, 1, 2], [2, 2]]  # the one that was held back whole may be safe first


def test_what_waits_for_its_interval_is_published_when_the_source_ends():
    flow = Flow(ListSource([1, 2, 3]), min_interval_s=3600)
    flow.runner.run()
    assert flow.received() == [2.0, 6.0]
    assert flow.metrics.counter("held:interval") == 1


def test_what_waits_for_its_interval_is_published_although_no_sample_comes():
    flow = Flow(ListSource([1, 2], endless=True), min_interval_s=0.2)
    thread = threading.Thread(target=flow.runner.run)
    thread.start()
    try:
        assert flow.brokers[0].wait_for(2)
        assert flow.source.wait_for_acks(2)
    finally:
        flow.runner.stop()
        thread.join()
    assert flow.received() == [2.0, 4.0]


def test_an_asker_gets_its_answer_and_nobody_else_a_result_that_is_held_back():
    answering, other = AnsweringBroker(), FakeBroker()
    flow = Flow(Asked([1, 1, 2]), answering, other, on_change=True)
    flow.runner.run()
    assert flow.received(0) == [2.0, 2.0, 4.0]
    assert answering.kinds == [("result", Reply("asker")), ("answer", Reply("asker")), ("result", Reply("asker"))]
    assert flow.received(1) == [2.0, 4.0]
    assert sorted(flow.source.acked) == [1, 1, 2]


@pytest.mark.parametrize("rules", [{"on_change": True}, {"min_interval_s": 3600}])
def test_a_late_result_is_not_an_answer_again(rules):
    answering = AnsweringBroker()
    flow = Flow(Asked([1, 2, 3]), answering, **rules)
    flow.runner.run()
    assert sum(reply is not None for _, reply in answering.kinds) == 3
