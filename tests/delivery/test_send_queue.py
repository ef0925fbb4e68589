"""What is dropped where neither memory nor disk has room: the oldest that are nowhere else, no more than asked for."""

from __future__ import annotations

import copy
import pickle

import pytest

from edge.data.message import Message
from edge.delivery.ack import Ack
from edge.delivery.guarded_spool import GuardedSpool
from edge.delivery.options import OutboxOptions
from edge.delivery.pending import Delivery
from edge.delivery.send_queue import SendQueue
from edge.plugins.protocols import Entry
from edge.storage.memory import MemorySpool
from edge.telemetry.metrics import Metrics
from edge.testing.fakes import FakeClock


@pytest.fixture
def queue():
    clock = FakeClock()
    return SendQueue(OutboxOptions(), GuardedSpool("broker", MemorySpool(1000), clock, Metrics(), 1.0), clock)


def deliveries(*rows: int | None) -> list[Delivery]:
    """One of ten bytes for each; a number is its row on disk."""
    return [Delivery(0, Message("result", b"%010d" % n, n), row=row) for n, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("count", "size", "dropped"),
    [(0, 0, 0), (1, 0, 1), (2, 0, 2), (0, 1, 1), (0, 10, 1), (0, 11, 2), (2, 5, 2), (9, 0, 4)],
)
def test_so_many_and_so_many_bytes_are_dropped_oldest_first(queue, count, size, dropped):
    made = deliveries(None, None, None, None)
    queue.new += made
    assert queue.drop(count, size) == made[:dropped]


def test_what_is_on_disk_is_no_loss_and_keeps_its_place(queue):
    made = deliveries(1, None, 2, None, None)
    queue.new += made
    assert queue.drop(2, 0) == [made[1], made[3]]
    assert queue.drop(9, 0) == [made[4]]
    assert [entry.message for entry in queue.send(9)] == [made[0].message, made[2].message]


def test_what_a_sink_was_given_does_not_change_where_it_is_sent_again(queue):
    queue.new += deliveries(None)
    (first,) = queue.send(1)
    sent_as = first.key
    queue.lost()
    (again,) = queue.send(1)
    assert (first.key, first.replayed, again.replayed) == (sent_as, False, True)
    assert queue.confirmed([sent_as]) == []  # the sink may still tell of the first
    assert queue.confirmed([again.key]) == [again]


def test_a_sink_may_copy_what_it_is_given_and_tell_it_apart(queue):
    message = Message("result", b"{}", 7)
    queue.new.append(Delivery(0, message, ack=Ack(2, list)))
    (given,) = queue.send(1)

    assert pickle.loads(pickle.dumps(given)) == copy.deepcopy(given) == Entry(given.key, message)
    assert given in {given}
    assert Entry(1, message) in {Entry(1, message), Entry(2, message)}
