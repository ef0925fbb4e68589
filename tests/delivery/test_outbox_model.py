"""The outbox under random events: appends, confirmations, refusals, lost connections, failing disks, time, kills, ends.

What it promises, whatever happens and in whatever order:

- an acknowledgement is released once, and not before its message is confirmed, on disk, or counted as dropped;
- within one connection messages go in their order, and are not repeated;
- no more messages are sent and unconfirmed than the window, none wait in memory past the bound;
- once all works again, everything that was taken has been confirmed, or is counted as dropped.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edge.data.message import Message
from edge.delivery.ack import Ack
from edge.delivery.options import Durability, OutboxOptions
from edge.delivery.outbox import Outbox
from edge.errors import SampleError, UnavailableError
from edge.plugins.protocols import Entry, SinkEvents
from edge.telemetry.metrics import Metrics
from edge.testing.fakes import FakeClock

WINDOW = 2
SAVE_PAST = 8
MEMORY_MOST = 12
MEMORY_BYTES = 2000
SUFFIXES = ("", "-wal")


class FullError(Exception):
    """`append` would wait."""


class Broker:
    """Takes what it is sent, confirms what it is told to, goes away, refuses."""

    durable = True
    window = WINDOW

    def __init__(self) -> None:
        self.away = False
        self.full = False
        self.never: set[int] = set()
        self.events: SinkEvents | None = None
        self.connections: list[list[int]] = []
        self.sent: deque[tuple[int, list[int]]] = deque()
        self.confirmed: set[int] = set()
        self.given_up: set[int] = set()

    def open(self, events: SinkEvents) -> None:
        self.events = events
        if self.away:
            raise UnavailableError("the broker is away")
        self.sent.clear()
        self.connections.append([])

    def send(self, entry: Entry) -> None:
        if self.away or self.full:
            raise UnavailableError("the broker went away")
        if entry.message.seq in self.never:
            self.given_up.add(entry.message.seq)
            raise SampleError("larger than the broker takes")
        self._take(entry.key, [entry.message.seq])

    def _take(self, key: int, numbers: list[int]) -> None:
        self.sent.append((key, numbers))
        self.connections[-1] += numbers
        assert len(self.sent) <= self.window, "more are under way than the window"

    def confirm(self, count: int) -> None:
        keys = []
        for _ in range(min(count, len(self.sent))):
            key, numbers = self.sent.popleft()
            self.confirmed.update(numbers)
            keys.append(key)
        if self.events is not None:
            self.events.confirmed(keys)

    def close(self) -> None:
        self.events = None
        self.sent.clear()


class JoiningBroker(Broker):
    """Takes several results in one message."""

    batch = 3
    batch_bytes = 1000

    def send_all(self, entries: Sequence[Entry]) -> Sequence[tuple[int, str]]:
        refused = []
        for key, group in itertools.groupby(entries, lambda e: e.key):
            numbers = [e.message.seq for e in group]
            if self.away or self.full:
                raise UnavailableError("the broker went away")
            if self.never & set(numbers):
                self.given_up.update(numbers)
                refused.append((key, "larger than the broker takes"))
            else:
                self._take(key, numbers)
        return refused


class Disk:
    """A durable spool on a disk that may be full, read-only or locked. After a kill, what was removed may be back."""

    durable = True
    dropped = damaged = 0
    dropped_by: Mapping[str, int] = {}
    oldest_ns = None

    def __init__(self) -> None:
        self.fails: frozenset[str] = frozenset()
        self.rows: dict[int, Message] = {}
        self.ghosts: dict[int, Message] = {}
        self.newest = 0
        self.earlier = 0
        self.failed = False

    def next_life(self, *, killed: bool) -> None:
        if killed:
            self.rows = dict(sorted({**self.rows, **self.ghosts}.items()))
        self.ghosts = {}
        self.earlier = self.newest
        self.failed = False

    def _check(self, what: str) -> None:
        if what in self.fails:
            self.failed = True
            raise UnavailableError(f"the disk does not {what}")

    def open(self) -> None:
        self._check("open")

    def append(self, messages: Sequence[Message]) -> list[int]:
        self._check("append")
        keys = list(range(self.newest + 1, self.newest + 1 + len(messages)))
        self.rows.update(zip(keys, messages, strict=True))
        self.newest = keys[-1]
        self.ghosts = {}
        return keys

    def after(self, key: int, limit: int) -> list[Entry]:
        self._check("read")
        return [Entry(k, m, k <= self.earlier) for k, m in self.rows.items() if k > key][:limit]

    def remove(self, keys: Iterable[int]) -> None:
        self._check("remove")
        for key in keys:
            if key in self.rows:
                self.ghosts[key] = self.rows.pop(key)

    def origins(self, limit: int) -> list[bytes]:
        return []

    @property
    def bytes(self) -> int:
        return sum(len(m.payload) for m in self.rows.values())

    def __len__(self) -> int:
        return len(self.rows)

    def close(self) -> None:
        """What is there stays."""


FULL, READ_ONLY, LOCKED = (
    frozenset({"append"}),
    frozenset({"open", "append", "remove"}),
    frozenset({"open", "append", "read", "remove"}),
)


turns = st.sampled_from([0, 1, 1, 3])


class OutboxAgainstItsPromises(RuleBasedStateMachine):
    """One outbox after the other on one spool; the numbers of the messages go on."""

    @initialize(
        durability=st.sampled_from([Durability.OUTAGE, Durability.ALWAYS]),
        drop_oldest=st.booleans(),
        joins=st.booleans(),
        paced=st.booleans(),
        beside=st.booleans(),
    )
    def begin(self, durability: Durability, drop_oldest: bool, joins: bool, paced: bool, beside: bool) -> None:
        self.options = OutboxOptions(
            durability=durability,
            save_past=SAVE_PAST,
            memory_messages=MEMORY_MOST,
            memory_bytes=MEMORY_BYTES,
            drop_oldest=drop_oldest,
            replay_rate=10.0 if paced else 0.0,
            beside_past=0 if beside and not paced else None,
        )
        self.clock = FakeClock()
        self.broker: Broker = JoiningBroker() if joins else Broker()
        self.disk = Disk()
        self.number = 0
        self.released: set[int] = set()
        self.gone: set[int] = set()
        self.late_disk = False
        self._start()

    # --- lives --------------------------------------------------------------------------------------

    def _start(self) -> None:
        self.metrics = Metrics()
        self.gone_now = 0
        self.first_number = self.number + 1
        self.earlier_connections = len(self.broker.connections)
        self.size: dict[int, int] = {}
        self.outbox = Outbox(
            "broker", self.broker, self.disk, clock=self.clock, metrics=self.metrics, options=self.options
        )
        self.outbox.open()
        self.late_disk = "open" in self.disk.fails
        self.outbox.turn()

    def _on_disk(self) -> set[int]:
        return {m.seq for m in self.disk.rows.values()}

    def _released(self, number: int) -> None:
        self.size.pop(number, None)
        assert number not in self.released, "an acknowledgement is released once"
        self.released.add(number)
        if not (number in self.broker.confirmed or number in self.broker.given_up or number in self._on_disk()):
            self.gone.add(number)
            self.gone_now += 1

    # --- what happens to it -------------------------------------------------------------------------

    @rule(sizes=st.lists(st.sampled_from([10, 300]), min_size=1, max_size=6), error=st.booleans(), turns=turns)
    def append(self, sizes: list[int], error: bool, turns: int) -> None:
        for size in sizes:
            self._append(size, "error" if error else "result")
        self._turn(turns)

    def _append(self, size: int, kind: Any) -> None:
        n = self.number + 1
        message = Message(kind, b'{"n":%d,"x":"%s"}' % (n, b"x" * size), n)

        def full() -> None:
            raise FullError

        room = self._unsaved() < SAVE_PAST and sum(self.size.values()) < MEMORY_BYTES - 400
        self.number = n
        self.size[n] = len(message.payload)
        try:
            self.outbox.put([(message, Ack(1, lambda: self._released(n)))], full)
        except FullError:
            assert not room, "it waits although there is room"
            self.number -= 1
            del self.size[n]

    def _unsaved(self) -> int:
        found = self.outbox.waiting()
        return int(found["depth"]) - int(found["spool_messages"])

    def _turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.outbox.turn()

    @rule(count=st.integers(1, WINDOW), turns=turns)
    def confirm(self, count: int, turns: int) -> None:
        self.broker.confirm(count)
        self._turn(turns)

    @rule(seconds=st.sampled_from([0.05, 0.4, 1.2, 6.0, 40.0]), turns=turns)
    def time_passes(self, seconds: float, turns: int) -> None:
        self.clock.advance(seconds)
        self._turn(turns)

    @rule(does=st.sampled_from(["go", "vanish", "refuse all", "refuse the next", "come back"]), turns=turns)
    def broker_does(self, does: str, turns: int) -> None:
        self.broker.away = does in ("go", "vanish")
        self.broker.full = does == "refuse all"
        if does == "refuse the next":
            self.broker.never.add(self.number + 1)
        if does == "go" and self.broker.events is not None:
            self.broker.events.lost("the broker went away")
        if does == "come back" and self.broker.events is not None:
            self.broker.events.ready()
        self._turn(turns)

    @rule(count=st.integers(1, 12))
    def an_outage_comes_and_goes(self, count: int) -> None:
        """What chance alone would seldom bring about."""
        self.broker_does("go", turns=1)
        self.append([10] * count, error=False, turns=1)
        self.time_passes(1.2, turns=1)
        self.broker_does("come back", turns=1)

    @rule(count=st.integers(WINDOW + 1, 12), new=st.integers(1, 3))
    def new_ones_come_while_the_disk_is_read(self, count: int, new: int) -> None:
        """Nor this: the disk works, more waits there than goes at once, and nothing breaks off before it is sent."""
        self.disk_does(frozenset(), turns=1)
        self.time_passes(6.0, turns=1)
        self.an_outage_comes_and_goes(count)
        self.append([10] * new, error=False, turns=1)
        self.confirm(WINDOW, turns=1)
        self.confirm(WINDOW, turns=1)

    @rule(fails=st.sampled_from([FULL, READ_ONLY, LOCKED, frozenset()]), turns=turns)
    def disk_does(self, fails: frozenset[str], turns: int) -> None:
        self.disk.fails = fails
        self._turn(turns)

    @rule(how=st.sampled_from(["kill", "stop", "stop after a second", "finish"]))
    def next_life(self, how: str) -> None:
        """What was not safe comes again from its source; here it is forgotten."""
        if how == "finish":
            self._heal()
            self.outbox.finish()
            self.outbox.run()
            assert self.outbox.waiting()["depth"] == 0, "it ended before all was confirmed"
        elif how == "kill":
            self.broker.close()
        else:
            grace_s = float(how == "stop after a second")
            self.outbox.stop(grace_s)
            self.clock.advance(grace_s + 0.01)
            self.outbox.run()
        if how != "kill":
            self._append_after_the_end()
        self._forget_unsafe()
        self.disk.next_life(killed=how == "kill")
        self._start()

    def _append_after_the_end(self) -> None:
        self.outbox.end()
        before, counted = set(self.released), self.metrics.counter("dropped:broker:stop")
        self._append(10, "result")
        assert self.released == before, "what comes after the end is never safe"
        assert self.metrics.counter("dropped:broker:stop") == counted + 1, "and is counted"

    def _forget_unsafe(self) -> None:
        for n in range(1, self.number + 1):
            if n not in self.released:
                self.released.add(n)
                self.broker.given_up.add(n)

    # --- what holds always --------------------------------------------------------------------------

    @invariant()
    def each_connection_is_in_order(self) -> None:
        if not hasattr(self, "broker") or self.options.replay_rate or self.late_disk:
            return
        for numbers in self.broker.connections[self.earlier_connections :][-2:]:
            own, earlier = [n for n in numbers if n >= self.first_number], [n for n in numbers if n < self.first_number]
            for part in (own, earlier) if self.options.beside_past is not None else (numbers,):
                assert part == sorted(set(part)), f"out of order, or twice: {numbers}"

    @invariant()
    def what_is_released_is_safe_or_counted(self) -> None:
        if hasattr(self, "outbox"):
            dropped = self.metrics.counter("dropped:broker:disk")
            assert self.gone_now == dropped, f"{self.gone_now} released although neither confirmed nor on disk"

    @invariant()
    def memory_is_bounded(self) -> None:
        if not hasattr(self, "outbox"):
            return
        most = MEMORY_MOST if self.disk.failed else SAVE_PAST
        if not (self.options.drop_oldest and self.disk.failed):
            assert self._unsaved() <= most, "more messages wait in memory than the bound"
            assert sum(self.size.values()) < MEMORY_BYTES + 400, "more bytes wait in memory than the bound"

    def _heal(self) -> None:
        self.disk.fails = frozenset()
        self.broker_does("come back", turns=1)
        for _ in range(self.number + 200):
            self.outbox.turn()
            self.broker.confirm(WINDOW)
            self.clock.advance(0.5)
            if self.outbox.waiting()["depth"] == 0 and not self.broker.sent:
                break
        self.outbox.turn()
        self.clock.advance(6)
        self.outbox.turn()
        assert self.outbox.waiting()["depth"] == 0, "something waits although all works"

    def teardown(self) -> None:
        if not hasattr(self, "outbox"):
            return
        self._heal()
        assert len(self.released) == self.number, "not every acknowledgement was released"
        taken = set(range(1, self.number + 1))
        lost = taken - self.broker.confirmed - self.broker.given_up - self.gone
        assert not lost, f"lost: {sorted(lost)}"


def lives(count: int) -> settings:
    return settings(
        max_examples=count, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck),
        print_blob=True,
    )  # fmt: skip


class TestTheOutboxKeepsItsPromises(OutboxAgainstItsPromises.TestCase):
    """Collected by pytest."""

    settings = lives(50)


@pytest.mark.long
class TestItKeepsThemInManyLives(OutboxAgainstItsPromises.TestCase):
    """More of them."""

    settings = lives(400)
