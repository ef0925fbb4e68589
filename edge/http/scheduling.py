"""Who may run the model, where, and when: the queue, the worker threads, the flow's precedence.

A request's work is quick or slow. Quick work (a tiny model: tens of microseconds) runs in the event loop, because
handing it to a thread costs more than it takes; slow work goes to one of a few worker threads. Which it is, is
learned: from how long the last requests took.

While the flow has samples, requests take at most `share` of one core, counting all that they cost: the loop's own
CPU time (HTTP, JSON) and the workers'. What is past that waits; at most `queue` requests wait, more get a 503. Beside
a flow the server's threads are niced, too: measured on two busy cores, that is worth more to a flow of 30 frames a
second than half the share.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from edge.http.http_types import RETRY, Refusal
from edge.plugins.protocols import Clock
from edge.telemetry.metrics import Metrics

T = TypeVar("T")

QUICK_S = 0.0005
QUICK_BYTES = 16_384
STEP = 1.2
"""How much a request moves the estimate: up when it took longer, down when not. That finds the median, so that a
request which was slow because something else had the processor does not count for more than another."""
FLOW_AWAKE_NS = 1_000_000_000
REJECT_S = 0.1
REJECT_AWAKE_S = 0.25
"""How long a 503 is held back, and while the flow is awake: saying no costs CPU too, and some clients ask again at
once. 256 of those left a model of 1 ms one answer in twenty."""
NICE = 10
COUNT_EVERY = 32
"""While the flow sleeps, requests cost nobody anything: their CPU time is counted now and then."""
BURST_S = 0.02
"""CPU time that requests may take at once before their share is counted."""


def give_way() -> None:
    """The calling thread runs when the flow's threads do not: on Linux every thread has its own niceness."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


class Share:
    """A budget of CPU seconds that fills at `share` a second while the flow is awake. The loop's own."""

    def __init__(self, share: float, clock: Clock, metrics: Metrics) -> None:
        self._share = share
        self._clock = clock
        self._metrics = metrics
        self._budget_s = BURST_S
        self._filled_ns = clock.monotonic_ns()
        self._loop_cpu_ns = 0
        self._workers_s = 0.0
        self._calls = -1
        self._owed = False
        """True where the time since the last count has to be paid for."""
        self._lock = threading.Lock()
        self.flow_seen_ns = -FLOW_AWAKE_NS
        """When the flow had its last sample; set by the flow's thread."""

    def worked(self, seconds: float) -> None:
        """CPU time of a worker thread, told by that thread."""
        with self._lock:
            self._workers_s += seconds

    @property
    def flow_awake(self) -> bool:
        """True while samples come, so that requests have to keep to their share."""
        return self._share < 1.0 and self._clock.monotonic_ns() - self.flow_seen_ns <= FLOW_AWAKE_NS

    def wait_s(self) -> float:
        """How long the next request has to wait; called by the loop's thread for each."""
        self._calls += 1
        awake = self.flow_awake
        if not awake and self._calls % COUNT_EVERY:
            self._owed = False
            return 0.0
        now = self._clock.monotonic_ns()
        cpu = time.thread_time_ns()
        with self._lock:
            workers_s, self._workers_s = self._workers_s, 0.0
        spent_s = (cpu - self._loop_cpu_ns) / 1e9 + workers_s
        passed_s = (now - self._filled_ns) / 1e9
        self._loop_cpu_ns, self._filled_ns = cpu, now
        self._metrics.inc("http_cpu_s", spent_s)
        owed, self._owed = self._owed, awake
        if not awake or not owed:  # what was spent while the flow slept is not held against anybody
            self._budget_s = BURST_S
            return 0.0
        self._budget_s = min(BURST_S, self._budget_s + passed_s * self._share - spent_s)
        return max(0.0, -self._budget_s / self._share)


@dataclass(frozen=True, slots=True)
class RunsOptions:
    """`inline`: quick work may run in the event loop; `gives_way`: there is a flow, which comes first."""

    workers: int
    queue: int
    inline: bool
    gives_way: bool


class Runs:
    """`run` is called by the event loop; the work it is given runs there or in a worker."""

    def __init__(self, options: RunsOptions, share: Share, metrics: Metrics) -> None:
        self._inline = options.inline
        self.queue = options.queue
        self.workers = options.workers
        self._share = share
        self._metrics = metrics
        self._waiting = 0
        self._slots = asyncio.Semaphore(options.workers)
        self._pool = ThreadPoolExecutor(
            options.workers, "http-worker", initializer=give_way if options.gives_way else None
        )
        self._usual_s = QUICK_S * 2  # the first requests go to a thread, until it is known that they are quick
        metrics.set("http_waiting", 0)

    async def run(
        self,
        work: Callable[[], T],
        size: int,
        gone: Callable[[], Awaitable[None]] | None = None,
        *,
        admitted: bool = False,
    ) -> T:
        """`work`'s value; `size` is that of its input in bytes, `gone` returns when nobody waits for it any more.

        Raises Refusal (503) where too many wait, but for what is `admitted`, and what `work` raises.
        """
        wait_s = self._share.wait_s()
        quick = self._is_quick(size)
        if quick and not wait_s and not self._waiting:
            return self._timed(work)
        if not admitted and self._waiting >= self.queue and (wait_s or self._slots.locked()):
            await self.refuse()
        await self._wait(wait_s, gone)
        try:
            if quick:
                return self._timed(work)
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._in_worker, work)
        finally:
            self._slots.release()

    def _is_quick(self, size: int) -> bool:
        return self._inline and size <= QUICK_BYTES and self._usual_s < QUICK_S

    def at_once(self, work: Callable[[], T], size: int) -> T | None:
        """`work`'s value where it is quick and nobody waits before it; else None, and `run` is the way."""
        if self._waiting or not self._is_quick(size) or self._share.wait_s():
            return None
        return self._timed(work)

    async def refuse(self) -> NoReturn:
        """Raises Refusal (503)."""
        self._metrics.inc("http_rejected")
        await asyncio.sleep(REJECT_AWAKE_S if self._share.flow_awake else REJECT_S)
        raise Refusal(503, f"busy: {self.queue} requests wait already (--http-queue); try again", RETRY)

    async def _wait(self, wait_s: float, gone: Callable[[], Awaitable[None]] | None) -> None:
        """Until it is this request's turn: then one of the slots is its own."""
        if not wait_s and not self._slots.locked():
            await self._slots.acquire()
            return
        self._waiting += 1
        self._metrics.set("http_waiting", self._waiting)
        try:
            await self._turn(wait_s, gone)
        finally:
            self._waiting -= 1
            self._metrics.set("http_waiting", self._waiting)

    async def _turn(self, wait_s: float, gone: Callable[[], Awaitable[None]] | None) -> None:
        turn = asyncio.ensure_future(self._acquire(wait_s))
        left = asyncio.ensure_future(gone()) if gone is not None else None
        try:
            await asyncio.wait({turn, left} if left is not None else {turn}, return_when=asyncio.FIRST_COMPLETED)
            if turn.done():
                return turn.result()
        finally:
            if left is not None:
                left.cancel()
            if not turn.done():
                turn.cancel()
        self._metrics.inc("http_vanished")
        raise Refusal(400, "the client went away before its turn")

    async def _acquire(self, wait_s: float) -> None:
        await self._slots.acquire()
        try:
            while wait_s > 0:
                await asyncio.sleep(wait_s)
                wait_s = self._share.wait_s()
        except BaseException:
            self._slots.release()
            raise

    def _timed(self, work: Callable[[], T]) -> T:
        started = time.perf_counter()
        try:
            return work()
        finally:
            slower = time.perf_counter() - started > self._usual_s
            self._usual_s *= STEP if slower else 1 / STEP

    def _in_worker(self, work: Callable[[], T]) -> T:
        before = time.thread_time()
        try:
            return self._timed(work)
        finally:
            self._share.worked(time.thread_time() - before)

    def close(self) -> None:
        """Work that has begun is ended, the rest is not begun."""
        self._pool.shutdown(wait=True, cancel_futures=True)
