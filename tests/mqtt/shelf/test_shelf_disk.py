"""A shelf whose disk is full, fails, comes late, or has little room."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from support.fed import payloads, read
from support.shelving import Shared, give

from edge.data.message import Message
from edge.errors import SampleError, SpoolError, UnavailableError
from edge.mqtt.shelf import MANY, MANY_BYTES, PATIENCE_S


def _no_room(*_: Any) -> None:
    raise UnavailableError("full")


def test_while_the_disk_fails_a_run_that_takes_its_inputs_goes_on_and_holds_up_no_other(life, session, monkeypatch):
    """In their order: behind those that are on disk."""
    run = life(session)
    give(session, "one", 1, 2)
    session.turn()
    monkeypatch.setattr(run.spool, "append", _no_room)
    give(session, "one", 3, 4)
    session.turn()
    run.begin()
    session.turn()
    found = read(run.source)
    for sample in found:
        run.source.ack(sample)
    give(session, "one", 5)
    session.turn()
    found += read(run.source)
    run.source.ack(found[-1])
    assert [s.payload for s in found] == [b"1", b"2", b"3", b"4", b"5"]
    assert session.acked == [1, 2, 3, 4, 5]


def test_while_the_disk_fails_what_no_run_takes_is_bounded_and_comes_again_when_it_works(life, session, monkeypatch):
    run = life(session).begin()
    run.source.close()
    monkeypatch.setattr(run.spool, "append", _no_room)
    large = bytes(MANY_BYTES // 4)
    for mid in range(1, 21):
        session.give(large, mid, topic="one")
        session.turn()
    assert (session.acked, session.ended) == ([], [])
    monkeypatch.undo()
    session.turn()
    assert session.acked == [1, 2, 3, 4, 5]
    assert session.ended == ["the broker sent more inputs at once than may wait: the rest comes anew"]


def test_a_disk_that_fails_is_tried_now_and_then_only(life, session, clock, monkeypatch):
    run = life(session, retry_s=5.0).begin()
    run.source.close()
    tried: list[None] = []

    def fail(*_: Any) -> None:
        tried.append(None)
        raise UnavailableError("full")

    monkeypatch.setattr(run.spool, "append", fail)
    for mid in range(1, 50):
        give(session, "one", mid)
        session.turn()
    assert len(tried) == 1
    clock.advance(5.0)
    session.turn()
    assert len(tried) == 2


@pytest.fixture
def late(life, session, monkeypatch):
    """The session and the run of a life whose disk, with two inputs on it, could not be opened at the start."""
    life(session)
    give(session, "one", 1, 2)
    session.turn()
    again = Shared()
    run = life(again)
    with monkeypatch.context() as patch:
        patch.setattr(run.spool, "open", _no_room)
        run.begin()
    return again, run


def test_what_was_on_disk_is_read_also_where_that_could_be_opened_late_only(late, clock):
    again, run = late
    give(again, "one", 3)
    clock.advance(PATIENCE_S)
    again.turn()
    assert sorted(payloads(run.source)) == [b"1", b"2", b"3"]
    assert again.acked == [3]


def test_it_is_read_then_too_where_nothing_new_has_to_go_on_disk(late, clock):
    again, run = late
    clock.advance(5.0)
    again.turn()
    assert payloads(run.source) == [b"1", b"2"]


def test_inputs_of_qos_0_that_come_without_end_keep_none_from_the_disk(life, session):
    run = life(session)
    give(session, "one", 1)
    session.turn()
    run.begin()
    for _ in range(MANY):
        session.give(b"of QoS 0", topic="one")
    session.turn()
    assert b"1" in payloads(run.source)


def test_of_a_life_with_a_connection_of_its_own_nothing_new_goes_on_disk(life, session):
    """What comes waits behind that, and stays with the broker until it is done."""
    life(session)
    give(session, "one", 1, 2)
    session.turn()
    again = Shared()
    run = life(again, shares=False).begin()
    again.expected["one"] = [again.own]
    give(again, "one", 3)
    again.turn()
    assert (run.stored, again.acked) == ([], [])
    again.turn()
    found = read(run.source)
    for sample in found:
        run.source.ack(sample)
    assert [s.payload for s in found] == [b"1", b"2", b"3"]
    assert again.acked == [3]


def test_what_had_to_make_room_on_disk_and_is_in_memory_is_inferred_and_not_counted_as_dropped(life, session, clock):
    run = life(session, most=1000).begin()
    for mid in range(1, 6):
        session.give(b"%0100d" % mid, mid, topic="one")
    clock.advance(PATIENCE_S)
    session.turn()
    for mid in range(6, 40):
        session.give(b"%0100d" % mid, mid, topic="one")
        session.turn()
    with contextlib.suppress(SampleError):
        run.source.read(0)
    found = []
    while some := read(run.source):
        for sample in some:
            run.source.ack(sample)
        found += [int(sample.payload) for sample in some]
        session.turn()
    assert found[:5] == [1, 2, 3, 4, 5]
    assert (found, len(set(found))) == (sorted(found), len(found))
    assert len(found) + len(run.counted) == 39
    assert run.counted


def test_a_disk_that_can_never_be_used_keeps_nothing_from_a_run_that_takes_its_inputs(life, session, monkeypatch):
    run = life(session)
    give(session, "one", 1)
    monkeypatch.setattr(run.spool, "append", _no_room)
    session.turn()
    give(session, "one", 2)
    run.source.open()
    run.shelf.failed(SpoolError("another process has it"))
    session.workers.clear()
    for mid in (3, 4):
        found = read(run.source)
        for sample in found:
            run.source.ack(sample)
        give(session, "one", mid)
    assert [sample.payload for sample in read(run.source)] == [b"4"]
    assert session.acked == [1, 2, 3]


@pytest.mark.parametrize("row", [b"", b"no input", b"\x91\x01"])
def test_an_input_on_disk_that_cannot_be_read_is_dropped_and_told_and_the_next_is_taken(life, session, caplog, row):
    run = life(session)
    run.spool.append([Message("result", row, 0)])
    give(session, "one", 1)
    session.turn()
    run.begin()
    session.turn()
    assert payloads(run.source) == [b"1"]
    assert (run.counted, len(run.spool)) == (["dropped:input-shelf"], 1)
    assert "an input on disk cannot be read" in caplog.messages
