"""One run of a process: a model and its source, from the start of its parts to their end.

Of several runs each ends by itself, and the others go on: one whose model cannot be loaded never begins, one that
raised what is fatal, or whose source has ended, is closed and says `offline`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import msgspec

from edge.app.loading import Loaded
from edge.data import codec
from edge.data.result import SCHEMA, Skipped
from edge.delivery.outbox import Outbox
from edge.errors import FatalError
from edge.mqtt.messages import Outgoing
from edge.mqtt.topics import Topics
from edge.pipeline.results import timestamp
from edge.runtime.runner import Runner
from edge.runtime.stop import Stop
from edge.telemetry.watchdog import Heartbeats

TOPICS = "topics"
"""The part that holds the topics of a run for this process."""


class Part(msgspec.Struct, frozen=True):
    """Something that is started before the runner runs and stopped after it; `lasting`: after all other runs, too.

    `start` may raise FatalError; `stop` is called after a failed start too.
    """

    name: str
    start: Callable[[], object]
    stop: Callable[[], object]
    lasting: bool = False


class Made(msgspec.Struct, frozen=True):
    """What a run is made of. `parts` stand in the order of their start; `births` are published on every connect,
    `farewell` before a clean end; `listens` are the filters that it has subscribed to; `aborts` are called before an
    end at once."""

    loaded: Loaded
    runner: Runner
    parts: tuple[Part, ...]
    outboxes: Sequence[Outbox]
    hearts: Heartbeats
    births: Callable[[], Sequence[Outgoing]] = tuple
    farewell: Callable[[], Sequence[Outgoing]] = tuple
    listens: Sequence[str] = ()
    aborts: Sequence[Callable[[], None]] = ()


class Run:
    """`born` belongs to the session's thread, the rest to the main thread."""

    def __init__(self, name: str, topics: Topics, stop: Stop, made: Made | Exception) -> None:
        """`stop` ends it; of several each has its own. `made` is why it cannot be made."""
        self.name = name
        self.topics = topics
        self.stop = stop
        self.made = made if isinstance(made, Made) else None
        self.error: BaseException | None = made if isinstance(made, Exception) else None
        self.ended = self.made is None
        self.holds_topics = self.made is not None and all(part.name != TOPICS for part in self.made.parts)
        """What it says of itself is its own: no other process has its topics."""
        self._life: Iterator[None] | None = None
        self.told = False
        """Its farewell was said when it ended."""
        self._parts = ExitStack()
        self._device, self._boot = topics.base.split("/")[-2], os.urandom(4).hex()

    @property
    def begun(self) -> bool:
        """All its parts have started."""
        return self._life is not None

    @property
    def reason(self) -> str:
        """Why it runs no more; "" where it does, or has ended in order."""
        return "" if self.error is None else f"{self.error}" or type(self.error).__name__

    def begin(self, process: ExitStack) -> None:
        """Starts its parts; those that last to the end of the process are stopped there. An error is kept."""
        if self.made is None:
            return
        try:
            for part in self.made.parts:
                (process if part.lasting else self._parts).callback(part.stop)
                part.start()
                self.holds_topics |= part.name == TOPICS
        except Exception as exc:  # noqa: BLE001 - as in `step`
            self.error = exc
            self.close()
        else:
            self._life = self.made.runner.life()

    def step(self) -> bool:
        """Looks after it; False where that was its end."""
        assert self._life is not None, "it was not begun"
        try:
            next(self._life)
        except StopIteration:
            return False
        except Exception as exc:  # noqa: BLE001 - fatal to this run: it is raised at the end of the process
            self.error = exc
            return False
        return True

    def close(self) -> None:
        """Stops its parts."""
        self.ended = True
        if self.made is None:
            return
        if self._life is None:
            end(self.made.outboxes)
        self._parts.close()
        self.made.hearts.forget()

    def born(self) -> Sequence[Outgoing]:
        """What it publishes on every connect."""
        if self.made is not None and not self.ended:
            return self.made.births()
        if not self.holds_topics:
            return []
        offline = Outgoing(self.topics.status, b"offline", retain=True)
        return [offline, self._complaint()] if self.error is not None else [offline]

    def farewell(self) -> Sequence[Outgoing]:
        """What it publishes last."""
        if self.told:
            return []
        return self.made.farewell() if self.made is not None and self.begun else self.born()

    def parting(self) -> Sequence[Outgoing]:
        """What it publishes where it has ended and the process goes on: its farewell, and why."""
        return [*self.farewell(), *([self._complaint()] if self.error is not None else [])]

    def _complaint(self) -> Outgoing:
        """The same each time: its `id` says so."""
        said = Skipped(
            schema=SCHEMA,
            id=f"{self._device}/{self.name}/{self._boot}/end",
            time=timestamp(time.time_ns()),
            device=self._device,
            model=self.name,
            source="",
            seq=0,
            reason=f"the run has ended: {self.reason}",
        )
        return Outgoing(self.topics.error, codec.encode(said), content_type="application/json")


def end(outboxes: Sequence[Outbox]) -> None:
    """Those of a run that does not begin: the loop of their sink is to open no spool for them."""
    for outbox in outboxes:
        with contextlib.suppress(FatalError):  # told by what did not begin
            outbox.end()
