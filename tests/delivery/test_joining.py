"""Results that wait anyway go in one message."""

from __future__ import annotations

import itertools

import pytest

from edge.data.message import Message
from edge.data.sample import Reply
from edge.delivery.ack import Ack
from edge.testing.fakes import FakeBroker


class Joining(FakeBroker):
    """Takes several results in one message, and confirms them together."""

    def __init__(self, *, batch=4, batch_bytes=1000, **more):
        super().__init__(**more)
        self.batch, self.batch_bytes = batch, batch_bytes
        self.messages = []
        self.refuses = set()

    def send_all(self, entries):
        refused = []
        for key, group in itertools.groupby(entries, lambda e: e.key):
            together = list(group)
            if self.refuses & {e.message.seq for e in together}:
                refused.append((key, "never"))
                continue
            self.messages.append([e.message.seq for e in together])
            for entry in together:
                self.send(entry)
            # One message, one confirmation.
            self._under_way = [k for k in self._under_way if k != key] + [key]
        return refused


def append(b, *messages):
    """Together, as the results of one inference come."""
    acks = [Ack(1, lambda n=m.seq: b.safe.append(n)) for m in messages]
    b.outbox.put(list(zip(messages, acks, strict=True)))
    b.turn()


def results(*numbers, **more):
    return [Message("result", b'{"n":%d}' % n, n, **more) for n in numbers]


def test_a_lone_result_does_not_wait_for_others(bench):
    b = bench(broker=Joining(confirms=False))
    append(b, *results(1))
    assert b.broker.messages == [[1]]


def test_those_that_come_together_go_in_one_message_and_are_safe_together(bench):
    b = bench(broker=Joining(confirms=False))
    append(b, *results(1, 2, 3, 4, 5, 6))
    assert b.broker.messages == [[1, 2, 3, 4], [5, 6]]
    assert b.safe == []
    b.broker.confirm(1)
    b.turn()
    assert b.safe == [1, 2, 3, 4]
    assert b.outbox.waiting()["depth"] == 2


def test_the_window_counts_messages(bench):
    b = bench(broker=Joining(window=2, confirms=False))
    append(b, *results(*range(20)))
    assert [len(m) for m in b.broker.messages] == [4, 4]
    assert b.outbox.waiting()["window"] == 2
    b.broker.confirm(1)
    b.turn()
    assert [len(m) for m in b.broker.messages] == [4, 4, 4]


def test_what_is_asked_for_and_errors_go_alone_and_keep_their_place(bench):
    b = bench(broker=Joining(confirms=False))
    asked = results(3, reply=Reply("ask/me", None))
    append(b, *results(1, 2), *asked, *results(4, 5), Message("error", b'{"n":6}', 6), *results(7))
    assert b.broker.messages == [[1, 2], [3], [4, 5], [6], [7]]


def test_a_message_stays_below_so_many_bytes_and_one_that_is_larger_goes_alone(bench):
    b = bench(broker=Joining(batch_bytes=60, confirms=False))
    large = Message("result", b'{"n":9,"x":"%s"}' % (b"x" * 100), 9)
    append(b, *results(1, 2, 3, 4), large, *results(5, 6))
    assert b.broker.messages == [[1, 2, 3], [4], [9], [5, 6]]


def test_joined_results_of_a_connection_that_was_lost_are_sent_again_in_order(bench):
    b = bench(broker=Joining(batch=3, confirms=False))
    append(b, *results(*range(7)))
    b.broker.confirm(1)
    b.turn()
    b.broker.go_away()
    b.turn()
    append(b, *results(7, 8))
    b.broker.confirms = True
    b.broker.come_back()
    b.turn()
    assert b.broker.messages == [[0, 1, 2], [3, 4, 5], [6], [3, 4, 5], [6, 7, 8]]
    assert b.safe == list(range(9))


def test_joined_results_that_are_not_confirmed_for_a_second_are_saved_one_by_one(bench):
    b = bench(broker=Joining(confirms=False))
    append(b, *results(1, 2, 3, 4, 5))
    b.clock.advance(1.1)
    b.turn()
    assert len(b.spool) == 5
    assert b.safe == [1, 2, 3, 4, 5]
    b.broker.confirm()
    b.turn()
    assert len(b.spool) == 0


def test_what_an_outage_left_on_disk_is_joined_too(bench):
    b = bench(broker=Joining(away=True))
    append(b, *results(*range(10)))
    b.clock.advance(2)
    b.turn()
    assert len(b.spool) == 10
    b.broker.come_back()
    b.turn()
    assert [len(m) for m in b.broker.messages] == [4, 4, 2]
    assert b.received == list(range(10))
    assert all(m["replayed"] for m in b.broker.received)
    assert len(b.spool) == 0


def test_joined_results_that_can_never_be_sent_are_all_counted(bench):
    b = bench(broker=Joining(batch=3))
    b.broker.refuses = {2}
    append(b, *results(1, 2, 3, 4))
    assert b.received == [4]
    assert b.metrics.counter("dropped:broker:refused") == 3
    assert b.metrics.counter("sent:broker") == 1
    assert sorted(b.safe) == [1, 2, 3, 4]


@pytest.mark.parametrize("count", [1, 3, 64])
def test_every_result_is_counted_as_sent_and_confirmed(bench, count):
    b = bench(broker=Joining())
    append(b, *results(*range(count)))
    b.turn()
    assert b.metrics.counter("sent:broker") == b.metrics.counter("confirmed:broker") == count
