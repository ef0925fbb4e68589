"""Where the inference of a quick model runs: in the thread that reads its inputs and sends its results."""

from __future__ import annotations

import threading
import time

import pytest
from msgspec import structs

from edge.data.result import ModelRef
from edge.delivery.options import OutboxOptions
from edge.delivery.outbox import Outbox
from edge.delivery.waker import ThreadWaker
from edge.errors import EndOfStream, FatalError
from edge.pipeline.pipeline import Pipeline
from edge.pipeline.prepare import Preparation
from edge.pipeline.results import Identity, ResultBuilder
from edge.runtime.handover import FRAME_NS, QUICK_NS, QUICK_TURNS, SLOW_NS
from edge.runtime.options import RunnerOptions
from edge.runtime.runner import Runner
from edge.storage.memory import MemorySpool
from edge.telemetry.clock import SystemClock
from edge.telemetry.metrics import Metrics
from edge.testing.fakes import DoublingEngine, FakeBroker, ListSource, NumbersPreprocessor, as_numbers

LOOP = "loop"


class ThreadLoop:
    """A loop in a thread of its own."""

    def __init__(self):
        self.waker = ThreadWaker()
        self.failure = None
        self.waits_s = []
        self._workers = []
        self._ends = False
        self._thread = threading.Thread(target=self._run, name=LOOP)

    def attach(self, worker, *, first=False):
        self._workers.insert(0 if first else len(self._workers), worker)

    def start(self):
        self._thread.start()

    def _run(self):
        try:
            wait_s = 0.0
            while not self._ends:
                self.waker.wait(wait_s)
                wait_s = min(worker.turn() for worker in self._workers)
                self.waits_s.append(wait_s)
        except FatalError as exc:
            self.failure = exc
        for worker in self._workers:
            worker.end()

    def end(self):
        self._ends = True
        self.waker.wake()
        self.join()

    def join(self):
        self._thread.join(150)
        assert not self._thread.is_alive()


class Source(ListSource):
    """Its samples come in a loop."""

    def __init__(self, loop):
        super().__init__([], endless=True)
        self.loop = loop

    def give(self, *payloads):
        super().give(*payloads)
        self.loop.waker.wake()


class File(ListSource):
    """All its rows are there."""

    def __init__(self, rows, *, ready=True):
        super().__init__(range(rows))
        self.ready = ready


class Camera(ListSource):
    """Its frames come in the capture thread, when they are given."""

    def __init__(self):
        super().__init__([], live=True, endless=True)
        self._over = False
        self.reads = 0
        self._read = threading.Condition()

    def read(self, timeout_s):
        with self._read:
            self.reads += 1
            self._read.notify_all()
        if self._over:
            raise EndOfStream("camera")
        sample = super().read(timeout_s)
        return None if sample is None else structs.replace(sample, captured_ns=time.monotonic_ns())

    def give_and_wait(self, payload):
        """Returns when the capture thread has put it into its queue: it reads again then."""
        with self._read:
            before = self.reads
        self.give(payload)
        with self._read:
            assert self._read.wait_for(lambda: self.reads > before + 1, 30)

    def end(self):
        self._over = True


class Broker(FakeBroker):
    """Its connection has a loop, in which it confirms."""

    def __init__(self, loop):
        super().__init__(confirms=False)
        self.loop = loop
        self.confirming = True
        loop.attach(self)

    def send(self, entry):
        super().send(entry)
        self.loop.waker.wake()

    def turn(self):
        if self.confirming:
            self.confirm()
        return 0.5

    def end(self):
        """Nothing is kept."""


class Engine(DoublingEngine):
    """Remembers which thread it ran in, and takes as long as it is told to."""

    def __init__(self):
        super().__init__()
        self.threads = []
        self.takes_ns = QUICK_NS // 10
        self.ns = 0
        self.meanwhile = lambda: None

    def now(self):
        return self.ns

    def infer(self, tensors):
        self.meanwhile()
        self.threads.append(threading.current_thread().name)
        self.ns += self.takes_ns
        return super().infer(tensors)


class Service:
    def __init__(self, *, beside=(), save_past=64, source=None):
        self.loop = ThreadLoop()
        self.source = source or Source(self.loop)
        self.broker = Broker(self.loop)
        self.engine = Engine()
        self.failures = []
        self.on_beat = lambda name: None
        clock, metrics = SystemClock(), Metrics()
        identity = Identity("d", ModelRef("m", "1", "0"), "regress", "b")
        outbox = Outbox(
            "broker",
            self.broker,
            MemorySpool(10**7),
            clock=clock,
            metrics=metrics,
            options=OutboxOptions(save_past=save_past, save_after_s=3600.0),
        )
        self.runner = Runner(
            self.source,
            Pipeline(
                self.engine,
                Preparation(NumbersPreprocessor(), now=self.engine.now),
                as_numbers,
                ResultBuilder(identity),
            ),
            [outbox, *beside],
            clock=clock,
            metrics=metrics,
            options=RunnerOptions(grace_s=2.0, beat=lambda name: self.on_beat(name)),
        )
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        try:
            self.runner.run()
        except FatalError as exc:
            self.failures.append(exc)

    def ask(self, number):
        """One input, and its result."""
        before = len(self.broker.received)
        self.source.give(number)
        assert self.broker.wait_for(before + 1)
        return self.broker.received[before]["predictions"][0]["value"]

    def fill_outbox(self, inputs):
        """Gives so many to a broker that confirms none, for an outbox with room for four; what it had before them."""
        self.broker.confirming = False
        before = len(self.broker.received)
        self.source.give(*range(inputs))
        assert self.broker.wait_for(before + 4)
        return before

    def until_in(self, thread):
        """Asks until the model runs in this thread: only then is it known that it does."""
        for number in range(1000):
            self.ask(number)
            if self.engine.threads[-1] == thread:
                return
        raise AssertionError(f"the model never ran in the thread {thread}")

    def until_it_ends(self):
        self._thread.join(30)
        assert not self._thread.is_alive()

    def __enter__(self):
        self.loop.start()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.runner.stop()
        self._thread.join(150)
        self.loop.end()
        assert not self._thread.is_alive()


@pytest.fixture
def service():
    with Service() as one:
        yield one


def test_a_quick_model_comes_to_run_in_the_loop(service):
    service.until_in(LOOP)
    assert [service.ask(n) for n in (1, 2, 3)] == [2.0, 4.0, 6.0]
    assert service.engine.threads[-3:] == [LOOP] * 3
    assert service.source.wait_for_acks(len(service.engine.threads))


def test_a_slow_model_stays_in_the_infer_thread(service):
    service.engine.takes_ns = QUICK_NS
    for number in range(3 * QUICK_TURNS):
        service.ask(number)
    assert set(service.engine.threads) == {"infer"}


def test_a_model_that_has_become_slow_goes_back_to_the_infer_thread(service):
    service.until_in(LOOP)
    service.engine.takes_ns = SLOW_NS + 1
    service.ask(1)
    assert service.engine.threads[-1] == LOOP, "the first slow one was not known to be slow"
    assert service.ask(2) == 4.0
    assert service.engine.threads[-1] == "infer"


def test_a_model_that_is_quick_again_comes_back(service):
    service.until_in(LOOP)
    service.engine.takes_ns = SLOW_NS + 1
    service.until_in("infer")
    service.engine.takes_ns = 1
    service.until_in(LOOP)


def test_an_end_delivers_what_was_read_in_the_loop():
    with Service() as service:
        service.until_in(LOOP)
        asked = len(service.broker.received)
        service.ask(5)
    assert len(service.broker.received) == asked + 1
    assert service.source.closed == 1


def test_a_loop_that_ends_leaves_the_inference_to_the_infer_thread():
    with Service() as service:
        service.until_in(LOOP)
        service.loop.end()
    assert service.source.closed == 1


def test_inputs_that_wait_for_room_in_the_outbox_are_inferred_once_there_is_some():
    with Service(save_past=4) as service:
        service.until_in(LOOP)
        before = service.fill_outbox(200)
        service.broker.confirming = True
        service.loop.waker.wake()
        assert service.broker.wait_for(before + 200)
        got = [m["predictions"][0]["value"] for m in service.broker.received[before:]]
        assert got == [2.0 * n for n in range(200)]


def test_a_model_in_the_loop_counts_as_making_progress_while_the_outbox_has_no_room():
    with Service(save_past=4) as service:
        service.until_in(LOOP)
        service.fill_outbox(200)
        beaten = threading.Event()
        service.on_beat = lambda name: name == "infer" and beaten.set()
        service.loop.waker.wake()
        assert beaten.wait(150)
        service.broker.confirming = True


def test_a_batch_with_more_results_than_there_is_room_for_does_not_block_the_loop():
    with Service(save_past=4) as service:
        service.until_in(LOOP)
        before = len(service.broker.received)
        service.source.give(list(range(30)))
        assert service.broker.wait_for(before + 30)
        assert service.engine.threads[-1] == LOOP


def test_a_batch_of_several_pieces_is_left_to_the_infer_thread(service):
    service.until_in(LOOP)
    before = len(service.broker.received)
    service.source.give(list(range(1000)), 7)
    assert service.broker.wait_for(before + 1001)
    got = [m["predictions"][0]["value"] for m in service.broker.received[before:]]
    assert got == [2.0 * n for n in range(1000)] + [14.0]
    assert service.engine.threads[-1] == "infer"


def test_with_a_sink_that_has_no_loop_the_model_stays_in_the_infer_thread():
    clock = SystemClock()
    other = Outbox("other", FakeBroker(), MemorySpool(10**7), clock=clock, metrics=Metrics())
    with Service(beside=[other]) as service:
        for number in range(3 * QUICK_TURNS):
            service.ask(number)
        assert set(service.engine.threads) == {"infer"}


def test_a_bug_in_the_model_ends_the_loop_and_the_runner():
    with Service() as service:
        service.until_in(LOOP)

        def broken():
            raise FatalError("broken")

        service.engine.meanwhile = broken
        service.source.give(1)
        service.loop.join()
    assert str(service.loop.failure) == "broken"


def test_rows_that_are_all_there_come_to_run_in_the_loop():
    with Service(source=File(1000)) as service:
        service.until_it_ends()
    assert service.engine.threads[-1] == LOOP
    assert [m["predictions"][0]["value"] for m in service.broker.received] == [2.0 * n for n in range(1000)]
    assert service.source.acked == list(range(1000))


def test_rows_that_may_have_to_be_waited_for_stay_in_the_infer_thread():
    with Service(source=File(1000, ready=False)) as service:
        service.until_it_ends()
    assert set(service.engine.threads) == {"infer"}


@pytest.fixture
def camera():
    with Service(source=Camera()) as one:
        one.engine.takes_ns = FRAME_NS // 2
        yield one


def test_lone_frames_come_to_run_in_the_loop(camera):
    camera.until_in(LOOP)
    assert [camera.ask(n) for n in (1, 2, 3)] == [2.0, 4.0, 6.0]
    assert camera.engine.threads[-3:] == [LOOP] * 3
    assert camera.source.wait_for_acks(len(camera.engine.threads))


def test_after_a_lone_frame_the_loop_waits_for_the_next_one(camera):
    camera.until_in(LOOP)
    before = len(camera.loop.waits_s)
    camera.ask(1)
    assert camera.source.wait_for_acks(len(camera.engine.threads))
    assert all(wait_s > 0 for wait_s in camera.loop.waits_s[before:])


def test_frames_that_leave_no_time_between_them_go_back_to_the_infer_thread(camera):
    camera.until_in(LOOP)
    left = [1, 2, 3]

    def busy():
        if left:
            camera.source.give_and_wait(left.pop())  # the next one is there before this one is done

    camera.engine.meanwhile = busy
    before = len(camera.broker.received)
    camera.source.give(0)
    assert camera.broker.wait_for(before + 4)
    assert camera.engine.threads[-1] == "infer"


def test_a_model_that_takes_long_for_a_frame_stays_in_the_infer_thread(camera):
    camera.engine.takes_ns = FRAME_NS
    for number in range(3 * QUICK_TURNS):
        camera.ask(number)
    assert set(camera.engine.threads) == {"infer"}


def test_the_end_of_the_frames_is_the_end_also_in_the_loop():
    with Service(source=Camera()) as camera:
        camera.until_in(LOOP)
        camera.ask(5)
        camera.source.end()
        camera.until_it_ends()
    assert camera.source.closed == 1
