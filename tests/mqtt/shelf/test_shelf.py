"""Inputs of runs that share a connection: what is acknowledged when, what goes on disk, what comes back from it."""

from __future__ import annotations

from typing import Any

import pytest
from support.fed import payloads, read
from support.shelving import Shared, give

from edge.errors import SampleError, UnavailableError
from edge.mqtt.shelf import LESS_PATIENCE_S, MANY, MOST_HELD, PATIENCE_S


def test_a_run_that_keeps_pace_writes_nothing(life, session, clock):
    run = life(session).begin()
    for mid in range(1, 200):
        give(session, "one", mid)
        clock.advance(PATIENCE_S / 2)
        for sample in read(run.source):
            run.source.ack(sample)
        session.turn()
    assert session.acked == list(range(1, 200))
    assert run.stored == []


def test_what_a_run_has_not_done_in_time_holds_up_no_other(life, session, clock):
    slow, quick = life(session, "slow").begin(), life(session, "quick").begin()
    give(session, "slow", 1)
    give(session, "quick", 2)
    quick.source.ack(quick.source.read(0))
    session.turn()
    assert session.acked == []  # in the order in which they came
    clock.advance(PATIENCE_S)
    session.turn()
    assert session.acked == [1, 2]
    give(session, "slow", 3)  # behind what is on disk: at once, with the next turn
    session.turn()
    assert session.acked == [1, 2, 3]
    assert (len(slow.spool), slow.shelf.waiting, quick.shelf.waiting) == (2, 2, 0)
    assert payloads(slow.source) == [b"1", b"3"]


def test_where_many_wait_they_wait_for_less(life, session, clock):
    life(session, "slow").begin()
    quick = life(session, "quick").begin()
    give(session, "slow", 1)
    give(session, "quick", *range(2, 2 + MOST_HELD))
    for sample in read(quick.source):
        quick.source.ack(sample)
    clock.advance(LESS_PATIENCE_S)
    session.turn()
    assert session.acked == list(range(1, 2 + MOST_HELD))


def test_what_was_on_disk_is_gone_when_it_is_safe_and_the_next_does_not_go_there(life, session, clock):
    run = life(session).begin()
    give(session, "one", 1, 2)
    clock.advance(PATIENCE_S)
    session.turn()
    give(session, "one", 3)
    session.turn()
    for sample in read(run.source):
        run.source.ack(sample)
    assert run.shelf.waiting == 0
    session.turn()
    assert len(run.spool) == 0
    give(session, "one", 4)
    assert payloads(run.source) == [b"4"]
    assert session.acked == [1, 2, 3]


def test_what_was_on_disk_when_the_process_died_comes_again_as_it_was_and_once(life, session, clock):
    run = life(session).begin()
    asked = {"topic": "one", "response_topic": "to/me", "correlation": b"7", "retain": True}
    session.give(b"1", 1, **asked)
    give(session, "one", 2, 3)
    first = run.source.read(0)
    clock.advance(PATIENCE_S)
    session.turn()
    safe = run.source.read(0)
    assert (safe.payload, len(run.spool)) == (b"2", 3)

    again = Shared()
    after = life(again).begin(safe.origin)  # its result is on disk
    after.source.up(resumed=True)
    give(again, "one", 4)
    again.give(b"1", 1, dup=True, **asked)  # the acknowledgements were lost
    give(again, "one", 2, 3, dup=True)
    again.turn()
    found = read(after.source)
    assert [s.payload for s in found] == [b"1", b"3", b"4"]
    assert (found[0].reply, found[0].retained, found[0].digest) == (first.reply, True, first.digest)
    assert [s.redelivered for s in found] == [True, True, False]
    assert sorted(again.acked) == [1, 2, 3, 4]


def test_a_run_that_was_never_opened_has_what_comes_kept_and_asks_for_nothing(life, session):
    life(session)
    give(session, "one", 1, 2)
    session.turn()
    assert (session.acked, session.asked) == ([1, 2], [])
    again = Shared()
    run = life(again).begin()
    again.turn()
    assert payloads(run.source) == [b"1", b"2"]


def test_a_run_that_has_ended_keeps_what_comes_on_disk_and_in_no_memory(life, session, clock):
    run = life(session).begin()
    give(session, "one", 1)
    run.source.close()
    clock.advance(PATIENCE_S)
    session.turn()
    give(session, "one", 2, 3)
    session.give(b"of QoS 0", topic="one")
    session.turn()
    assert session.acked == [1, 2, 3]
    assert run.counted == ["dropped:stop"]
    run.source.open()
    session.turn()
    assert payloads(run.source) == [b"1", b"2", b"3"]


def test_what_a_run_had_in_memory_when_it_ended_goes_on_disk_at_once(life, session):
    """Else a clean end has what others had done with come again, which waits for it."""
    one, other = life(session).begin(), life(session, "other").begin()
    give(session, "one", 1)
    give(session, "other", 2)
    (sample,) = read(other.source)
    other.source.ack(sample)
    assert session.acked == []
    one.source.close()
    session.turn()
    assert session.acked == [1, 2]


def test_of_a_long_backlog_a_part_is_in_memory(life, session, clock):
    run = life(session)
    for mid in range(1, 301):
        give(session, "one", mid)
        session.turn()
    run.begin()
    session.turn()
    found = []
    while some := read(run.source):
        assert len(some) <= MANY
        for sample in some:
            run.source.ack(sample)
        found += some
        session.turn()
    assert [s.payload for s in found] == [b"%d" % mid for mid in range(1, 301)]


def test_a_message_of_several_runs_is_acknowledged_when_all_have_it_safe(life, session):
    one, other = life(session).begin(), life(session, "other", topic="one").begin()
    give(session, "one", 1)
    (first,), (second,) = read(one.source), read(other.source)
    one.source.ack(first)
    one.source.ack(first)
    assert session.acked == []
    other.source.ack(second)
    assert session.acked == [1]


def test_where_the_disk_fails_nothing_is_acknowledged_until_it_works(life, session, clock, monkeypatch):
    run = life(session).begin()
    give(session, "one", 1)
    clock.advance(PATIENCE_S)

    def fail(*_: Any) -> None:
        raise UnavailableError("full")

    with monkeypatch.context() as patch:
        patch.setattr(run.spool, "append", fail)
        session.turn()
    assert session.acked == []
    session.turn()
    assert session.acked == [1]


def test_past_its_bound_its_own_oldest_go_and_it_is_told(life, session, clock):
    run = life(session, most=1000)
    for mid in range(1, 40):
        session.give(b"%060d" % mid, mid, topic="one")
        session.turn()
    run.begin()
    session.turn()
    assert session.acked == list(range(1, 40))
    with pytest.raises(SampleError, match="oldest are dropped"):
        run.source.read(0)
    found = [int(s.payload) for s in read(run.source)]
    assert found == list(range(40 - len(found), 40))
    assert run.counted == ["dropped:input-shelf"] * (39 - len(found))
