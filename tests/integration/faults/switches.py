"""`python -m integration.faults.switches`: a model is exchanged a thousand times, while inputs come and all is killed.

Each version is another model, signed, fetched, proven, switched to and watched by the installed `edge-run`; at random
moments of that edge-run or the broker is killed or stopped, and begins again. What is counted is what `campaign.py`
says; besides, each result has to be what the model answers whose sha256 it carries. A version counts as switched to
once it is confirmed. One that was killed three times while it was proven or watched is refused, as it has to be, and
another one comes.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from integration.faults.__main__ import measured
from integration.faults.campaign import Account, fill, table
from integration.faults.ends import Publisher, Subscriber
from integration.faults.ground import BASE, Ground
from integration.faults.service import Service
from integration.faults.waiting import pass_time, wait_until
from support.marks import write_between
from support.updating import Fleet, seen, write_model

BEGIN, END = "<!-- switches: begin -->", "<!-- switches: end -->"
PER_SECOND = 25.0
PATIENCE_S = 300.0
TROUBLE = 0.4
"""Of the versions, those in whose switch something is killed."""
MOMENTS_S = 6.0
"""A switch takes about so long: the moment of the trouble is drawn from it."""
SETTLE_EVERY = 25
SEEN = seen(sum=np.arange(1000.0))
"""So that `--drift` has something to compare with."""
KEPT = 2
"""So many versions stay in the channel."""


@dataclass
class SwitchAccount(Account):
    """`switches`: versions that were confirmed. `in_flow`: changes of the model between two results of one life."""

    switches: int = 0
    refused: int = 0
    in_flow: int = 0
    lives: int = 0


@dataclass
class Model:
    """What a version answers: `a + factor b`."""

    version: str
    factor: float


class Heard(Subscriber):
    """The results by the model that made them, and the topic `update`."""

    def __init__(self, port: int, base: str) -> None:
        super().__init__(port, base)
        self._update = f"{base}/update"
        self.models: dict[str, Model] = {}
        self.update: dict[str, Any] = {}
        self.in_flow = 0
        self._ran: dict[str, str] = {}

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        super()._on_connect(client, userdata, flags, reason, properties)
        client.subscribe(self._update, 1)

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        if message.topic == self._update:
            self.update = json.loads(message.payload)
        else:
            super()._on_message(client, userdata, message)

    def _result(self, heard: dict[str, Any]) -> None:
        told = heard["model"]
        model = self.models.get(told["sha256"])
        value = heard["predictions"][0]["value"]
        boot = heard["id"].split("/")[2]
        self.in_flow += told["sha256"] != self._ran.setdefault(boot, told["sha256"])
        self._ran[boot] = told["sha256"]
        if model is None or model.version != told["version"]:
            self.wrong.append(f"{heard['id']}: of an unknown model {told}")
            return
        number = heard.get("input_id")
        if number is not None:
            expected = number % 1000 + model.factor * (number % 7)
            if value != expected:
                self.wrong.append(f"input {number}, version {model.version}: {value} instead of {expected}")
            value = number % 1000 + 2 * (number % 7)  # as the account of all campaigns wants it
        super()._result({**heard, "predictions": [{"value": value}]})


class Field(Ground):
    """With a signed repository, whose only follower is the device under test."""

    subscriber: Heard

    def __init__(self, place: Path, beside: Sequence[str]) -> None:
        """`beside`: what edge-run does beside its model."""
        super().__init__(place, "outage")
        self._beside = beside
        self.fleet = Fleet(place / "fleet")

    def open(self) -> None:
        self.broker.start()
        for proxy in (self.link, *self.ends):
            proxy.start()
        first, sha256 = self.write(0)
        updates = ("--updates", self.fleet.uri, "--updates-root", str(self.fleet.root), "--updates-interval", "0.3")
        limits = ("--updates-watch-time", "0", "--updates-watch-samples", "20", "--updates-latency", "1000")
        limits += ("--trial-samples", "5", "--trial-time", "5")
        self.service = Service(
            [*self._arguments(first), *updates, *limits, *self._beside], {}, self.place / "edge-run.log"
        )
        self.publisher = Publisher(self.ends[0].port, lambda _: f"{BASE}/input", five=True)
        self.subscriber = Heard(self.ends[1].port, BASE)
        self.subscriber.models[sha256] = Model("0", 1.0)
        self.fleet.add(first, "0")
        self.subscriber.start()

    def write(self, number: int) -> tuple[Path, str]:
        from edge.model.identity import sha256

        file = write_model(self.place / "new" / f"m{number}.onnx", str(number), factor=1.0 + number, **SEEN)
        return file, sha256(file)

    def offer(self, number: int) -> None:
        """As the newest version, for every device; what is older goes out of the channel."""
        file, sha256 = self.write(number)
        self.subscriber.models[sha256] = Model(str(number), 1.0 + number)
        self.fleet.add(file, str(number))
        for old in self.fleet.repository.held("m", "stable").releases[:-KEPT]:
            self.fleet.repository.withdraw("m", "stable", old.version, for_good=False)


@dataclass
class SwitchCampaign:
    """One device, until so many versions were confirmed, or so many seconds are over."""

    place: Path
    seed: int
    switches: int
    seconds: float
    beside: Sequence[str] = ()
    account: SwitchAccount = field(init=False)

    def __post_init__(self) -> None:
        self.account = SwitchAccount("switches, MQTT source at QoS 1, `--durability outage`", self.seed)
        self._rng = random.Random(self.seed)
        self._ground = Field(self.place, self.beside)

    def run(self) -> SwitchAccount:
        """Raises TimeoutError where a version is neither confirmed nor refused, with what edge-run said last."""
        ground, began, number = self._ground, time.monotonic(), 0
        ground.open()
        try:
            ground.service.start()
            wait_until("edge-run answers", lambda: ground.subscriber.stats, PATIENCE_S)
            ground.publisher.start(PER_SECOND)
            wait_until("the first result", lambda: ground.subscriber.answered, PATIENCE_S)
            while self.account.switches < self.switches and time.monotonic() - began < self.seconds:
                number += 1
                self._one(number)
                if number % SETTLE_EVERY == 0:
                    self._settle(f"{self.account.switches} of {self.switches} switches")
            ground.publisher.finish(PATIENCE_S)
            self._settle("the end")
            ground.service.stop()
        except TimeoutError as exc:
            lacking = ground.subscriber.lacking(ground.owed())
            exc.add_note(f"seed {self.seed}: {len(lacking)} inputs without a result: {lacking[:50]}")
            exc.add_note(f"faults so far: {dict(self.account.faults)}\nedge-run said:\n{ground.service.said()}")
            raise
        finally:
            ground.close()
            self._count(time.monotonic() - began)
        return self.account

    def _one(self, number: int) -> None:
        self._ground.offer(number)
        while self._rng.random() < TROUBLE:
            self._trouble(self._rng.uniform(0, MOMENTS_S), number)
        wait_until(f"version {number} is confirmed or refused", partial(self._over, number), PATIENCE_S)
        said = self._ground.subscriber.update
        if said["state"] == "confirmed":
            self.account.switches += 1
        else:
            self.account.refused += 1

    def _over(self, number: int) -> bool:
        said = self._ground.subscriber.update
        if not self._ground.service.running():
            raise TimeoutError("edge-run ended by itself")
        confirmed = said.get("state") == "confirmed" and said["running"]["version"] == str(number)
        return confirmed or (said.get("state") == "rolled-back" and said["to"] == str(number))

    def _trouble(self, moment_s: float, number: int) -> None:
        end = time.monotonic() + moment_s
        while time.monotonic() < end and not self._over(number):
            pass_time(0.01)
        name, suffer = self._rng.choice(self._kinds())
        self.account.faults[name] += 1
        suffer()

    def _kinds(self) -> list[tuple[str, Callable[[], None]]]:
        """Edge-run twice as often as the broker."""
        ground, rng = self._ground, self._rng

        def again(end: Callable[[], None]) -> None:
            end()
            pass_time(rng.uniform(0, 0.3))
            ground.service.start()

        def broker(end: Callable[[], None]) -> None:
            end()
            pass_time(rng.uniform(0.1, 1.5))
            ground.broker.start()

        killed = ("edge-run killed (SIGKILL)", partial(again, ground.service.kill))
        stopped = ("edge-run stopped (SIGTERM)", partial(again, ground.service.stop))
        return [
            *(killed, killed, killed, stopped),
            ("broker stopped (SIGTERM)", partial(broker, ground.broker.stop)),
            ("broker killed (SIGKILL)", partial(broker, ground.kill_broker)),
        ]

    def _settle(self, where: str) -> None:
        owed, heard = self._ground.owed(), self._ground.subscriber
        wait_until("results of all acknowledged inputs", lambda: not heard.lacking(owed), PATIENCE_S)
        wait_until("answers to all who asked", lambda: not heard.unanswered(owed), PATIENCE_S)
        sys.stderr.write(f"seed {self.seed}: {where}, {self.account.faults.total()} faults, {len(owed)} inputs\n")
        sys.stderr.flush()

    def _count(self, seconds: float) -> None:
        account, heard, owed = self.account, self._ground.subscriber, self._ground.owed()
        account.seconds, account.acknowledged = seconds, len(owed)
        account.lost, account.unanswered = heard.lacking(owed), heard.unanswered(owed)
        account.answers = len(heard.answers)
        account.in_flow, account.lives = heard.in_flow, self._ground.service.lives
        fill(account, self._ground)


def told(accounts: list[SwitchAccount]) -> str:
    """Markdown."""
    rows: list[tuple[str, Callable[[SwitchAccount], int]]] = [
        ("**switches that were confirmed**", lambda a: a.switches),
        ("versions that were killed three times, and refused", lambda a: a.refused),
        ("changes of the model within a life of the process", lambda a: a.in_flow),
        ("lives of the process", lambda a: a.lives),
    ]
    more = "".join(f"| {name} | {' | '.join(str(figure(a)) for a in accounts)} |\n" for name, figure in rows)
    return table(list(accounts)) + more


def _one(place: Path, switches: int, seconds: float, beside: Sequence[str], seed: int) -> SwitchAccount:
    (place / str(seed)).mkdir()
    return SwitchCampaign(place / str(seed), seed, switches, seconds, beside).run()


def main() -> int:
    """0 where nothing was lost and nothing wrong."""
    parser = argparse.ArgumentParser(prog="integration.faults.switches", description=__doc__)
    parser.add_argument("--switches", type=int, default=1000, help="of all devices together")
    parser.add_argument("--devices", type=int, default=1, help="so many at once, each with a broker of its own")
    parser.add_argument("--minutes", type=float, default=24 * 60.0, help="no further switch is begun after so many")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the first device")
    parser.add_argument("--beside", default="", help="flags of edge-run, such as '--drift --instances 2'")
    parser.add_argument("--write", type=Path, metavar="README.md", help="puts the table between its marks")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="edge-run-switches-"))
    seeds = range(options.seed, options.seed + options.devices)
    sys.stderr.write(f"seeds {seeds.start} to {seeds.stop - 1}, in {place}\n")
    each = -(-options.switches // options.devices)
    with ProcessPoolExecutor(options.devices) as pool:
        accounts = list(pool.map(partial(_one, place, each, 60 * options.minutes, options.beside.split()), seeds))
    sys.stdout.write(told(accounts))
    if options.write is not None:
        write_between(options.write, BEGIN, END, measured(told(accounts)))
    for account in accounts:
        for what in (account.lost[:20], account.wrong[:5], account.errors[:5], account.bad_exits):
            if what:
                sys.stderr.write(f"seed {account.seed}: {what}\n")
    return 1 if any(account.faulty() for account in accounts) else 0


if __name__ == "__main__":
    sys.exit(main())
