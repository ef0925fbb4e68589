"""A long batch runs in pieces: others have their turns, the end need not wait, all of it is acknowledged or nothing."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from edge.data.result import ModelRef
from edge.data.sample import Sample
from edge.data.units import SECOND_NS
from edge.delivery.outbox import Outbox
from edge.model.manifest import Feature
from edge.pipeline.pipeline import Pipeline
from edge.pipeline.prepare import Preparation
from edge.pipeline.results import Identity, ResultBuilder
from edge.preprocess.table import TablePreprocessor
from edge.runtime.batches import MOST, Batches
from edge.runtime.end_report import EndReport
from edge.runtime.guard import Guard
from edge.runtime.publisher import Publisher
from edge.runtime.runner import Runner, RunnerOptions
from edge.storage.memory import MemorySpool
from edge.telemetry.clock import SystemClock
from edge.telemetry.metrics import Metrics
from edge.testing.fakes import DoublingEngine, FakeBroker, FakeClock, ListSource, as_numbers

ROWS = 6_000
LONG = json.dumps([[n] for n in range(ROWS)]).encode()
SHORT = b"[-1]"
"""The engine refuses it: its place among the results is that of an error."""


class KeptSource(ListSource):
    """Knows its samples again, as a broker does."""

    def read(self, timeout_s):
        sample = super().read(timeout_s)
        return sample and Sample(sample.payload, "list", sample.captured_ns, sample.time_ns, origin=b"1")


class SteppingClock(FakeClock):
    """Each look at it takes ten milliseconds: time passes with the work that is done, however fast the machine."""

    def __init__(self, step_s=0.01):
        super().__init__()
        self._step_s = step_s

    def monotonic_ns(self):
        self.advance(self._step_s)
        return super().monotonic_ns()


class PairsPreprocessor:
    """Keeps the last row, and gives it with the new one."""

    def __init__(self):
        self._table = table()
        self._last = None
        self.pairs = []

    def split(self, payload):
        return self._table.split(payload)

    def __call__(self, sample):
        ready = self._table(sample)
        last, self._last = self._last, int(ready.tensors["x"].item())
        if last is not None:
            self.pairs.append((last, self._last))
        return ready


def table():
    return TablePreprocessor([Feature(name="")], DoublingEngine().inputs, columns=False)


def made_pipeline(preprocess=None):
    identity = Identity("d", ModelRef("m", "1", "0"), "regress", "b")
    return Pipeline(DoublingEngine(), Preparation(preprocess or table()), as_numbers, ResultBuilder(identity))


class PlainSource:
    """Reads as another does, and acknowledges nothing."""

    live = False

    def __init__(self, source):
        self.open, self.read, self.close = source.open, source.read, source.close


class Flow:
    def __init__(self, source, *, away=False, clock=None, preprocess=None, observer=lambda *_: None):
        self.source, self.metrics, self.broker = source, Metrics(), FakeBroker(away=away)
        clock = clock or SystemClock()
        outbox = Outbox("b", self.broker, MemorySpool(10**8), clock=SystemClock(), metrics=self.metrics)
        pipeline = made_pipeline(preprocess)
        self.sizes = []
        observers = (lambda _, results: self.sizes.append(len(results)), observer)
        options = RunnerOptions(grace_s=2.0, observers=observers)
        self.runner = Runner(source, pipeline, [outbox], clock=clock, metrics=self.metrics, options=options)

    def seqs(self):
        return [m["seq"] for m in self.broker.received]

    def kinds(self):
        return ["error" if "reason" in m else "result" for m in self.broker.received]


def test_all_rows_have_results_in_order_and_the_batch_is_acknowledged_once():
    flow = Flow(KeptSource([LONG, SHORT]))
    flow.runner.run()
    assert flow.seqs() == list(range(1, ROWS + 2))
    assert sorted(flow.source.acked) == sorted([LONG, SHORT])
    values = [m["predictions"][0]["value"] for m in flow.broker.received if "predictions" in m]
    assert values == [2.0 * n for n in range(ROWS)]


def test_no_more_rows_than_a_piece_holds_are_in_memory_at_a_time():
    flow = Flow(KeptSource([LONG]))
    flow.runner.run()
    assert max(flow.sizes) <= 64


def test_the_samples_of_others_have_their_turn_between_the_pieces():
    flow = Flow(KeptSource([LONG, SHORT]), clock=SteppingClock())
    flow.runner.run()
    assert 0 < flow.kinds().index("error") < ROWS


def test_lines_of_one_sender_keep_their_order():
    flow = Flow(PlainSource(ListSource([LONG, SHORT])), clock=SteppingClock())
    flow.runner.run()
    assert flow.kinds().index("error") == ROWS


def test_lines_of_one_sender_that_are_read_together_keep_their_order():
    quick = [b"[0]"] * 3
    flow = Flow(PlainSource(ListSource([*quick, LONG, SHORT])), clock=SteppingClock())
    flow.runner.run()
    assert flow.kinds().index("error") == len(quick) + ROWS


def test_the_rows_of_a_batch_go_into_a_window_before_those_of_the_samples_behind_it():
    preprocess = PairsPreprocessor()
    rows = json.dumps([[n] for n in range(3, 203)]).encode()
    flow = Flow(KeptSource([b"[0]", b"[1]", b"[2]", rows, b"[203]", b"[204]"]), preprocess=preprocess)
    flow.runner.run()
    assert preprocess.pairs == [(n, n + 1) for n in range(204)]


def test_no_more_than_a_few_batches_are_under_way_at_a_time():
    rows, under_way, most = 600, {}, [0]

    def observe(sample, results):
        key = sample.payload
        under_way[key] = under_way.get(key, 0) + len(results)
        if under_way[key] == rows:
            del under_way[key]
        most.append(len(under_way))

    batches = [json.dumps([[n]] * rows).encode() for n in range(MOST + 4)]
    flow = Flow(KeptSource(batches), clock=SteppingClock(0.1), observer=observe)
    flow.runner.run()
    assert max(most) == MOST
    assert len(flow.broker.received) == rows * len(batches)


def test_batches_that_do_not_come_again_take_a_second_of_the_end_all_together():
    clock, stops, metrics = SteppingClock(), threading.Event(), Metrics()
    report = EndReport(metrics, "list")
    publisher = Publisher((), lambda _: None, clock=clock, metrics=metrics, report=report, options=RunnerOptions())
    pipeline = made_pipeline()
    batches = Batches(
        publisher,
        clock=clock,
        metrics=metrics,
        guard=Guard(),
        stopping=stops.is_set,
        beat=lambda: None,
    )
    for _ in range(10):
        work = pipeline.prepare([Sample(LONG, "list", 0, 0)])[0]
        batches.begin(work, pipeline.run([work])[0], pipeline)
    stops.set()
    before_ns = clock.monotonic_ns()
    batches.finish()
    assert clock.monotonic_ns() - before_ns < 2 * SECOND_NS
    assert metrics.counter("dropped:stop") == 10


def test_two_long_batches_take_turns():
    flow = Flow(KeptSource([LONG, json.dumps([[-1]] * ROWS).encode()]), clock=SteppingClock())
    flow.runner.run()
    assert sorted(flow.kinds()) == ["error"] * ROWS + ["result"] * ROWS
    assert flow.kinds().index("error") < ROWS


def test_the_end_comes_within_a_batch_which_is_not_acknowledged_then(caplog):
    caplog.set_level("INFO")
    source = KeptSource([LONG], endless=True)
    flow = Flow(source, away=True)
    first = threading.Event()
    thread = threading.Thread(target=flow.runner.run)
    flow.sizes = _Telling(first)
    thread.start()
    assert first.wait(150)
    flow.runner.stop()
    thread.join(150)
    assert not thread.is_alive()
    assert source.acked == []
    assert "it is not acknowledged, and comes again" in caplog.text


class _Telling(list):
    def __init__(self, told):
        super().__init__()
        self._told = told

    def append(self, value):
        super().append(value)
        self._told.set()


def test_a_row_that_cannot_be_held_costs_its_piece_alone():
    rows = ["[1.00000]"] * ROWS
    rows[ROWS // 2] = "[1e999]"
    flow = Flow(KeptSource([f"[{','.join(rows)}]".encode()]))
    flow.runner.run()
    assert flow.kinds().count("error") == 1
    assert flow.kinds().count("result") > ROWS // 2


@pytest.mark.parametrize("rows", [np.arange(5000.0)[:, None], [[float(n)] for n in range(5000)]], ids=["array", "list"])
def test_rows_that_are_decoded_run_in_pieces_too(rows):
    flow = Flow(KeptSource([rows]))
    flow.runner.run()
    assert flow.seqs() == list(range(1, 5001))
    assert max(flow.sizes) <= 64
