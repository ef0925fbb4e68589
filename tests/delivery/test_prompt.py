"""A sink that never waits: whoever brings something takes the lane's turn."""

from __future__ import annotations

import threading
from collections import deque

import pytest

from edge.data.message import Message
from edge.delivery.ack import Receipt
from edge.delivery.options import Durability
from edge.errors import SampleError, UnavailableError
from edge.testing.fakes import FakeBroker


class Prompt(FakeBroker):
    """Never waits, and takes many at once."""

    prompt = True

    def __init__(self, **more):
        super().__init__(**more)
        self.blocks = []
        self.refuses = set()

    def send_all(self, entries):
        self.blocks.append(len(entries))
        for entry in entries:
            if entry.message.seq not in self.refuses:
                self.send(entry)
        return [(e.key, "too large") for e in entries if e.message.seq in self.refuses]


def test_a_new_result_goes_out_at_once_and_the_lanes_thread_sleeps_on(bench):
    b = bench(broker=Prompt(confirms=False))
    b.lane._intake._woken = False
    b.append(1)
    assert b.received == [1]
    assert not b.lane._intake._woken


def test_a_confirmation_releases_the_sample_and_sends_what_waits(bench):
    b = bench(broker=Prompt(window=2, confirms=False))
    b.append(1, 2, 3, 4)
    assert b.received == [1, 2]
    b.broker.confirm()
    assert b.received == [1, 2, 3, 4]
    assert b.safe == [1, 2]


def test_what_waits_is_given_to_the_sink_together(bench):
    b = bench(broker=Prompt(window=8, confirms=False))
    b.append(*range(8))
    b.append(*range(8, 14))
    b.broker.confirm()
    assert b.broker.blocks == [1] * 8 + [6]


def test_one_of_many_that_can_never_be_sent_is_dropped_and_counted(bench):
    b = bench(broker=Prompt(window=2, confirms=False))
    b.append(1, 2, 3, 4)
    b.broker.refuses = {3}
    b.broker.confirm()
    b.broker.confirm()
    assert b.received == [1, 2, 4]
    assert b.metrics.counter("dropped:broker:refused") == 1
    assert b.safe == [1, 2, 3, 4]


def test_always_leaves_the_turn_to_the_lanes_thread_which_saves_first(bench):
    b = bench(broker=Prompt(), durability=Durability.ALWAYS)
    b.append(1)
    assert b.received == []
    b.turn()
    assert b.received == [1]


def test_what_waits_on_disk_comes_first_and_is_read_by_the_lanes_thread(bench):
    b = bench(broker=Prompt(away=True))
    b.append(1, 2)
    b.clock.advance(2)
    b.turn()
    assert len(b.spool) == 2
    b.broker.away = False
    b.append(3)
    assert b.received == []
    b.broker.come_back()
    b.turn()
    assert b.received == [1, 2, 3]


def test_a_connection_that_goes_while_somebody_else_has_the_turn_loses_nothing(bench):
    b = bench(broker=Prompt(confirms=False))
    b.append(1)
    b.broker.away = True  # and nobody has said so yet
    b.append(2)
    assert b.lane._intake._woken  # it has to be opened again
    b.broker.confirms = True
    b.broker.come_back()
    b.turn()
    assert b.received == [1, 1, 2]
    assert b.safe == [1, 2]


def test_who_comes_while_another_has_the_turn_leaves_it_to_that_one(bench):
    class Slow(Prompt):
        def send(self, entry):
            super().send(entry)
            if entry.message.seq == 1:
                other = threading.Thread(target=b.append, args=(2,))
                other.start()
                other.join(10)
                assert not other.is_alive()
                assert b.received == [1]

    b = bench(broker=Slow(confirms=False))
    b.append(1)
    assert b.received == [1, 2]


def test_after_the_end_nothing_is_sent_any_more(bench):
    b = bench(broker=Prompt())
    b.lane.close()
    b.append(1)
    assert b.received == []


class Trickling(Prompt):
    """Confirms a few at a time, in a thread of its own."""

    def __init__(self, **more):
        super().__init__(confirms=False, **more)
        self.sent = deque()
        self.ended = False

    def send(self, entry):
        super().send(entry)
        self.sent.append(entry.key)

    def trickle(self):
        while not self.ended or self.sent:
            keys = [self.sent.popleft() for _ in range(min(7, len(self.sent)))]
            if keys:
                self._events.confirmed(keys)


def test_three_threads_lose_and_swap_nothing(bench):
    b = bench(broker=Trickling())
    broker = b.broker
    lane = threading.Thread(target=b.lane.run)
    trickle = threading.Thread(target=broker.trickle)
    trickle.start()
    lane.start()
    for first in range(0, 20_000, 16):
        b.lane.append(
            [
                (Message("result", b'{"n":%d}' % n, n), Receipt(1, lambda n=n: b.safe.append(n)))
                for n in range(first, first + 16)
            ]
        )
    b.lane.finish()
    lane.join(60)
    broker.ended = True
    trickle.join(60)
    assert not lane.is_alive()
    assert b.received == list(range(20_000))
    assert sorted(b.safe) == list(range(20_000))
    assert b.lane.waiting()["depth"] == 0


@pytest.mark.parametrize("error", [UnavailableError("gone"), SampleError("never")])
def test_a_sink_without_send_all_may_be_prompt_too(bench, error):
    class One(FakeBroker):
        prompt = True
        refuse = None

        def send(self, entry):
            if self.refuse is not None:
                raise self.refuse
            super().send(entry)

    b = bench(broker=One())
    b.append(1)
    assert b.received == [1]
    b.broker.refuse = error
    b.append(2)
    assert b.received == [1]
    dropped = isinstance(error, SampleError)
    assert b.metrics.counter("dropped:broker:refused") == dropped
    b.broker.refuse = None
    b.broker.come_back()
    b.turn()
    assert b.received == ([1] if dropped else [1, 2])
