"""Random faults from a seed, and the account at the end.

What is counted, for an MQTT source at `--durability outage`: an input is *acknowledged* when the publisher has
the broker's PUBACK, and from then on owed a result; nothing is ever published a second time by the harness.
*Lost* are acknowledged inputs without a result once all faults are over. Every second five inputs
in a row are equal and have no `id`: of those there have to be as many results as were acknowledged. *Repeats* are
copies of a result with an `id` that came before: a consumer drops them. *Inferred again* are inputs that have results
of different ids: their acknowledgement did not reach the broker, or the publisher's copy of a message reached the
broker twice, its acknowledgement having been cut off: at-least-once allows both.

For `stdin` at `--durability always` nobody can be asked again, so owed is what the process reported as taken:
the count `safe` in the last `stats` of each life, that is the first so many lines it was fed.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from integration.faults.broker import Broker as Mosquitto
from integration.faults.ground import Ground
from integration.faults.waiting import pass_time, wait_until

SETTLE_EVERY = 20
SETTLE_S = 240.0


@dataclass(frozen=True)
class Fault:
    """`begin` makes it, `end` mends it, between them `last` seconds pass, drawn from a range.

    Two faults of one `group` are never there at once.
    """

    name: str
    group: str
    begin: Callable[[], None]
    end: Callable[[], None]
    last: tuple[float, float] = (0.2, 2.0)
    restarts: bool = False
    """It begins edge-run anew, and gives it no standard input."""


def faults_of(ground: Ground) -> list[Fault]:
    """Every kind, once."""

    def restart(end: Callable[[], None]) -> Callable[[], None]:
        def now() -> None:
            end()
            ground.service.start()

        return now

    def nothing() -> None:
        return

    at_once, half_open = (0.0, 0.3), (0.5, 4.0)
    broker, link, disk = ground.broker, ground.link, ground.disk
    stopped = Fault("broker stopped (SIGTERM)", "broker", broker.stop, broker.start)
    killed = Fault("broker killed (SIGKILL)", "broker", ground.kill_broker, broker.start)
    refused = Fault("result refused, code unknown", "link", link.refuse_publications, link.accept_publications)
    limits = [broker] if isinstance(broker, Mosquitto) else []
    return [
        *([refused] if broker.five else ()),
        *(Fault("size limit lowered", "broker", one.limit, one.unlimit) for one in limits),
        *([stopped, killed] if broker.keeps else ()),
        Fault("edge-run killed (SIGKILL)", "edge", restart(ground.service.kill), nothing, at_once, True),
        Fault("edge-run stopped (SIGTERM)", "edge", restart(ground.service.stop), nothing, at_once, True),
        Fault("broker frozen (SIGSTOP)", "broker", broker.freeze, broker.thaw, half_open),
        Fault("connection cut", "link", link.cut, nothing, at_once),
        Fault("connection half open", "link", link.hold, link.release, half_open),
        Fault("connection refused", "link", link.refuse, link.accept),
        Fault("another client of the same id", "link", ground.intrude, ground.expel, at_once),
        Fault("spool locked at the start", "edge", ground.lock_state, ground.unlock_state, half_open, True),
        Fault("disk full", "disk", disk.fill, disk.free),
        Fault("disk read-only", "disk", disk.make_read_only, disk.make_writable),
        Fault("disk read-only at the start", "disk", ground.start_read_only, disk.make_writable, half_open, True),
    ]


@dataclass
class Account:
    """What the campaign comes to."""

    title: str
    seed: int
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    forgotten: int = 0
    answers: int = 0
    copies: int = 0
    results: int = 0
    repeats: int = 0
    inferred_again: int = 0
    replayed: int = 0
    out_of_order: int = 0
    acks_out_of_order: int = 0
    unanswered: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    bad_exits: list[str] = field(default_factory=list)

    def faulty(self) -> dict[str, object]:
        """What was lost, wrong or out of order, and each life of edge-run that ended as it should not; empty where all
        is well."""
        names = ("lost", "unanswered", "wrong", "errors", "out_of_order", "acks_out_of_order", "bad_exits")
        return {name: found for name in names if (found := getattr(self, name))}


class Campaign:
    """One run over `faults` faults or `seconds` seconds, whichever is later."""

    title = "MQTT source at QoS 1, `--durability outage`"

    def __init__(
        self, place: Path, seed: int, *, faults: int, seconds: float = 0.0, per_second: float = 60.0,
        broker: str = "mosquitto",
    ) -> None:  # fmt: skip
        self._ground = self._made(place, broker)
        self._rng = random.Random(seed)
        self._wanted = faults
        self._seconds = seconds
        self._per_second = per_second
        self._started = time.monotonic()
        self.account = Account(f"{self.title}: {self._ground.broker.name}", seed)

    def _made(self, place: Path, broker: str) -> Ground:
        return Ground(place, "outage", broker=broker)

    def _kinds(self) -> list[Fault]:
        return faults_of(self._ground)

    def run(self) -> Account:
        """Raises TimeoutError where results do not come, with what edge-run said last."""
        ground = self._ground
        ground.open()
        try:
            ground.service.start()
            wait_until("edge-run answers", lambda: ground.subscriber.stats, 150)
            ground.publisher.start(self._per_second)
            wait_until("the first result", lambda: ground.subscriber.answered, 150)
            self._make_trouble()
            ground.publisher.finish(SETTLE_S)
            self._settle()
            ground.service.stop()
        except TimeoutError as exc:
            lacking = ground.subscriber.lacking(ground.owed())
            exc.add_note(f"{len(lacking)} inputs without a result: {lacking[:50]}")
            exc.add_note(f"faults so far: {dict(self.account.faults)}\nedge-run said:\n{ground.service.said()}")
            raise
        finally:
            ground.close()
        self._count()
        return self.account

    def _make_trouble(self) -> None:
        kinds = self._kinds()
        bag: list[Fault] = []
        while not self._enough():
            if not bag:
                # Every kind as often as every other, in an order of chance.
                bag = self._rng.sample(kinds, len(kinds))
            outer = bag.pop()
            inner = self._rng.choice([f for f in kinds if f.group != outer.group]) if self._rng.random() < 0.5 else None
            suffer(self.account, self._rng, outer, inner)
            pass_time(self._rng.uniform(0.0, 0.8))
            assert self._ground.service.running(), f"edge-run ended by itself:\n{self._ground.service.said()}"
            if self.account.faults.total() % SETTLE_EVERY == 0:
                self._settle()

    def _enough(self) -> bool:
        return self.account.faults.total() >= self._wanted and time.monotonic() - self._started >= self._seconds

    def _settle(self) -> None:
        """Everything that is owed by now comes."""
        owed = self._ground.owed()
        heard = self._ground.subscriber
        wait_until("results of all acknowledged inputs", lambda: not heard.lacking(owed), SETTLE_S)
        if self._ground.broker.five:
            wait_until("answers to all who asked", lambda: not heard.unanswered(owed), SETTLE_S)

    def _count(self) -> None:
        account, heard = self.account, self._ground.subscriber
        account.seconds = time.monotonic() - self._started
        owed = self._ground.owed()
        account.acknowledged = len(owed)
        account.forgotten = len(heard.lacking(self._ground.publisher.acknowledged - owed))
        account.lost = heard.lacking(owed)
        if self._ground.broker.five:
            account.answers = len(heard.answers)
            account.unanswered = heard.unanswered(owed)
        fill(account, self._ground)


def suffer(account: Account, rng: random.Random, outer: Fault, inner: Fault | None) -> None:
    """One fault, from beginning to end, with another in its middle where there is one."""
    account.faults[outer.name] += 1
    outer.begin()
    try:
        pass_time(rng.uniform(*outer.last))
        if inner is not None:
            suffer(account, rng, inner, None)
    finally:
        outer.end()


def fill(account: Account, ground: Ground) -> None:
    """What both campaigns count alike."""
    heard = ground.subscriber
    account.copies = heard.copies.total()
    account.results = len(heard.copies)
    account.repeats = account.copies - account.results
    account.inferred_again = sum(len(ids) - 1 for ids in heard.ids_by_input.values())
    account.replayed = heard.replayed
    newest: dict[str, int] = {}
    for boot, seq in heard.order:
        account.out_of_order += seq < newest.get(boot, 0)
        newest[boot] = max(seq, newest.get(boot, 0))
    account.acks_out_of_order = ground.link.acks_out_of_order
    account.wrong, account.errors = heard.wrong, heard.errors
    account.bad_exits = ground.service.bad_exits


def table(accounts: list[Account]) -> str:
    """Markdown: faults by kind, and what came of them."""
    kinds = sorted({kind for account in accounts for kind in account.faults})
    rows = [("", *(a.title for a in accounts)), ("---", *("---:" for _ in accounts))]
    rows += [(kind, *(str(a.faults[kind]) for a in accounts)) for kind in kinds]
    figures: list[tuple[str, Callable[[Account], object]]] = [
        ("**faults**", lambda a: a.faults.total()),
        ("seconds", lambda a: round(a.seconds)),
        ("seed", lambda a: a.seed),
        ("inputs owed", lambda a: a.acknowledged),
        ("results by `id`", lambda a: a.results),
        ("askers answered (MQTT 5)", lambda a: a.answers or "-"),
        ("sent as `replayed`", lambda a: a.replayed),
        ("repeats (same `id`)", lambda a: a.repeats),
        ("inferred again (same input, other `id`)", lambda a: a.inferred_again),
        ("out of order within a life", lambda a: a.out_of_order),
        ("acknowledgements out of order on a connection", lambda a: a.acks_out_of_order),
        ("wrong results", lambda a: len(a.wrong)),
        ("askers without an answer", lambda a: len(a.unanswered)),
        ("lost with a session that the broker ended by itself", lambda a: a.forgotten or "-"),
        ("**lost**", lambda a: len(a.lost)),
    ]
    rows += [(name, *(str(figure(a)) for a in accounts)) for name, figure in figures]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"
