"""Pausing, a reading on request, and which predictions are told."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import pytest

from edge.data.result import Classification, ModelRef, Regression, Result, Timing
from edge.data.sample import Sample
from edge.delivery.outbox import Outbox
from edge.delivery.publish_filter import PublishFilter, PublishRules
from edge.errors import SourceError
from edge.pipeline.pipeline import Pipeline
from edge.pipeline.prepare import Preparation
from edge.pipeline.results import Identity, ResultBuilder
from edge.runtime.controls import Controls, Selection, Wanted
from edge.runtime.options import RunnerOptions
from edge.runtime.reader import SourceReader
from edge.runtime.runner import Runner
from edge.storage.memory import MemorySpool
from edge.telemetry.clock import SystemClock
from edge.telemetry.metrics import Metrics
from edge.testing.fakes import DoublingEngine, FakeBroker, ListSource, NumbersPreprocessor, as_numbers

IDENTITY = Identity("pi", ModelRef("double", "1", "00"), "regress", "5f0c9a1e")


def runner(
    controls: Controls, broker: FakeBroker, count: int, rules: PublishFilter | None = None, **more: Any
) -> Runner:
    clock, metrics = SystemClock(), Metrics()
    pipeline = Pipeline(DoublingEngine(), Preparation(NumbersPreprocessor()), as_numbers, ResultBuilder(IDENTITY))
    outbox = Outbox("broker", broker, MemorySpool(1_000_000), clock=clock, metrics=metrics)
    options = RunnerOptions(controls=controls, publish_filter=rules, **more)
    return Runner(ListSource([1] * count), pipeline, [outbox], clock=clock, metrics=metrics, options=options)


def test_while_paused_only_what_is_asked_for_is_read_and_nothing_is_lost():
    controls, broker = Controls(), FakeBroker()
    controls.wanted = Wanted(paused=True)
    controls.ask()
    thread = threading.Thread(target=runner(controls, broker, 3).run)
    thread.start()
    try:
        assert broker.wait_for(1)
        assert controls.holds
        controls.ask()
        assert broker.wait_for(2)
    finally:
        controls.wanted = Wanted()
        thread.join()
    assert [r["seq"] for r in broker.received] == [1, 2, 3]


def test_a_reading_that_is_asked_for_is_told_whatever_the_publishing_rules_say():
    controls, broker = Controls(), FakeBroker()
    rules = PublishFilter(PublishRules(on_change=True))
    runner(controls, broker, 3, rules).run()
    assert len(broker.received) == 1
    controls.ask()
    runner(controls, broker, 3, rules).run()
    assert len(broker.received) == 2


def test_what_waits_for_its_interval_goes_before_the_reading_that_is_asked_for_which_counts_as_told():
    controls, broker = Controls(), FakeBroker()
    rules = PublishFilter(PublishRules(on_change=True, min_interval_s=3600))
    for number in (1.0, 7.0):
        found = [Regression("value", number)]
        rules.admit(msgspec.structs.replace(result(), task="regress", predictions=found), SystemClock().monotonic_ns())
    controls.ask()
    runner(controls, broker, 3, rules).run()
    assert [r["predictions"][0]["value"] for r in broker.received] == [7.0, 2.0]


def test_a_reading_that_was_had_before_the_pause_is_not_had_again_in_it():
    controls, broker = Controls(), FakeBroker()
    controls.ask()
    runner(controls, broker, 1).run()
    controls.wanted = Wanted(paused=True)
    assert controls.holds


@pytest.mark.parametrize(("live", "told"), [(False, 1), (True, 2)])
def test_what_comes_in_the_moment_of_a_pause_is_the_first_behind_it_and_a_live_one_is_dropped(live, told):
    controls, clock = Controls(), SystemClock()

    class PausedMeanwhile(ListSource):
        def read(self, timeout_s: float) -> Sample | None:
            sample = super().read(timeout_s)
            if sample is not None and sample.payload == 1:
                controls.wanted = Wanted(paused=True)
            return sample

    reader = SourceReader(
        PausedMeanwhile([1, 2], live=live),
        threading.Event(),
        clock=clock,
        metrics=Metrics(),
        options=RunnerOptions(controls=controls),
    )
    assert reader.get(1.0) == []
    controls.wanted = Wanted()
    assert [sample.payload for sample in reader.get(1.0)] == [told]


def test_a_reading_that_is_asked_for_passes_the_motion_gate():
    controls, broker = Controls(), FakeBroker()
    made = runner(controls, broker, 3, gate=lambda sample: None)
    controls.ask()
    made.run()
    assert len(broker.received) >= 1
    with pytest.raises(SourceError):  # nothing of it was used
        runner(Controls(), FakeBroker(), 3, gate=lambda sample: None).run()


def result() -> Result:
    found = [Classification(0, "cat", 0.9), Classification(1, "dog", 0.4), Classification(7, "owl", 0.2)]
    return Result(1, "d/m/0/1", "", True, "d", IDENTITY.model, "s", 1, "classify", found, Timing(0, 0, 0))


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (Wanted(), ["cat"]),
        (Wanted(threshold=0.3), ["cat", "dog"]),
        (Wanted(threshold=0.1, classes=("dog", "owl")), ["dog", "owl"]),
        (Wanted(threshold=0.1, labels=("Katze", "Hund")), ["Katze", "Hund", "owl"]),
        (Wanted(classes=("Katze",), labels=("Katze", "Hund")), ["Katze"]),
    ],
)
def test_what_is_told_is_what_is_wanted_now(wanted, told):
    controls = Controls()
    controls.wanted = wanted
    selected = Selection(controls, 0.5)(Sample(None, "s", 0, 0), result(), None)
    assert [p.label for p in selected.predictions] == told


def test_objects_are_chosen_before_they_are_followed_and_the_tracker_is_told_the_threshold():
    controls, thresholds = Controls(), []

    def follow(sample, given, frame):
        return msgspec.structs.replace(given, task=",".join(p.label for p in given.predictions))

    controls.wanted = Wanted(threshold=0.3, classes=("dog", "owl"))
    selection = Selection(controls, 0.5, follow, thresholds.append)
    assert selection(Sample(None, "s", 0, 0), result(), None).task == "dog,owl"
    assert thresholds == [0.3]
