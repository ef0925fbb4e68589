"""The spool in memory."""

from __future__ import annotations

from edge.storage.memory import MemorySpool
from edge.testing.checks import check_spool


def test_it_is_a_spool():
    check_spool(MemorySpool)


def test_what_is_too_old_goes_and_is_counted(clock, numbered, numbers):
    spool = MemorySpool(1_000_000, max_age_s=60, clock=clock)
    spool.append(numbered(0, 2))
    clock.advance(50)
    spool.append(numbered(2, 4))
    clock.advance(20)

    assert numbers(spool) == [2, 3]
    assert spool.dropped_by == {"full": 0, "age": 2}


def test_it_tells_since_when_the_oldest_waits(clock, numbered):
    spool = MemorySpool(1_000_000, clock=clock)
    assert spool.oldest_ns is None
    first = clock.time_ns()
    keys = spool.append(numbered(0, 1))
    clock.advance(5)
    spool.append(numbered(1, 2))
    assert spool.oldest_ns == first

    spool.remove(keys)
    assert spool.oldest_ns == first + 5_000_000_000
