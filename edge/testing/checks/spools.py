"""Proof that a spool is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge.data.message import Message, Words
from edge.data.sample import Reply
from edge.plugins import protocols
from edge.plugins.protocols import Entry, Spool
from edge.testing.checks.parts import assert_whole

_PLENTY = 1_000_000


def check_spool(make: Callable[[int], Spool]) -> None:
    """`make(max_bytes)` gives a spool of its own at each call, not opened. Raises AssertionError."""
    for check in (
        _opens_and_closes_freely,
        _gives_back_what_it_was_given,
        _reads_on_from_a_key,
        _forgets_what_is_removed,
        _never_gives_a_key_twice,
        _lets_the_oldest_go_when_full,
        _survives_a_message_larger_than_itself,
        _keeps_all_when_reopened,
    ):
        spool = make(1000 if "full" in check.__name__ or "larger" in check.__name__ else _PLENTY)
        try:
            check(spool)
        finally:
            spool.close()


def _opens_and_closes_freely(spool: Spool) -> None:
    assert_whole(protocols.Spool, spool)
    spool.close()
    spool.open()
    spool.close()
    spool.close()
    spool.open()
    assert len(spool) == 0, "a new spool is empty"
    assert spool.bytes == 0, "a new spool holds no bytes"
    assert spool.dropped == 0, "a new spool dropped nothing"
    assert spool.damaged == 0, "a new spool found no damage"
    assert spool.oldest_ns is None, "in a new spool nothing waits"
    assert spool.append([]) == [], "appending nothing gives no keys"
    assert spool.after(0, 10) == [], "a new spool has no entries"


def _gives_back_what_it_was_given(spool: Spool) -> None:
    spool.open()
    messages = [
        Message("result", b'{"n":1}', 7),
        Message("error", b'{"n":2}', 8),
        Message("result", b'{"n":3}', 9, Reply("asker/3", None)),
        Message("result", b'{"n":4}', 10, Reply("asker/\u00e9", b"")),
        Message("result", b'{"n":5}', 2**40, Reply("asker/5", bytes(range(256)))),
        Message("result", b'{"n":6}', 11, origin=bytes(range(18))),
        Message("result", b'{"n":7}', 12, words=Words("house/line3", b"7\0", "text/plain", {"id": "\u00e9"})),
        Message("event", b'{"n":8}', 13, Reply("asker/8", None), words=Words()),
    ]
    keys = spool.append(messages[:2]) + spool.append(messages[2:])
    entries = spool.after(0, 10)
    assert [e.key for e in entries] == keys, "after(0) gives every entry under the key that append gave"
    assert keys == sorted(set(keys)), "keys grow"
    assert keys[0] > 0, "keys are above 0, so that after(0) means all"
    assert [e.message for e in entries] == messages, "a message comes back as it was: all its fields"
    assert len(spool) == len(messages), "len counts what waits"
    assert spool.bytes >= sum(len(m.payload) for m in messages), "bytes counts the payload"
    assert spool.oldest_ns is not None, "since when the oldest waits is told"


def _reads_on_from_a_key(spool: Spool) -> None:
    spool.open()
    keys = spool.append(_numbered(0, 10))
    assert _numbers(spool.after(0, 3)) == [0, 1, 2], "limit bounds what is read, the oldest come first"
    assert _numbers(spool.after(keys[2], 3)) == [3, 4, 5], "after(key) begins behind the key"
    assert spool.after(keys[-1], 3) == [], "nothing is younger than the newest"
    assert len(spool) == 10, "reading removes nothing"


def _forgets_what_is_removed(spool: Spool) -> None:
    spool.open()
    keys = spool.append(_numbered(0, 10))
    spool.remove([keys[4], keys[0], keys[9]])
    spool.remove([keys[4], keys[9] + 1000])
    spool.remove([])
    assert _numbers(spool.after(0, 20)) == [1, 2, 3, 5, 6, 7, 8], "what is removed is gone, the rest keeps its order"
    assert _numbers(spool.after(0, 4)) == [1, 2, 3, 5], "a hole does not shorten what is read"
    assert len(spool) == 7, "removing again, or what was never there, changes nothing"
    spool.remove(keys)
    assert len(spool) == 0, "all can be removed"
    assert spool.bytes == 0, "what is removed counts no bytes"
    assert spool.dropped == 0, "what is removed was not dropped"


def _never_gives_a_key_twice(spool: Spool) -> None:
    spool.open()
    first = spool.append(_numbered(0, 3))
    spool.remove(first)
    second = spool.append(_numbered(3, 6))
    assert min(second) > max(first), "a key that was removed is not given again"
    assert _numbers(spool.after(first[-1], 10)) == [3, 4, 5], "what is new stands behind what was removed"


def _lets_the_oldest_go_when_full(spool: Spool) -> None:
    spool.open()
    for start in range(0, 300, 30):
        keys = spool.append(_numbered(start, start + 30))
        assert len(keys) == 30, "every message gets a key"
        assert spool.bytes <= 1000, "the spool stays within its bytes"
    left = _numbers(spool.after(0, 400))
    assert left == list(range(300 - len(left), 300)), "the newest stay, in order"
    assert left, "a full spool still holds something"
    assert len(spool) == len(left), "len counts what is left"
    assert spool.dropped == 300 - len(left), "what had to go is counted"
    spool.append(_numbered(1000, 1500))
    assert _numbers(spool.after(0, 600))[-1] == 1499, "of an append larger than the spool the newest stay"
    assert spool.dropped + len(spool) == 800, "and the others are counted"
    assert sum(spool.dropped_by.values()) == spool.dropped, "each by its reason"


def _survives_a_message_larger_than_itself(spool: Spool) -> None:
    spool.open()
    spool.append(_numbered(0, 1))
    keys = spool.append([Message("result", b'{"n":"' + b"x" * 5000 + b'"}', 1)])
    assert len(keys) == 1, "a message that is too large gets a key all the same"
    assert spool.dropped + len(spool) == 2, "it is dropped and counted"
    spool.append(_numbered(2, 3))
    numbers = _numbers(spool.after(0, 10))
    assert numbers[-1:] == [2], "and the next one is kept"
    assert 1 not in numbers, "what is larger than the spool is not in it"


def _keeps_all_when_reopened(spool: Spool) -> None:
    if not spool.durable:
        return
    spool.open()
    keys = spool.append(_numbered(0, 5))
    spool.remove(keys[:2])
    size = spool.bytes
    spool.close()
    spool.open()
    spool.append([Message("result", b'{"n":5}', 5, origin=b"five"), Message("result", b'{"n":6}', 6, origin=b"six")])
    spool.close()
    spool.open()
    assert spool.origins(9) == [b"six", b"five"], "a durable spool knows the origins of what waits, the newest first"
    assert spool.origins(1) == [b"six"], "as many as are asked for"
    spool.remove(e.key for e in spool.after(0, 10) if e.message.origin)
    spool.close()
    spool.open()
    assert spool.origins(9) == [], "and forgets them with their messages"
    assert _numbers(spool.after(0, 10)) == [2, 3, 4], "a durable spool keeps what waits, and forgets what was removed"
    assert (len(spool), spool.bytes) == (3, size), "and counts it again"
    assert min(spool.append(_numbered(5, 6))) > keys[-1], "and goes on with its keys"
    assert _numbers(spool.after(0, 10)) == [2, 3, 4, 5], "and with its order"


def _numbered(start: int, stop: int) -> list[Message]:
    return [Message("result", b'{"n":%d,"filler":"0123456789"}' % n, n) for n in range(start, stop)]


def _numbers(entries: Sequence[Entry]) -> list[int]:
    return [e.message.seq for e in entries]
