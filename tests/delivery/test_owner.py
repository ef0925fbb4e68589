"""Who runs an outbox: the loop of its sink, or a thread of its own. One thread in either case."""

from __future__ import annotations

import threading
from collections import deque

import pytest

from edge.data.message import Message
from edge.delivery.ack import Ack
from edge.errors import SampleError, UnavailableError
from edge.testing.fakes import FakeBroker, FakeLoop


class LoopBroker(FakeBroker):
    """A broker whose connection has a loop, and that takes many at once."""

    batch = 1
    batch_bytes = 0

    def __init__(self, **more):
        super().__init__(**more)
        self.loop = FakeLoop()
        self.blocks = []
        self.refuses = set()

    def send_all(self, entries):
        self.blocks.append(len(entries))
        for entry in entries:
            if entry.message.seq not in self.refuses:
                self.send(entry)
        return [(e.key, "too large") for e in entries if e.message.seq in self.refuses]


def test_an_outbox_is_a_worker_of_the_loop_of_its_sink(bench):
    b = bench(broker=LoopBroker())
    assert b.broker.loop.workers == [b.outbox]
    assert b.outbox.loop is not None


def test_a_new_result_wakes_the_loop_and_goes_out_in_its_turn(bench):
    b = bench(broker=LoopBroker())
    b.append(1)
    assert b.received == []
    assert b.broker.loop.waker.wakes == 1
    b.broker.loop.turn()
    assert b.received == [1]


def test_while_the_window_is_full_new_results_wake_nothing(bench):
    b = bench(broker=LoopBroker(window=2, confirms=False))
    b.append(1, 2)
    b.broker.loop.turn()
    wakes = b.broker.loop.waker.wakes
    b.append(3, 4)
    assert b.broker.loop.waker.wakes == wakes
    b.broker.confirm()
    b.broker.loop.turn()
    assert b.received == [1, 2, 3, 4]


def test_what_was_put_between_a_turn_and_the_wait_gets_a_turn_at_once(bench):
    class Races(LoopBroker):
        def send(self, entry):
            super().send(entry)
            if entry.message.seq == 1:
                b.append(2)  # the outbox still says that it need not be woken

    b = bench(broker=Races(window=1, confirms=False))
    b.append(1)
    assert b.broker.loop.turn() > 0
    b.broker.confirm()
    assert b.outbox.turn() > 0
    assert b.received == [1, 2]


def test_a_confirmation_releases_the_sample_and_sends_what_waits(bench):
    b = bench(broker=LoopBroker(window=2, confirms=False))
    b.append(1, 2, 3, 4)
    b.broker.loop.turn()
    b.broker.confirm()
    b.broker.loop.turn()
    assert b.received == [1, 2, 3, 4]
    assert b.safe == [1, 2]


def test_what_waits_is_given_to_the_sink_together(bench):
    b = bench(broker=LoopBroker(window=8, confirms=False))
    b.append(*range(14))
    b.broker.loop.turn()
    b.broker.confirm()
    b.broker.loop.turn()
    assert b.broker.blocks == [8, 6]


def test_one_of_many_that_can_never_be_sent_is_dropped_and_counted(bench):
    b = bench(broker=LoopBroker(window=2))
    b.broker.refuses = {3}
    b.append(1, 2, 3, 4)
    b.turn()
    assert b.received == [1, 2, 4]
    assert b.metrics.counter("dropped:broker:refused") == 1
    assert sorted(b.safe) == [1, 2, 3, 4]


def test_a_loop_that_ends_leaves_what_waits_on_disk(bench):
    b = bench(broker=LoopBroker(away=True))
    b.append(1, 2)
    b.broker.loop.end()
    assert b.outbox.ended
    assert b.safe == [1, 2]
    b.append(3)
    assert b.safe == [1, 2]
    assert b.metrics.counter("dropped:broker:stop") == 1


def test_a_turn_of_another_thread_is_a_bug_that_is_told(bench):
    b = bench()
    told = []

    def turn() -> None:
        try:
            b.outbox.turn()
        except AssertionError as exc:
            told.append(str(exc))

    other = threading.Thread(target=turn)
    other.start()
    other.join()
    assert told == ["the outbox broker belongs to another thread"]


class Trickling(FakeBroker):
    """Confirms a few at a time, in a thread of its own."""

    def __init__(self, **more):
        super().__init__(confirms=False, **more)
        self.sent = deque()
        self.ended = False
        self.events = None

    def open(self, events):
        super().open(events)
        self.events = events

    def send(self, entry):
        super().send(entry)
        self.sent.append(entry.key)

    def trickle(self):
        while not self.ended or self.sent:
            keys = [self.sent.popleft() for _ in range(min(7, len(self.sent)))]
            if keys:
                self.events.confirmed(keys)


@pytest.mark.parametrize("count", [3200, pytest.param(20_000, marks=pytest.mark.long)])
def test_three_threads_lose_and_swap_nothing(bench, count):
    b = bench(broker=Trickling(), turned=False)
    owner = threading.Thread(target=b.outbox.run)
    trickle = threading.Thread(target=b.broker.trickle)
    trickle.start()
    owner.start()
    for first in range(0, count, 16):
        numbers = range(first, first + 16)
        b.outbox.put([(Message("result", b'{"n":%d}' % n, n), Ack(1, lambda n=n: b.safe.append(n))) for n in numbers])
    b.outbox.finish()
    owner.join(150)
    b.broker.ended = True
    trickle.join(150)
    assert not owner.is_alive()
    assert b.received == list(range(count))
    assert b.safe == list(range(count))
    assert b.outbox.waiting()["depth"] == 0


@pytest.mark.parametrize("error", [UnavailableError("gone"), SampleError("never")])
def test_a_sink_that_sends_one_by_one_may_have_a_loop_too(bench, error):
    class One(FakeBroker):
        refuse = None

        def __init__(self):
            super().__init__()
            self.loop = FakeLoop()

        def send(self, entry):
            if self.refuse is not None:
                raise self.refuse
            super().send(entry)

    b = bench(broker=One())
    b.append(1)
    b.broker.loop.turn()
    assert b.received == [1]
    b.broker.refuse = error
    b.append(2)
    b.broker.loop.turn()
    assert b.received == [1]
    dropped = isinstance(error, SampleError)
    assert b.metrics.counter("dropped:broker:refused") == dropped
    b.broker.refuse = None
    b.broker.come_back()
    b.broker.loop.turn()
    assert b.received == ([1] if dropped else [1, 2])


def test_an_owner_is_woken_when_there_is_room_that_it_has_asked_for(bench):
    broker = LoopBroker(confirms=False)
    b = bench(broker=broker, save_past=4)
    b.append(1, 2, 3)
    assert b.outbox.room()
    b.append(4)
    b.turn()
    assert not b.outbox.room()
    before = broker.loop.waker.wakes
    broker.confirm(1)
    b.turn()
    assert broker.loop.waker.wakes == before, "woken although most of the room is taken"
    broker.confirm(2)
    b.turn()
    assert broker.loop.waker.wakes == before + 1
    assert b.outbox.room()
    broker.confirm()
    b.turn()
    assert broker.loop.waker.wakes == before + 1, "woken although it had not asked again"


def test_an_owner_adds_beyond_the_bound_what_it_has_begun(bench):
    broker = LoopBroker(confirms=False)
    b = bench(broker=broker, save_past=4)
    b.outbox.add([(Message("result", b'{"n":%d}' % n, n), Ack(1, lambda n=n: b.safe.append(n))) for n in range(9)])
    b.turn()
    assert b.received == list(range(9))
    broker.confirm()
    b.turn()
    assert b.safe == list(range(9))
