"""Results on their way out in the house's words: rendered once, and no result is lost where they fail."""

from __future__ import annotations

from msgspec.structs import replace

from edge.data.message import Message
from edge.data.result import ModelRef, Regression
from edge.delivery.outbox import Outbox
from edge.delivery.publish_filter import PublishFilter, PublishRules
from edge.pipeline.pipeline import Pipeline
from edge.pipeline.prepare import Preparation
from edge.pipeline.results import Identity, ResultBuilder
from edge.pipeline.stages import Stages
from edge.plugins.protocols import Entry
from edge.runtime.options import RunnerOptions
from edge.runtime.runner import Runner
from edge.storage.memory import MemorySpool
from edge.telemetry.clock import SystemClock
from edge.telemetry.metrics import Metrics
from edge.testing.fakes import DoublingEngine, FakeBroker, ListSource, NumbersPreprocessor, as_numbers
from edge.wording.wording import Said, Wording

IDENTITY = Identity("pi", ModelRef("double", "1", "00"), "regress", "5f0c9a1e")


class WordedBroker(FakeBroker):
    """As the mqtt sink: it is given the words."""

    answers = True

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Message] = []

    def send(self, entry: Entry) -> None:
        self.messages.append(entry.message)
        super().send(entry)


def run(broker: FakeBroker, said: Said, numbers: list[int], rules: PublishRules | None = None) -> Metrics:
    clock, metrics = SystemClock(), Metrics()
    pipeline = Pipeline(
        DoublingEngine(),
        Preparation(NumbersPreprocessor()),
        as_numbers,
        ResultBuilder(IDENTITY),
        Stages((lambda sample, result, frame: replace(result, predictions=[Regression("y", float(result.seq - 1))]),)),
    )
    outbox = Outbox("broker", broker, MemorySpool(1_000_000), clock=clock, metrics=metrics)
    options = RunnerOptions(
        wording=Wording(said, "regress"), publish_filter=PublishFilter(rules) if rules is not None else None
    )
    source = ListSource(numbers)
    Runner(source, pipeline, [outbox], clock=clock, metrics=metrics, options=options).run()
    assert len(source.acked) == len(numbers)
    return metrics


def test_each_result_has_its_words_and_its_payload_for_others():
    broker = WordedBroker()
    run(broker, Said("edge/pi/double", "house/{{ device }}", "{{ top.value }}"), [1, 2])
    assert [(m.words.topic, m.words.payload) for m in broker.messages if m.words] == [
        ("house/pi", b"0.0"),
        ("house/pi", b"1.0"),
    ]
    assert [m["predictions"][0]["value"] for m in broker.received] == [0.0, 1.0]


def test_a_sink_that_is_no_broker_s_hears_nothing_of_words():
    seen: list[Message] = []

    class Plain(FakeBroker):
        def send(self, entry: Entry) -> None:
            seen.append(entry.message)
            super().send(entry)

    run(Plain(), Said("edge/pi/double", None, "{{ top.value }}"), [1])
    assert [m.words for m in seen] == [None]


def test_a_result_that_does_not_go_into_the_template_goes_out_as_it_is_and_the_error_says_why_once():
    broker = WordedBroker()
    metrics = run(broker, Said("edge/pi/double", None, "{{ 6 // top.value }}"), [1, 2])
    assert [(m.kind, m.words and m.words.payload) for m in broker.messages] == [
        ("result", None),
        ("error", None),
        ("result", b"6.0"),
    ]
    assert "unable to calculate" in broker.received[1]["reason"]
    assert broker.received[1]["id"] == f"{broker.received[0]['id']}/words"
    assert metrics.snapshot()["words_failed"] == 1


def test_a_result_that_was_held_back_has_its_words_too():
    broker = WordedBroker()
    run(broker, Said("edge/pi/double", None, "{{ top.value }}"), [1, 2], PublishRules(min_interval_s=3600))
    assert [m.words and m.words.payload for m in broker.messages] == [b"0.0", b"1.0"]
