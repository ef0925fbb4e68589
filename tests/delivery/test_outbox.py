from __future__ import annotations

import threading

import pytest

from edge.delivery.options import Durability
from edge.errors import SampleError, UnavailableError
from edge.storage.memory import MemorySpool
from edge.storage.sqlite import SqliteSpool
from edge.testing.fakes import FailingSpool, FakeBroker


def test_what_the_broker_confirms_never_touches_the_spool(bench):
    b = bench()
    b.append(1, 2, 3)
    b.turn()

    assert b.received == [1, 2, 3]
    assert b.safe == [1, 2, 3]
    assert len(b.spool) == 0


def test_a_sample_is_not_safe_before_the_broker_confirms(bench):
    b = bench(broker=FakeBroker(confirms=False))
    b.append(1, 2)
    b.turn()
    assert b.received == [1, 2]
    assert b.safe == []

    b.broker.confirm(1)
    b.turn()
    assert b.safe == [1]


def test_what_is_unconfirmed_for_a_second_goes_to_disk_and_is_safe_then(bench):
    b = bench(broker=FakeBroker(confirms=False))
    b.append(1, 2)
    b.turn()
    b.clock.advance(0.9)
    b.turn()
    assert len(b.spool) == 0

    b.clock.advance(0.2)
    b.turn()
    assert len(b.spool) == 2
    assert b.safe == [1, 2]


def test_past_64_messages_an_outage_is_saved_at_once(bench):
    b = bench(broker=FakeBroker(away=True))
    b.append(*range(63))
    b.turn()
    assert len(b.spool) == 0

    b.append(63)
    b.turn()
    assert len(b.spool) == 64
    assert b.safe == list(range(64))


def test_results_wait_in_the_spool_while_the_broker_is_away_and_keep_their_order(bench):
    b = bench(broker=FakeBroker(away=True))
    b.append(*range(60))
    b.clock.advance(2)
    b.turn()
    b.append(*range(60, 100))
    b.clock.advance(2)
    b.turn()

    b.broker.come_back()
    b.append(100)
    b.turn(40)

    assert b.received == list(range(101))
    assert len(b.spool) == 0


def test_what_was_sent_after_an_outage_says_so_and_new_results_do_not(bench):
    b = bench()
    b.broker.go_away()
    b.turn()
    b.append(1)
    b.turn()
    b.broker.come_back()
    b.turn()
    b.append(2)
    b.turn()

    assert [m.get("replayed") for m in b.broker.received] == [True, None]


def test_what_was_under_way_when_the_connection_went_is_sent_again_first(bench):
    b = bench(broker=FakeBroker(confirms=False))
    b.append(1, 2, 3)
    b.turn()
    b.broker.confirm(1)
    b.broker.go_away()
    b.append(4)
    b.turn()

    b.broker.confirms = True
    b.broker.come_back()
    b.turn()

    assert b.received == [1, 2, 3, 2, 3, 4]
    assert b.safe == [1, 2, 3, 4]


def test_at_most_the_window_is_under_way(bench):
    b = bench(broker=FakeBroker(window=5, confirms=False))
    b.append(*range(20))
    b.turn()
    assert b.received == [0, 1, 2, 3, 4]

    b.broker.confirm(3)
    b.turn()
    assert b.received == [0, 1, 2, 3, 4, 5, 6, 7]


def test_a_window_that_was_full_is_filled_again_when_half_of_it_is_free(bench):
    b = bench(broker=FakeBroker(window=4, confirms=False))
    b.append(*range(20))
    b.turn()
    b.broker.confirm(1)
    b.turn()
    assert b.received == [0, 1, 2, 3], "one went for one that was confirmed"

    b.broker.confirm(1)
    b.turn()
    assert b.received == [0, 1, 2, 3, 4, 5]


def test_always_saves_before_it_sends(bench):
    b = bench(broker=FakeBroker(away=True), durability=Durability.ALWAYS)
    b.append(1)
    b.turn()
    assert len(b.spool) == 1
    assert b.safe == [1]

    b.broker.come_back()
    b.turn()
    assert b.received == [1]
    assert len(b.spool) == 0


def test_none_writes_nothing_to_disk_and_still_waits_for_the_broker(bench):
    b = bench(durable=False, broker=FakeBroker(away=True), durability=Durability.NONE)
    b.append(*range(10))
    b.clock.advance(5)
    b.turn()
    b.broker.come_back()
    b.turn()
    assert b.received == list(range(10))


def test_what_is_left_at_the_end_is_found_by_the_next_life(bench, tmp_path):
    first = bench(broker=FakeBroker(away=True))
    first.append(1, 2)
    first.outbox.stop(0)
    first.outbox.end()
    assert first.safe == [1, 2]

    second = bench()
    second.append(3)
    second.turn(8)
    assert second.received == [1, 2, 3]
    assert [m.get("replayed") for m in second.broker.received] == [True, True, None]


def test_new_results_do_not_wait_for_the_many_that_an_earlier_life_left(bench):
    first = bench(broker=FakeBroker(away=True))
    first.append(*range(10))
    first.outbox.stop(0)
    first.outbox.end()

    b = bench(beside_past=10, turned=False)
    b.append(100, 101)
    b.turn(8)
    assert b.received == [100, 0, 101, *range(1, 10)]
    assert len(b.spool) == 0


def test_results_of_one_life_keep_their_order_beside_those_of_an_earlier_one(bench):
    first = bench(broker=FakeBroker(away=True))
    first.append(*range(60))
    first.outbox.stop(0)
    first.outbox.end()

    b = bench(beside_past=10, broker=FakeBroker(away=True))
    b.append(1000, 1001)
    b.clock.advance(2)
    b.turn()  # they are on disk now, behind those of the earlier life
    b.broker.come_back()
    b.append(1002)
    b.clock.advance(60)
    b.turn(20)
    assert [n for n in b.received if n >= 1000] == [1000, 1001, 1002]
    assert [n for n in b.received if n < 1000] == list(range(60))
    assert b.received.index(1002) < 60


def test_replay_at_a_rate_lets_new_results_through(bench):
    first = bench(broker=FakeBroker(away=True))
    first.append(*range(10))
    first.outbox.stop(0)
    first.outbox.end()

    b = bench(replay_rate=1.0)
    b.append(100, 101)
    b.turn(8)
    assert b.received == [0, 100, 101]
    b.clock.advance(1)
    b.turn(8)
    assert b.received == [0, 100, 101, 1]


def test_a_full_disk_keeps_results_in_memory_and_recovers(bench, tmp_path):
    spool = FailingSpool(lambda: SqliteSpool(tmp_path / "full.spool", 10_000_000))
    spool.full = True
    b = bench(spool=spool, broker=FakeBroker(away=True))
    b.append(1, 2)
    b.clock.advance(2)
    b.turn()
    assert b.safe == []
    assert b.metrics.counter("spool_errors:broker") == 1

    spool.full = False
    b.clock.advance(10)
    b.turn()
    assert b.safe == [1, 2]


def test_a_full_disk_does_not_hold_up_results_while_the_broker_is_there(bench, tmp_path):
    spool = FailingSpool(lambda: SqliteSpool(tmp_path / "full.spool", 10_000_000))
    spool.full = True
    b = bench(spool=spool, durability=Durability.ALWAYS)
    b.append(1, 2)
    b.turn()
    assert b.received == [1, 2]
    assert b.safe == [1, 2]


def test_memory_is_bounded_while_the_disk_fails_and_losses_are_counted(bench, tmp_path):
    spool = FailingSpool(lambda: MemorySpool(10_000_000))
    spool.full = True
    b = bench(spool=spool, broker=FakeBroker(away=True), memory_messages=10, save_past=5, drop_oldest=True)
    b.append(*range(5))
    b.turn()
    for n in range(5, 30):
        b.append(n)
        b.turn(1)
    assert b.metrics.counter("dropped:broker:disk") == 20

    spool.full = False
    b.clock.advance(10)
    b.broker.come_back()
    b.turn(8)
    assert b.received == list(range(20, 30))


def test_memory_is_bounded_in_bytes_too(bench):
    spool = FailingSpool(lambda: MemorySpool(10_000_000))
    spool.full = True
    b = bench(spool=spool, broker=FakeBroker(away=True), memory_bytes=30, save_past=5, drop_oldest=True)
    b.append(*range(10, 14))  # eight bytes each
    b.turn()
    for n in range(14, 30):
        b.append(n)
        b.turn(1)
    assert b.metrics.counter("dropped:broker:disk") == 17
    spool.full = False
    b.clock.advance(10)
    b.broker.come_back()
    b.turn(8)
    assert b.received == [27, 28, 29]


def test_a_few_large_results_of_an_outage_go_to_disk_at_once(bench):
    b = bench(broker=FakeBroker(away=True), memory_bytes=30)
    b.append(10, 11, 12)
    b.turn()
    assert len(b.spool) == 0
    b.append(13)
    b.turn()
    assert len(b.spool) == 4


def test_append_waits_while_a_slow_broker_has_64_unconfirmed(bench):
    b = bench(broker=FakeBroker(window=1, confirms=False))
    b.append(*range(64))
    b.turn()
    done = threading.Event()

    def more() -> None:
        b.append(64)
        done.set()

    thread = threading.Thread(target=more)
    thread.start()
    assert not done.wait(0.05)
    b.broker.confirm(1)
    b.turn()
    assert done.wait(150)
    thread.join()


def test_run_ends_when_everything_is_confirmed(bench):
    b = bench()
    b.append(*range(50))
    b.outbox.finish()
    b.outbox.run()
    assert b.received == list(range(50))


def test_a_sink_that_is_lost_while_sending_loses_nothing(bench):
    b = bench(broker=FakeBroker(confirms=False))
    b.append(1)
    b.turn()
    b.broker.away = True
    b.append(2)
    b.turn()
    b.broker.confirms = True
    b.broker.come_back()
    b.turn()
    assert b.received == [1, 1, 2]
    assert b.safe == [1, 2]


def test_what_a_slow_broker_left_on_disk_is_not_forgotten_when_the_connection_goes(bench):
    b = bench(broker=FakeBroker(window=2, confirms=False))
    b.append(1, 2, 3, 4, 5)
    b.turn()
    b.clock.advance(2)
    b.turn()
    assert len(b.spool) == 5

    b.broker.go_away()
    b.append(6)
    b.turn()
    b.clock.advance(2)
    b.turn()
    b.broker.confirms = True
    b.broker.come_back()
    b.turn(20)

    assert b.received == [1, 2, 1, 2, 3, 4, 5, 6]
    assert len(b.spool) == 0


def test_a_disk_that_comes_late_gives_back_what_an_earlier_life_left_on_it(bench, tmp_path):
    first = bench(broker=FakeBroker(away=True))
    first.append(1, 2)
    first.outbox.stop(0)
    first.outbox.end()

    class ComesLate(FailingSpool):
        def open(self):
            if self.full:
                raise UnavailableError("not mounted yet")
            self._spool.open()

    spool = ComesLate(lambda: SqliteSpool(tmp_path / "test.spool", 10_000_000))
    spool.full = True
    b = bench(spool=spool, broker=FakeBroker(confirms=False))
    b.append(3)
    b.turn()
    spool.full = False
    b.clock.advance(10)
    b.turn()
    b.broker.confirms = True
    b.broker.confirm()
    b.turn(8)
    assert sorted(b.received) == [1, 2, 3]
    assert len(spool) == 0


class Picky(FakeBroker):
    """Opens gladly, and then takes nothing until it is told to."""

    refuses: Exception | None = UnavailableError("not authorized")

    def send(self, entry):
        if self.refuses is not None:
            raise self.refuses
        super().send(entry)


def test_a_sink_that_opens_and_then_refuses_is_tried_ever_more_slowly_and_said_once(bench, caplog):
    b = bench(broker=Picky(), durable=False)
    b.append(1)
    with caplog.at_level("INFO", "edge.outbox"):
        for _ in range(600):  # a minute, in steps of a tenth of a second
            b.turn(1)
            b.clock.advance(0.1)
        reconnects = b.metrics.counter("reconnects:broker")
        assert 3 <= reconnects <= 9  # 0.5, 1, 2, 4, 8, 16, 30 seconds, each halved at most
        assert [r.message for r in caplog.records] == ["sink unavailable"]
        b.broker.refuses = None
        b.clock.advance(31)
        b.turn()
    assert [r.message for r in caplog.records] == ["sink unavailable", "sink available again"]
    assert b.received == [1]
    assert b.safe == [1]


@pytest.mark.parametrize("saved", [False, True])
def test_a_message_that_can_never_be_sent_is_dropped_counted_and_holds_nobody_up(bench, saved):
    b = bench(broker=FakeBroker(away=saved))
    b.append(1, 2)
    if saved:
        b.clock.advance(1.1)
        b.turn()
        assert len(b.spool) == 2
    send, refused = b.broker.send, []

    def picky(entry):
        if entry.message.seq == 1:
            refused.append(1)
            raise SampleError("larger than the broker takes")
        send(entry)

    b.broker.send = picky
    b.broker.come_back()
    b.turn()
    assert refused == [1]
    assert b.received == [2]
    assert sorted(b.safe) == [1, 2]
    assert b.metrics.counter("dropped:broker:refused") == 1
    assert len(b.spool) == 0


def test_what_the_other_side_refuses_for_good_was_dropped_and_not_confirmed(bench, caplog):
    broker, events = FakeBroker(), []
    opened, send = broker.open, broker.send

    def opens(to):
        events.append(to)
        opened(to)

    def refuses(entry):
        if entry.message.seq == 2:
            events[0].refused(entry.key, "too large for the store")
        else:
            send(entry)

    broker.open, broker.send = opens, refuses
    b = bench(broker=broker)
    b.append(1, 2, 3)
    b.turn()
    assert (b.received, sorted(b.safe)) == ([1, 3], [1, 2, 3])
    assert (b.metrics.counter("dropped:broker:refused"), b.metrics.counter("confirmed:broker")) == (1, 2)
    ((seq, reason),) = [(r.seq, r.reason) for r in caplog.records if r.msg == "result dropped"]
    assert (seq, reason) == (2, "too large for the store")


def refused(entry):
    raise SampleError("too large for the store")


def test_what_can_never_be_sent_is_told_with_its_reason(bench):
    b = bench()
    told = []
    b.broker.send = refused
    b.outbox.on_refused = lambda message, reason: told.append((message.seq, reason))
    b.append(1)
    b.turn()
    assert told == [(1, "too large for the store")]


def test_a_flood_of_what_can_never_be_sent_is_a_few_lines_in_the_log_with_their_number(bench, caplog):
    b = bench()
    b.broker.send = refused
    for n in range(100):
        b.append(n)
        b.turn(1)
    b.clock.advance(11)
    b.append(100)
    b.turn(1)
    assert [record.dropped for record in caplog.records if record.msg == "result dropped"] == [1, 100]
    assert b.metrics.counter("dropped:broker:refused") == 101


def test_what_was_refused_and_not_said_yet_is_said_at_the_end(bench, caplog):
    b = bench()
    b.broker.send = refused
    for n in range(6):
        b.append(n)
        b.turn(1)
    b.outbox.end()
    said = [(record.msg, record.dropped) for record in caplog.records if hasattr(record, "dropped")]
    assert said == [("result dropped", 1), ("more results dropped", 5)]


def test_what_was_confirmed_just_before_a_loss_is_not_sent_again(bench):
    b = bench()
    send = b.broker.send

    def breaks(entry):
        if entry.message.seq == 3 and not entry.replayed:
            raise UnavailableError("gone in the middle")
        send(entry)

    b.broker.send = breaks
    b.append(1, 2, 3)
    b.turn()
    b.broker.come_back()
    b.turn()
    assert b.received == [1, 2, 3]


def test_append_waits_no_more_once_the_end_has_begun(bench):
    b = bench(broker=FakeBroker(away=True), save_past=2)
    b.outbox.hurry()
    b.append(1, 2, 3, 4)  # nobody turns the lane: this would wait for ever
    b.turn()
    assert len(b.spool) == 4


def test_what_comes_after_the_lanes_thread_has_ended_is_counted_and_never_called_safe(bench):
    b = bench(save_past=2)
    b.outbox.end()
    b.append(1, 2, 3, 4)
    assert b.safe == []
    assert b.metrics.counter("dropped:broker:stop") == 4


def test_a_connection_that_has_only_just_begun_is_no_outage(bench, caplog):
    with caplog.at_level("INFO", "edge.outbox"):
        b = bench(broker=FakeBroker(away=True))
        b.append(1)
        b.broker.come_back()
        b.turn()
        b.append(2)
        b.turn()
    assert caplog.records == []
    assert [m.get("replayed") for m in b.broker.received] == [None, None]
    assert b.metrics.counter("reconnects:broker") == 0


@pytest.mark.parametrize("durability", list(Durability))
def test_what_was_made_while_the_first_connection_began_has_not_waited_for_an_outage(bench, durability):
    b = bench(broker=FakeBroker(away=True), durability=durability)
    b.append(1)
    b.turn()
    b.append(2)
    b.turn()
    b.broker.come_back()
    b.turn()
    b.append(3)
    b.turn()
    assert b.received == [1, 2, 3]
    assert [m.get("replayed") for m in b.broker.received] == [None, None, None]


def test_what_is_on_disk_when_a_connection_is_lost_says_so(bench):
    b = bench(durability=Durability.ALWAYS)
    b.turn()
    b.broker.go_away()
    b.append(1, 2)
    b.clock.advance(2.0)
    b.turn()
    b.broker.come_back()
    b.clock.advance(60.0)
    b.turn()
    b.turn()
    b.append(3)
    b.turn()
    assert [m.get("replayed") for m in b.broker.received] == [True, True, None]


def test_what_waited_for_a_broker_that_was_away_at_the_start_says_so(bench):
    b = bench(broker=FakeBroker(away=True))
    b.append(1)
    b.clock.advance(0.6)
    b.turn()
    b.broker.come_back()
    b.turn()
    assert [m.get("replayed") for m in b.broker.received] == [True]
