from __future__ import annotations

import contextlib
import itertools
import threading
import time

import pytest
from msgspec import structs
from support.processes import until

from edge.data.result import ModelRef
from edge.delivery.options import OutboxOptions
from edge.delivery.outbox import Outbox
from edge.delivery.retry import Backoff
from edge.errors import FatalError, SampleError, SourceError, SpoolError, UnavailableError
from edge.pipeline.pipeline import Pipeline
from edge.pipeline.prepare import Preparation
from edge.pipeline.results import Identity, ResultBuilder
from edge.runtime import runner
from edge.runtime.options import RunnerOptions
from edge.runtime.runner import Runner
from edge.storage.memory import MemorySpool
from edge.telemetry.clock import SystemClock
from edge.telemetry.metrics import Metrics
from edge.testing.fakes import (
    DoublingEngine,
    FailingSpool,
    FakeBroker,
    FakeClock,
    ListSource,
    NumbersPreprocessor,
    as_numbers,
)


class Flow:
    """A runner with a fake at each end."""

    def __init__(self, source, *brokers, admit=None, gate=None, grace_s=2.0, runner_clock=None, **lane):
        self.source = source
        self.brokers = brokers or (FakeBroker(),)
        self.metrics = Metrics()
        clock = SystemClock()
        spool = lane.pop("spool", None)
        engine, preprocess = lane.pop("engine", None), lane.pop("preprocess", None)
        postprocess, now = lane.pop("postprocess", as_numbers), lane.pop("now", time.perf_counter_ns)
        identity = Identity("d", ModelRef("m", "1", "0"), "regress", "b")
        self.runner = Runner(
            source,
            Pipeline(
                engine or DoublingEngine(),
                Preparation(preprocess or NumbersPreprocessor(), now=now),
                postprocess,
                ResultBuilder(identity),
            ),
            [
                Outbox(f"broker{i}", b, spool or MemorySpool(10**7), clock=clock, metrics=self.metrics, **lane)
                for i, b in enumerate(self.brokers)
            ],
            clock=runner_clock or clock,
            metrics=self.metrics,
            options=RunnerOptions(grace_s=grace_s, admit=admit, gate=gate, backoff=Backoff(0.001, 0.002)),
        )

    def received(self, broker=0):
        messages = self.brokers[broker].received
        return [m["predictions"][0]["value"] if "predictions" in m else m["reason"] for m in messages]

    def wait_for(self, counter, count, timeout_s=150.0):
        end = time.monotonic() + timeout_s
        while self.metrics.counter(counter) < count and time.monotonic() < end:
            threading.Event().wait(0.01)
        return self.metrics.counter(counter) >= count

    def in_background(self):
        thread = threading.Thread(target=self.runner.run)
        thread.start()
        return thread


def test_every_sample_of_a_finite_source_is_delivered_and_acknowledged():
    flow = Flow(ListSource([1, 2, 3]))
    flow.runner.run()
    assert flow.received() == [2.0, 4.0, 6.0]
    assert flow.source.acked == [1, 2, 3]


def test_a_bad_sample_is_reported_and_acknowledged_and_the_next_one_inferred():
    flow = Flow(ListSource([1, "x", 3]))
    flow.runner.run()
    assert flow.received() == [2.0, "'x' is not a number", 6.0]
    assert flow.source.acked == [1, "x", 3]
    assert flow.metrics.counter("samples_skipped") == 1


def test_a_sample_that_cannot_be_read_is_reported_in_its_place():
    flow = Flow(ListSource([1, SampleError("line 2: torn"), 3]))
    flow.runner.run()
    assert flow.received() == [2.0, "line 2: torn", 6.0]


def test_a_source_that_goes_away_is_opened_again():
    flow = Flow(ListSource([1, UnavailableError("unplugged"), 2]))
    flow.runner.run()
    assert flow.received() == [2.0, 4.0]
    assert flow.source.opened == 2


def test_a_camera_that_opens_and_gives_nothing_is_not_told_to_be_back(caplog):
    caplog.set_level("INFO")
    flow = Flow(ListSource([*[UnavailableError("a page")] * 4, 1, UnavailableError("off"), 2], live=True))
    flow.runner.run()
    told = [r.message for r in caplog.records if r.message.startswith("source ") and r.message != "source ended"]
    assert told == ["source unavailable", "source available again"] * 2


def test_a_source_that_breaks_off_is_an_error_after_all_is_delivered():
    flow = Flow(ListSource([1, SourceError("the disk is gone")]))
    with pytest.raises(SourceError):
        flow.runner.run()
    assert flow.received() == [2.0]


@pytest.mark.parametrize("end", [[], [SourceError("the disk is gone")]], ids=["at its end", "broken off"])
def test_a_source_that_has_ended_is_not_told_to_be_up(end):
    """Others of the process may go on for long."""
    flow = Flow(ListSource([1, *end]))
    with contextlib.suppress(SourceError):
        flow.runner.run()
    assert flow.received() == [2.0]
    assert flow.metrics.snapshot()["source_up"] == 0


def test_the_end_of_a_source_that_waits_for_a_sink_is_told_once_and_nothing_is_lost(caplog, monkeypatch):
    monkeypatch.setattr(runner, "TOLD_AFTER_S", 0.0)
    broker = FakeBroker(away=True)
    flow = Flow(ListSource([1, 2]), broker)
    thread = flow.in_background()
    until(lambda: "wait for a sink that is away" in caplog.text, "it says what it waits for")
    broker.come_back()
    thread.join(150)
    assert flow.received() == [2.0, 4.0]
    assert caplog.text.count("wait for a sink that is away") == 1


def test_one_slow_sink_does_not_hold_up_the_other():
    slow, quick = FakeBroker(away=True), FakeBroker()
    flow = Flow(ListSource(range(10), endless=True), slow, quick)
    thread = flow.in_background()
    assert quick.wait_for(10)
    assert slow.received == []
    slow.come_back()
    assert slow.wait_for(10)
    flow.runner.stop()
    thread.join()


def test_a_sample_is_acknowledged_only_when_every_lane_says_safe():
    silent, quick = FakeBroker(confirms=False), FakeBroker()
    flow = Flow(ListSource([1], endless=True), silent, quick)
    thread = flow.in_background()
    assert silent.wait_for(1)
    assert quick.wait_for(1)
    assert flow.source.acked == []
    silent.confirm()
    assert flow.source.wait_for_acks(1)
    flow.runner.stop()
    thread.join()


def test_stop_delivers_what_was_taken_and_says_what_became_of_it(caplog):
    caplog.set_level("INFO")
    flow = Flow(ListSource(range(5), endless=True))
    thread = flow.in_background()
    assert flow.brokers[0].wait_for(5)
    flow.runner.stop()
    thread.join()
    assert flow.source.acked == [0, 1, 2, 3, 4]
    assert flow.source.closed == 1
    (said,) = [r for r in caplog.records if r.message == "stopped"]
    assert (said.read, said.results, said.skipped) == (5, 5, 0)


def test_a_live_source_keeps_the_newest_sample():
    entered, go_on = threading.Event(), threading.Event()

    class Waits(NumbersPreprocessor):
        def split(self, payload):
            entered.set()
            go_on.wait(150)
            return super().split(payload)

    source = ListSource([1], live=True, endless=True)
    flow = Flow(source, preprocess=Waits())
    thread = flow.in_background()
    assert entered.wait(150)
    source.give(2, 3, 4)
    assert source.wait_for_acks(2)  # 2 and 3 were dropped for 4
    go_on.set()
    assert flow.brokers[0].wait_for(2)
    flow.runner.stop()
    thread.join()
    assert flow.received() == [2.0, 8.0]
    assert flow.metrics.counter("dropped:mailbox") == 2


class Ahead(NumbersPreprocessor):
    """Says what it has prepared, and may do so while the model runs."""

    ahead = True

    def __init__(self):
        self.prepared = []
        self.more = threading.Condition()

    def __call__(self, sample):
        with self.more:
            self.prepared.append(sample.payload)
            self.more.notify_all()
        return super().__call__(sample)

    def wait_for(self, payload):
        with self.more:
            return self.more.wait_for(lambda: payload in self.prepared, 150)


class Held(DoublingEngine):
    """Holds the first inference until it is let go."""

    def __init__(self):
        super().__init__()
        self.entered, self.go_on = threading.Event(), threading.Event()

        self.more = threading.Condition()

    def infer(self, tensors):
        self.entered.set()
        assert self.go_on.wait(150)
        with self.more:
            self.more.notify_all()
            return super().infer(tensors)

    def wait_for_runs(self, count):
        with self.more:
            return self.more.wait_for(lambda: self.runs >= count, 150)


def test_the_next_picture_of_a_file_is_prepared_while_the_model_runs():
    engine, preprocess = Held(), Ahead()
    flow = Flow(ListSource(range(5)), engine=engine, preprocess=preprocess)
    thread = flow.in_background()
    assert engine.entered.wait(150)
    assert preprocess.wait_for(1)
    engine.go_on.set()
    thread.join()
    assert flow.received() == [0.0, 2.0, 4.0, 6.0, 8.0]


def test_rows_are_read_by_the_thread_that_infers():
    readers = set()

    class Reads(ListSource):
        def read(self, timeout_s):
            readers.add(threading.current_thread().name)
            return super().read(timeout_s)

    Flow(Reads([1, 2, 3])).runner.run()
    assert readers == {"infer"}


@pytest.mark.parametrize(("live", "preprocess"), [(True, NumbersPreprocessor), (False, Ahead)])
def test_live_sources_and_what_is_prepared_ahead_have_a_thread_of_their_own(live, preprocess):
    readers = set()

    class Reads(ListSource):
        def read(self, timeout_s):
            readers.add(threading.current_thread().name)
            return super().read(timeout_s)

    Flow(Reads([1], live=live), preprocess=preprocess()).runner.run()
    assert readers == {"capture"}


def test_samples_that_wait_are_read_at_once_for_a_quick_model():
    engine = DoublingEngine()
    nothing_passes = itertools.count(0, 1).__next__  # a model that takes no time
    flow = Flow(ListSource(range(200)), engine=engine, now=nothing_passes)
    flow.runner.run()
    assert flow.received() == [2.0 * n for n in range(200)]
    assert engine.runs < 50


def test_of_a_camera_only_the_first_picture_that_waits_is_prepared_ahead():
    engine, preprocess = Held(), Ahead()
    source = ListSource([1], live=True, endless=True)
    flow = Flow(source, engine=engine, preprocess=preprocess)
    thread = flow.in_background()
    assert engine.entered.wait(150)
    source.give(2)
    assert preprocess.wait_for(2)
    source.give(3, 4)
    assert source.wait_for_acks(2)  # 2 and 3 were dropped for 4
    assert preprocess.prepared == [1, 2]
    engine.go_on.set()
    assert flow.brokers[0].wait_for(2)
    flow.runner.stop()
    thread.join()
    assert flow.received() == [2.0, 8.0]


def test_a_bug_in_any_thread_ends_the_process():
    class Broken(NumbersPreprocessor):
        def split(self, payload):
            raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        Flow(ListSource([1, 2]), preprocess=Broken()).runner.run()


def test_a_batch_is_acknowledged_once_when_all_its_results_are_safe():
    flow = Flow(ListSource([[1, 2, 3]]))
    flow.runner.run()
    assert flow.received() == [2.0, 4.0, 6.0]
    assert flow.source.acked == [[1, 2, 3]]


def test_the_last_message_of_a_sample_says_where_it_came_from():
    class Named(ListSource):
        def read(self, timeout_s):
            sample = super().read(timeout_s)
            return sample and structs.replace(sample, origin=b"here")

    origins = []

    class Records(FakeBroker):
        def send(self, entry):
            origins.append(entry.message.origin)
            super().send(entry)

    Flow(Named([[1, 2, 3]]), Records()).runner.run()
    assert origins == [None, None, b"here"]


def test_an_eager_wait_stays_short_for_a_while_and_ends_where_the_other_side_says_no():
    class Full:
        def uniform(self, low, high):
            return high

    backoff = Backoff(0.1, 30.0, Full(), eager_s=1.0)  # type: ignore[arg-type]
    assert [backoff.next_s() for _ in range(8)] == [0.1, 0.2, 0.25, 0.25, 0.25, 0.25, 0.5, 1.0]
    backoff.reset()
    assert [backoff.next_s() for _ in range(3)] == [0.1, 0.2, 0.25]
    backoff.calm()
    assert [backoff.next_s() for _ in range(3)] == [0.25, 0.5, 1.0]


def test_the_wait_before_the_next_try_doubles_up_to_a_limit_and_starts_again():
    class Full:
        def uniform(self, low, high):
            return high

    backoff = Backoff(1.0, 5.0, Full())  # type: ignore[arg-type]
    assert [backoff.next_s() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    backoff.reset()
    assert backoff.next_s() == 1.0


def test_frames_shed_under_heat_are_acknowledged_and_counted_with_that_reason():
    source = ListSource([1, 2, 3, 4], endless=True)
    flow = Flow(source, admit=iter([True, False, False, True]).__next__)
    thread = flow.in_background()
    assert source.wait_for_acks(4)
    flow.runner.stop()
    thread.join()
    assert flow.received() == [2.0, 8.0]
    assert sorted(source.acked) == [1, 2, 3, 4]
    assert flow.metrics.counter("dropped:heat") == 2


def test_samples_in_which_nothing_moves_are_acknowledged_and_counted_with_that_reason():
    source = ListSource([1, 2, 3, 4])
    flow = Flow(source, gate=lambda sample: sample if sample.payload in (1, 4) else None)
    flow.runner.run()
    assert flow.received() == [2.0, 8.0]
    assert sorted(source.acked) == [1, 2, 3, 4]
    assert flow.metrics.counter("dropped:motion") == 2


def test_a_lane_that_ends_in_an_error_ends_the_process_also_while_it_is_full():
    class Breaks(FakeBroker):
        def send(self, entry):
            raise SpoolError("the state folder is gone")

    flow = Flow(ListSource(range(1000)), Breaks())
    with pytest.raises(SpoolError):
        flow.runner.run()


def test_a_stop_ends_while_the_broker_is_away_and_neither_memory_nor_disk_takes_more():
    broker = FakeBroker(away=True)
    spool = FailingSpool(lambda: MemorySpool(10**7))
    spool.full = True
    flow = Flow(ListSource(range(1000)), broker, spool=spool, options=OutboxOptions(memory_messages=3))
    thread = flow.in_background()
    assert flow.wait_for("results", 4)
    flow.runner.stop()
    thread.join(150)
    assert not thread.is_alive()


@pytest.mark.parametrize(("preprocess", "thread"), [(NumbersPreprocessor, "infer"), (Ahead, "capture")])
def test_the_end_goes_on_without_a_source_that_hangs(monkeypatch, preprocess, thread):
    monkeypatch.setattr(runner, "HANGS_AFTER_S", 0.1)
    hangs, release = threading.Event(), threading.Event()

    class Hangs(ListSource):
        def read(self, timeout_s):
            if self.acked:
                hangs.set()
                release.wait(150)
            return super().read(timeout_s)

    flow = Flow(Hangs([1], endless=True), grace_s=0.1, preprocess=preprocess())
    running = flow.in_background()
    assert hangs.wait(150)
    flow.runner.stop()
    running.join(150)
    try:
        assert not running.is_alive()
        assert flow.runner.left_behind == [thread]
        assert flow.received() == [2.0]
    finally:
        release.set()


@pytest.mark.parametrize(("preprocess", "thread"), [(NumbersPreprocessor, "infer"), (Ahead, "capture")])
def test_the_end_goes_on_without_a_source_whose_close_hangs(monkeypatch, preprocess, thread):
    monkeypatch.setattr(runner, "HANGS_AFTER_S", 0.1)
    release = threading.Event()

    class Hangs(ListSource):
        def close(self):
            release.wait(150)

    flow = Flow(Hangs([1], endless=True), grace_s=0.1, preprocess=preprocess())
    running = flow.in_background()
    assert flow.wait_for("results", 1)
    flow.runner.stop()
    running.join(150)
    try:
        assert not running.is_alive()
        assert flow.runner.left_behind == [thread]
        assert flow.received() == [2.0]
    finally:
        release.set()


def test_the_end_wakes_a_source_that_waits_for_what_never_comes():
    waits = threading.Event()

    class Waits(ListSource):
        def read(self, timeout_s):
            if self.acked:
                waits.set()
            return super().read(150 if self.acked else timeout_s)

    flow = Flow(Waits([1], endless=True))
    running = flow.in_background()
    assert waits.wait(150)
    flow.runner.stop()
    running.join(150)
    assert not running.is_alive()
    assert flow.runner.left_behind == []


class EndClock(FakeClock):
    """From `begin` on each look at it takes a second, until ten have passed."""

    def __init__(self):
        super().__init__()
        self.begun, self.passed = threading.Event(), threading.Event()
        self._looks = 0

    def monotonic_ns(self):
        if self.begun.is_set() and not self.passed.is_set():
            self.advance(1)
            self._looks += 1
            if self._looks == 10:
                self.passed.set()
        return super().monotonic_ns()


def test_the_end_waits_for_a_sink_whose_request_takes_ten_seconds_and_does_with_what_is_left_as_ever():
    clock = EndClock()

    class Late(FakeBroker):
        def send(self, entry):
            clock.begun.set()
            flow.runner.stop()
            clock.passed.wait(150)
            raise UnavailableError("timed out")

    flow = Flow(ListSource([1], endless=True), Late(), grace_s=0.1, runner_clock=clock)
    flow.runner.run()
    assert flow.runner.left_behind == []
    assert flow.metrics.counter("dropped:broker0:stop") == 1, "it goes to disk, or is counted where the spool is none"


def test_a_sink_that_hangs_at_the_end_is_told_as_an_error(monkeypatch):
    monkeypatch.setattr(runner, "SINK_HANGS_AFTER_S", 0.1)
    release = threading.Event()

    class Hangs(FakeBroker):
        def send(self, entry):
            super().send(entry)
            release.wait(150)

    flow = Flow(ListSource([1], endless=True), Hangs(), grace_s=0.1)
    stopper = threading.Thread(target=lambda: (flow.brokers[0].wait_for(1), flow.runner.stop()))
    stopper.start()
    try:
        with pytest.raises(FatalError, match="outbox-broker0 did not end"):
            flow.runner.run()
    finally:
        release.set()
        stopper.join()
