"""The campaign for a source that cannot be asked again: lines on stdin, `--durability always`.

Owed is what the process reported as taken: `safe` in the last `stats` of each life. A life's lines that it had not
reported when it was killed are nobody's: they are not fed again.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from pathlib import Path

from integration.faults.campaign import SETTLE_EVERY, SETTLE_S, Account, Fault, faults_of, fill, suffer
from integration.faults.ends import row
from integration.faults.ground import Ground
from integration.faults.waiting import pass_time, wait_until


class Feeder:
    """Writes numbered lines to each life of the process, until it is told to end or the process is gone."""

    def __init__(self, per_second: float) -> None:
        self._interval_s = 1 / per_second
        self._next = 1
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self.first_of_life: list[int] = []

    def start(self, fd: int) -> None:
        """A new life begins with the next line."""
        self.first_of_life.append(self._next)
        self._stop.clear()
        own = os.dup(fd)
        self._thread = threading.Thread(target=self._run, args=(own,), name="feeder")
        self._thread.start()

    def stop(self) -> None:
        """No more lines: the process sees the end once the harness closes its own end of the pipe too."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def fed(self) -> int:
        """Lines written in this life."""
        return self._next - self.first_of_life[-1]

    def _run(self, fd: int) -> None:
        os.set_blocking(fd, False)
        try:
            while not self._stop.wait(self._interval_s):
                try:
                    os.write(fd, json.dumps(row(self._next)).encode() + b"\n")
                except BlockingIOError:
                    continue  # it takes no more just now: shorter than a pipe's page, a line is written whole or not
                self._next += 1
        except BrokenPipeError:
            return
        finally:
            os.close(fd)


class FedCampaign:
    """One run over `faults` faults or `seconds` seconds, whichever is later."""

    def __init__(self, place: Path, seed: int, *, faults: int, seconds: float = 0.0, per_second: float = 60.0) -> None:
        self._ground = Ground(place, "always", source="-")
        self._rng = random.Random(seed)
        self._wanted = faults
        self._seconds = seconds
        self._started = time.monotonic()
        self._feeder = Feeder(per_second)
        self._owed: set[int] = set()
        self._unanswered: dict[str, int] = {}
        self.account = Account("stdin, `--durability always`", seed)

    def run(self) -> Account:
        """Raises TimeoutError where results do not come, with what edge-run said last."""
        self._ground.open()
        try:
            self._live()
            wait_until("the first result", lambda: self._ground.subscriber.answered, 150)
            self._make_trouble()
            self._finish()
        except TimeoutError as exc:
            exc.add_note(f"faults so far: {dict(self.account.faults)}\nedge-run said:\n{self._ground.service.said()}")
            raise
        finally:
            self._feeder.stop()
            self._ground.close()
        self._count()
        return self.account

    def _live(self) -> None:
        self._ground.service.start(feed=True)
        self._feeder.start(self._ground.service.stdin)

    def _die(self) -> None:
        """SIGKILL. What it had reported by now is owed; a report that is under way may be heard a little later."""
        self._ground.service.kill()
        self._feeder.stop()
        self._live()

    def _make_trouble(self) -> None:
        kinds = [f for f in faults_of(self._ground) if not f.restarts]
        kill = Fault("edge-run killed (SIGKILL)", "edge", self._die, lambda: None, (0.0, 0.3))
        bag: list[Fault] = []
        while self.account.faults.total() < self._wanted or time.monotonic() - self._started < self._seconds:
            if not bag:
                bag = self._rng.sample([*kinds, kill], len(kinds) + 1)
            outer = bag.pop()
            inner = kill if outer is not kill and self._rng.random() < 0.4 else None
            suffer(self.account, self._rng, outer, inner)
            pass_time(self._rng.uniform(0.3, 1.2))
            assert self._ground.service.running(), f"edge-run ended by itself:\n{self._ground.service.said()}"
            if self.account.faults.total() % SETTLE_EVERY == 0:
                self._settle()

    def _settle(self) -> None:
        """Without a restart: what lies on disk and is not sent must not need one."""
        owed = self._reported()
        wait_until("results of all reported lines", lambda: owed <= self._ground.subscriber.answered, SETTLE_S)

    def _finish(self) -> None:
        """The end of stdin: the process delivers what it took, and exits 0 by itself."""
        self._feeder.stop()
        self._ground.service.end_of_input()
        wait_until("edge-run ends when its input does", lambda: not self._ground.service.running(), SETTLE_S)
        self._ground.service.kill()
        first = self._feeder.first_of_life[-1]
        self._owed |= set(range(first, first + self._feeder.fed()))
        self._unanswered.clear()
        self._owed |= self._reported()
        wait_until("all that is owed", lambda: self._owed <= self._ground.subscriber.answered, SETTLE_S)

    def _reported(self) -> set[int]:
        """By life: a boot's lives are told apart by the ids of its results."""
        owed: set[int] = set()
        for boot, safe, lowest in self._ground.subscriber.reports():
            if lowest is not None:
                first = max(f for f in self._feeder.first_of_life if f <= lowest)
                owed |= set(range(first, first + safe))
            elif safe:
                self._unanswered[boot] = safe
        return owed

    def _count(self) -> None:
        account = self.account
        account.seconds = time.monotonic() - self._started
        account.acknowledged = len(self._owed)
        account.lost = sorted(self._owed - self._ground.subscriber.answered)
        fill(account, self._ground)
        account.errors += [f"boot {b} took {n} lines, and no result of it came" for b, n in self._unanswered.items()]
