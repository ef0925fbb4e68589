"""Messages on their way to the server: how many calls may wait for one, for how long, and how much they hold.

gRPC bounds each message, and no more: a call whose message never comes would keep its place for ever, and what comes is
held in memory until it is whole. So each call reads for itself (`Reading`), behind a look at its token. Where too many
wait, the one that has waited longest makes room: first of all one whose message should have come, last a stream that is
idle. Messages are received a few at a time, for each may be large; where all of these places are taken, the newest call
has the next one, so that those who send are not behind those who never will.

One address has at most its share of the places, as over HTTP: past it a call of its own makes room, or the new one is
refused. Whose call is ended for others, and whose is the next to be received, follows what each address has already.
"""

from __future__ import annotations

import asyncio
import enum
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NoReturn, Protocol
from urllib.parse import unquote

import grpc

from edge.http.http_types import RETRY, Refusal
from edge.http.options import Limits
from edge.http.reader import BodyBudget

TOGETHER = 4
"""Calls that may be receiving their message at once; it may be of the largest size."""
CROWDED_S = 3.0
"""How long one of them may take while others wait for its place."""
SMALL = 16_384
"""Bytes of a message that is not counted."""
_UNCOUNTED = nullcontext()


class Context(Protocol):
    """What a call tells of itself: gRPC's."""

    def peer(self) -> str:
        """Whose it is: "ipv4:192.0.2.7:50123"."""
        ...

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """Names and values."""
        ...

    async def read(self) -> Any:
        """The next message, or `grpc.aio.EOF`."""
        ...

    async def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        """Ends the call."""
        ...


def address(context: Context) -> str:
    """That of the one who calls, as HTTP has it: of "ipv6:%5B::1%5D:50123" it is "::1"."""
    return unquote(context.peer().partition(":")[2].rpartition(":")[0]).strip("[]")


class _State(enum.IntEnum):
    READS = enum.auto()
    """Its message is due."""
    QUEUES = enum.auto()
    """Others are receiving."""
    IDLE = enum.auto()
    """A stream, whose next message may come at any time."""


class _Wait:
    __slots__ = ("context", "reason", "since", "state", "task")

    def __init__(self, context: Context, task: asyncio.Task[Any], since: float, state: _State) -> None:
        self.context = context
        self.task = task
        self.since = since
        self.state = state
        self.reason = ""
        """Why it was ended."""

    @property
    def address(self) -> str:
        """Asked of gRPC each time: it is wanted only where places are scarce."""
        return address(self.context)

    def end(self, reason: str) -> None:
        if not self.reason:
            self.reason = reason
            self.task.cancel()


class Reading:
    """The event loop's own."""

    def __init__(self, most: int, limits: Limits, budget: BodyBudget) -> None:
        """`most` calls may wait."""
        self._most = most
        self._share = max(1, most - most // 4)
        """Of one address, and of streams that are idle."""
        self._limits = limits
        self._budget = budget
        self._loop = asyncio.get_running_loop()
        self._receiving = 0
        self._queue: list[tuple[_Wait, asyncio.Future[None]]] = []
        """Those who wait for a place, which is handed to them."""
        self._waits: dict[int, _Wait] = {}
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._stops = False

    async def next(self, context: Context, *, stream: bool) -> bytes | None:
        """The next message of a call; None at its end. `stream`: it may take its time. Raises Refusal."""
        wait = self._enter(context, _State.IDLE if stream else _State.READS)
        try:
            if stream:
                data = await context.read()
            else:
                data = await self._read(wait, context)
        except asyncio.CancelledError:
            if wait.reason:
                raise Refusal(503, wait.reason, RETRY) from None
            raise
        finally:
            del self._waits[id(wait)]
        return None if data is grpc.aio.EOF else data

    async def _read(self, wait: _Wait, context: Context) -> Any:
        if self._receiving < TOGETHER:
            self._receiving += 1
        else:
            wait.state = _State.QUEUES
            await self._turn(wait)
        try:
            return await context.read()
        finally:
            self._hand_on()

    async def _turn(self, wait: _Wait) -> None:
        turn = self._loop.create_future()
        self._queue.append((wait, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # the place was its own already
                self._hand_on()
            raise

    def _hand_on(self) -> None:
        """A place is free: it goes to the address that has the fewest of them, and of its calls to the newest."""
        self._queue = [(wait, turn) for wait, turn in self._queue if not turn.done()]
        if not self._queue:
            self._receiving -= 1
            return
        has = Counter(wait.address for wait in self._waits.values() if wait.state is _State.READS)
        wait, turn = min(reversed(self._queue), key=lambda queued: has[queued[0].address])
        wait.state, wait.since = _State.READS, self._loop.time()
        turn.set_result(None)

    def held(self, size: int, context: Context) -> AbstractContextManager[None]:
        """A message of so many bytes is held meanwhile, which raises Refusal."""
        return self._counted(size, address(context)) if size > SMALL else _UNCOUNTED

    @contextmanager
    def _counted(self, size: int, whose: str) -> Iterator[None]:
        self._budget.take(size, whose)
        try:
            yield
        finally:
            self._budget.give_back(size, whose)

    def stop(self) -> None:
        """Ends all that wait, and lets none begin to."""
        self._stops = True
        for wait in self._waits.values():
            wait.end("the server stops")
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()

    # --- inside ---------------------------------------------------------------------------------------

    def _enter(self, context: Context, state: _State) -> _Wait:
        if self._stops:
            raise Refusal(503, "the server stops", RETRY)
        now = self._loop.time()
        if len(self._waits) >= self._share:  # below it no address is past its own
            self._make_room(context, now)
        task = asyncio.current_task()
        assert task is not None
        wait = _Wait(context, task, now, state)
        self._waits[id(wait)] = wait
        if self._sweep_timer is None:
            self._sweep_timer = self._loop.call_later(self._limits.sweep_s, self._sweep)
        return wait

    def _make_room(self, context: Context, now: float) -> None:
        """Raises Refusal where there is no place, and all have come just now."""
        waits = [wait for wait in self._waits.values() if not wait.reason]
        whose = address(context)
        own = [wait for wait in waits if wait.address == whose]
        if len(own) >= self._share:
            if not self._end(own, 1, now):
                raise Refusal(
                    429,
                    f"{len(own)} calls of your address wait for their messages, which is its share; end some, or "
                    "send the requests of several in one stream",
                )
        elif len(waits) >= self._most and not self._end(waits, 1, now):
            raise Refusal(503, f"{self._most} calls wait for their messages already; try again", RETRY)

    def _end(self, among: Collection[_Wait], count: int, now: float) -> int:
        """How many have made room: of the address that has most of them, those that have waited longest."""
        latest = now - self._limits.evict_after_s
        has = Counter(wait.address for wait in among)
        ended = 0
        while ended < count and (waiting := [w for w in among if w.since <= latest and not w.reason]):
            longest = min(waiting, key=lambda w: (-has[w.address], w.state, w.since))
            longest.end("other calls needed the place; try again")
            has[longest.address] -= 1
            ended += 1
        return ended

    def _bound_idle(self, now: float) -> None:
        """Each may be a connection's only call, and hold its place: as many as there may be calls would lock others
        out, of whom then no call comes. The connection of one that is ended has its time without calls."""
        idle = [w for w in self._waits.values() if w.state is _State.IDLE and not w.reason]
        self._end(idle, len(idle) - self._share, now)

    def _sweep(self) -> None:
        now = self._loop.time()
        self._bound_idle(now)
        crowded = any(wait.state is _State.QUEUES for wait in self._waits.values())
        within_s = min(CROWDED_S, self._limits.body_s) if crowded else self._limits.body_s
        for wait in self._waits.values():
            if wait.state is _State.READS and now - wait.since > within_s:
                wait.end(f"the message did not come whole within {within_s:g} s")
        again = bool(self._waits)
        self._sweep_timer = self._loop.call_later(self._limits.sweep_s, self._sweep) if again else None
