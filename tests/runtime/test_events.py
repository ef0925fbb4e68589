"""Events of tracks on their way out: no publishing rule holds them back, and each has an id of its own."""

from __future__ import annotations

import msgspec
import pytest

from edge.data.result import Event, ModelRef
from edge.delivery.outbox import Outbox
from edge.delivery.publish_filter import PublishFilter, PublishRules
from edge.pipeline.pipeline import Pipeline
from edge.pipeline.prepare import Preparation
from edge.pipeline.results import Identity, ResultBuilder
from edge.pipeline.stages import Stages
from edge.runtime.options import RunnerOptions
from edge.runtime.runner import Runner
from edge.storage.memory import MemorySpool
from edge.telemetry.clock import SystemClock
from edge.telemetry.metrics import Metrics
from edge.testing.fakes import DoublingEngine, FakeBroker, ListSource, NumbersPreprocessor, as_numbers

IDENTITY = Identity("pi", ModelRef("double", "1", "00"), "regress", "5f0c9a1e")
EVENTS = [
    Event(type="appear", track_id=1, label="person"),
    Event(type="leave", track_id=1, label="person", zone="door", dwell_s=2.5, source="mqtt:cam/7"),
]


def run(*, rules: PublishRules, count: int) -> list[dict[str, object]]:
    """What the broker receives of so many equal inputs, each with two events."""
    clock, metrics, broker = SystemClock(), Metrics(), FakeBroker()
    source = ListSource([1] * count)
    pipeline = Pipeline(
        DoublingEngine(),
        Preparation(NumbersPreprocessor()),
        as_numbers,
        ResultBuilder(IDENTITY),
        Stages((lambda sample, result, frame: msgspec.structs.replace(result, events=EVENTS),)),
    )
    outbox = Outbox("broker", broker, MemorySpool(1_000_000), clock=clock, metrics=metrics)
    options = RunnerOptions(publish_filter=PublishFilter(rules) if rules.any else None)
    Runner(source, pipeline, [outbox], clock=clock, metrics=metrics, options=options).run()
    assert len(source.acked) == count
    assert metrics.snapshot()["events"] == 2 * count
    return broker.received


def test_events_follow_their_result_and_have_ids_of_their_own():
    result, appear, leave = run(rules=PublishRules(), count=1)
    assert [e["id"] for e in (appear, leave)] == [f"{result['id']}/1", f"{result['id']}/2"]
    assert (appear["type"], leave["type"], leave["zone"], leave["dwell_s"]) == ("appear", "leave", "door", 2.5)
    assert [e["type"] for e in result["events"]] == ["appear", "leave"]
    assert leave["source"] == "mqtt:cam/7"
    assert {k: appear[k] for k in ("time", "seq", "device", "source")} == {
        k: result[k] for k in ("time", "seq", "device", "source")
    }


@pytest.mark.parametrize("rules", [PublishRules(on_change=True), PublishRules(min_interval_s=3600)], ids=str)
def test_no_publishing_rule_holds_an_event_back(rules):
    received = run(rules=rules, count=5)
    assert sum("type" in message for message in received) == 10
    assert sum("predictions" in message for message in received) < 5
