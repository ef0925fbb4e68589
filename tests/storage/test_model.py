"""The spool on disk against a list, under random appends, removals, crashes, reopenings, filling and damage."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge.data.message import Message
from edge.data.sample import Reply
from edge.storage import dbfile
from edge.storage.memory import size_of
from edge.storage.sqlite import SqliteSpool

MOST = 20_000
SUFFIXES = ("", "-wal")

replies = st.none() | st.builds(Reply, st.sampled_from(["a", "asker/7", "é"]), st.none() | st.binary(max_size=20))
sizes = st.lists(st.sampled_from([0, 10, 200, 1000, 5000, 30_000]), min_size=1, max_size=60)


@pytest.fixture(scope="class")
def large() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dbfile, "SMALL", -1)
        yield


class SpoolAgainstAList(RuleBasedStateMachine):
    """`waiting` is the list: key and message, oldest first. `ghosts` may come back: removed, but not for certain."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="spool-model-"))
        self.lives = 0
        self.waiting: list[tuple[int, Message]] = []
        self.ghosts: set[int] = set()
        self.gone = 0
        self.newest = 0
        self.seq = 0
        self._open()

    def _open(self) -> None:
        self.path = self.folder / str(self.lives) / "lane.spool"
        self.spool = SqliteSpool(self.path, MOST)
        self.spool.open()
        self.newest = max((k for k, _ in self.waiting), default=0)

    @rule(lengths=sizes, reply=replies)
    def append(self, lengths: list[int], reply: Reply | None) -> None:
        messages = []
        for length in lengths:
            self.seq += 1
            messages.append(Message("error" if length == 10 else "result", b"{%s}" % (b"x" * length), self.seq, reply))
        before = self.spool.dropped
        keys = self.spool.append(messages)
        assert keys[0] > self.newest
        assert keys == sorted(set(keys))
        self.newest = keys[-1]
        self.waiting += [(k, m) for k, m in zip(keys, messages, strict=True) if size_of(m) <= MOST]
        dropped = sum(size_of(m) > MOST for m in messages)
        while sum(size_of(m) for _, m in self.waiting) > MOST:
            self.waiting.pop(0)
            dropped += 1
        assert self.spool.dropped - before == dropped
        self.ghosts.clear()  # an append deletes them along, in its own transaction

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        some = data.draw(st.lists(st.sampled_from([k for k, _ in self.waiting]), max_size=30))
        if data.draw(st.booleans()):
            some = [k for k, _ in self.waiting[: data.draw(st.integers(0, 60))]]
        self.spool.remove([*some, self.newest + 1000])
        self.waiting = [(k, m) for k, m in self.waiting if k not in some]
        self.ghosts |= set(some)

    @rule()
    def reopen(self) -> None:
        self.spool.close()
        self._open()
        self.ghosts.clear()

    @rule()
    def crash(self) -> None:
        """Goes on with what the kernel has at this moment; the old connection knows nothing of it."""
        self.lives += 1
        after = self.folder / str(self.lives)
        after.mkdir()
        for suffix in SUFFIXES:
            source = self.path.with_name(self.path.name + suffix)
            if source.exists():
                shutil.copyfile(source, after / source.name)
        old = self.spool
        self._open()
        old.close()
        self._meet_ghosts()

    @rule(where=st.floats(0, 1), junk=st.binary(min_size=1, max_size=5000))
    def damage(self, where: float, junk: bytes) -> None:
        """What is left after it is in order and as it was given; how much it is, is not promised."""
        self.spool.close()
        offset = int(self.path.stat().st_size * where)
        with self.path.open("r+b") as file:
            file.seek(offset)
            file.write(junk)
        self._open()
        found = self.spool.after(0, 100_000)
        if self.spool.damaged == 0:
            return  # it fell where nothing was, or wrote what was there
        known = dict(self.waiting)
        assert [e.key for e in found] == sorted({e.key for e in found} & known.keys())
        assert all(known[e.key] == e.message for e in found)
        self.waiting = [(e.key, e.message) for e in found]
        self.newest = max((k for k, _ in self.waiting), default=0)
        self.ghosts.clear()

    def _meet_ghosts(self) -> None:
        found = self.spool.after(0, 100_000)
        keys = {e.key for e in found}
        assert {k for k, _ in self.waiting} <= keys, "a crash loses nothing that was appended"
        assert keys - {k for k, _ in self.waiting} <= self.ghosts, "a crash brings back removed messages at most"
        self.waiting = [(e.key, e.message) for e in found]
        self.ghosts.clear()

    @invariant()
    def it_holds_what_the_list_holds(self) -> None:
        if not hasattr(self, "spool"):
            return
        assert [(e.key, e.message) for e in self.spool.after(0, 100_000)] == self.waiting
        assert len(self.spool) == len(self.waiting)
        assert self.spool.bytes == sum(size_of(m) for _, m in self.waiting)

    @precondition(lambda self: len(self.waiting) > 1)
    @rule(data=st.data())
    def read_a_part(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(self.waiting) - 1))
        limit = data.draw(st.integers(1, 10))
        found = self.spool.after(self.waiting[at][0], limit)
        assert [(e.key, e.message) for e in found] == self.waiting[at + 1 : at + 1 + limit]

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            self.spool.close()
            shutil.rmtree(self.folder)


def lives(count: int) -> settings:
    return settings(
        max_examples=count, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck),
        print_blob=True,
    )  # fmt: skip


class TestTheSpoolBehavesLikeAList(SpoolAgainstAList.TestCase):
    """Collected by pytest."""

    settings = lives(15)


@pytest.mark.long
class TestItDoesInManyLives(SpoolAgainstAList.TestCase):
    """More of them."""

    settings = lives(80)


@pytest.mark.usefixtures("large")
class TestALargeOneDoesToo(SpoolAgainstAList.TestCase):
    """Counted as it is read."""

    settings = lives(15)
