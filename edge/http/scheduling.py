"""Admission to the model: the queue, the worker threads, the share of the processor beside the flow.

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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar

from edge.data.units import SECOND_NS
from edge.http.http_types import RETRY, Gone, Refusal
from edge.plugins.protocols import Clock
from edge.telemetry.metrics import Metrics

T = TypeVar("T")

QUICK_S = 0.0005
QUICK_BYTES = 16_384
STEP = 1.2
"""How much a request moves the estimate: up when it took longer, down when not. That finds the median, so that a
request which was slow because something else had the processor does not count for more than another."""
FLOW_AWAKE_NS = SECOND_NS
REJECT_S = 0.1
REJECT_AWAKE_S = 0.25
"""How long a 503 is held back, and while the flow is awake: saying no costs CPU too, and some clients ask again at
once. 256 of those left a model of 1 ms one answer in twenty."""
NICE = 10
COUNT_EVERY = 32
"""While the flow sleeps, requests cost nobody anything: their CPU time is counted now and then."""
BURST_S = 0.02
"""CPU time that requests may take at once before their share is counted."""


def lower_priority() -> None:
    """The calling thread runs when the flow's threads do not: on Linux every thread has its own niceness. A process
    that a user has niced further already stays there; coming back from that takes a right."""
    thread = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, thread, max(NICE, os.getpriority(os.PRIO_PROCESS, thread)))


class CpuBudget:
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
        self._flow_seen_ns: int | None = None
        """None: no flow has had a sample yet."""

    def flow_works(self) -> None:
        """The flow has a sample; from the flow's thread."""
        self._flow_seen_ns = self._clock.monotonic_ns()

    def worked(self, seconds: float) -> None:
        """CPU time that a worker thread has used."""
        self._workers_s += seconds

    @property
    def flow_awake(self) -> bool:
        """True while samples come, so that requests have to keep to their share."""
        seen_ns = self._flow_seen_ns
        return seen_ns is not None and self._share < 1.0 and self._clock.monotonic_ns() - seen_ns <= FLOW_AWAKE_NS

    def wait_s(self) -> float:
        """How long the next request has to wait; called by the loop's thread for each."""
        self._calls += 1
        awake = self._flow_seen_ns is not None and self.flow_awake
        if not awake and self._calls % COUNT_EVERY:
            self._owed = False
            return 0.0
        now = self._clock.monotonic_ns()
        cpu = time.thread_time_ns()
        workers_s, self._workers_s = self._workers_s, 0.0
        spent_s = (cpu - self._loop_cpu_ns) / SECOND_NS + workers_s
        passed_s = (now - self._filled_ns) / SECOND_NS
        self._loop_cpu_ns, self._filled_ns = cpu, now
        self._metrics.inc("http_cpu_s", spent_s)
        owed, self._owed = self._owed, awake
        if not awake or not owed:  # what was spent while the flow slept is not held against anybody
            self._budget_s = BURST_S
            return 0.0
        self._budget_s = min(BURST_S, self._budget_s + passed_s * self._share - spent_s)
        return max(0.0, -self._budget_s / self._share)


@dataclass(frozen=True, slots=True)
class AdmissionOptions:
    """`inline`: quick work may run in the event loop; `lowers_priority`: there is a flow, which comes first."""

    workers: int
    queue: int
    inline: bool
    lowers_priority: bool


class Admission:
    """`run` is called by the event loop; the work it is given runs there or in a worker."""

    def __init__(self, options: AdmissionOptions, budget: CpuBudget, metrics: Metrics) -> None:
        self._inline = options.inline
        self.queue = options.queue
        self.workers = options.workers
        self._budget = budget
        self._metrics = metrics
        self._waiting = 0
        self._slots = asyncio.Semaphore(options.workers)
        begin = lower_priority if options.lowers_priority else None
        self._pool = ThreadPoolExecutor(options.workers, "http-worker", initializer=begin)
        self._aside = ThreadPoolExecutor(1, "http-aside", initializer=begin)
        self._usual_s = QUICK_S * 2  # the first requests go to a thread, until it is known that they are quick
        metrics.set("http_waiting", 0)

    def learn_anew(self) -> None:
        """Another model runs: it is not known how long requests take."""
        self._usual_s = QUICK_S * 2

    async def run(
        self,
        work: Callable[[], T],
        size: int,
        gone: Gone | None = None,
        *,
        admitted: bool = False,
    ) -> T:
        """`work`'s value; `size` is that of its input in bytes, `gone` returns when nobody waits for it any more.

        Raises Refusal (503) where too many wait, but for what is `admitted`, and what `work` raises.
        """
        wait_s = self._budget.wait_s()
        quick = self._is_quick(size)
        if quick and not wait_s and not self._waiting:
            return self._timed(work)
        if not admitted and self._waiting >= self.queue and (wait_s or self._slots.locked()):
            await self.refuse()
        await self._wait(wait_s, gone)
        try:
            if quick:
                return self._timed(work)
            return await self._in_thread(self._pool, work)
        finally:
            self._slots.release()

    async def aside(self, work: Callable[[], T]) -> T:
        """What may take some milliseconds and is none of the model's work, in a thread beside; counts in the share."""
        await self.pay()
        return await self._in_thread(self._aside, work)

    async def pay(self) -> None:
        """Waits until the share of the processor has room again."""
        while (wait_s := self._budget.wait_s()) > 0:
            await asyncio.sleep(wait_s)

    def _is_quick(self, size: int) -> bool:
        return self._inline and size <= QUICK_BYTES and self._usual_s < QUICK_S

    def at_once(self, work: Callable[[], T], size: int) -> T | None:
        """`work`'s value where it is quick and nobody waits before it; else None, and `run` is the way."""
        if self._waiting or not self._is_quick(size) or self._budget.wait_s():
            return None
        return self._timed(work)

    async def refuse(self) -> NoReturn:
        """Raises Refusal (503)."""
        self._metrics.inc("http_rejected")
        await asyncio.sleep(REJECT_AWAKE_S if self._budget.flow_awake else REJECT_S)
        raise Refusal(503, f"busy: {self.queue} requests wait already (--http-queue); try again", RETRY)

    async def _wait(self, wait_s: float, gone: Gone | None) -> None:
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

    async def _turn(self, wait_s: float, gone: Gone | None) -> None:
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
                wait_s = self._budget.wait_s()
        except BaseException:
            self._slots.release()
            raise

    def _timed(self, work: Callable[[], T]) -> T:
        started = time.perf_counter()
        try:
            return work()
        finally:
            spent_s = time.perf_counter() - started
            self._usual_s *= STEP if spent_s > self._usual_s else 1 / STEP

    async def _in_thread(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        done = _Work(work)
        await asyncio.get_running_loop().run_in_executor(pool, done.run)
        self._budget.worked(done.cpu_s)
        if pool is self._pool:
            self._usual_s *= STEP if done.spent_s > self._usual_s else 1 / STEP
        return done.result()

    def close(self) -> None:
        """Work that has begun is ended, the rest is not begun."""
        for pool in (self._pool, self._aside):
            pool.shutdown(wait=True, cancel_futures=True)


class _Work(Generic[T]):
    """Work that a thread does, with what it cost; the event loop reads that when it is done."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._value: list[T] = []
        self._error: Exception | None = None
        self.cpu_s = self.spent_s = 0.0

    def run(self) -> None:
        """In the thread."""
        cpu_s, started = time.thread_time(), time.perf_counter()
        try:
            self._value.append(self._work())
        except Exception as exc:  # noqa: BLE001 - raised again in the event loop
            self._error = exc
        self.spent_s, self.cpu_s = time.perf_counter() - started, time.thread_time() - cpu_s

    def result(self) -> T:
        """After `run`, once. Raises what the work raised."""
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
            return self._value[0]
        finally:
            del error  # it holds this frame, and with it all that the work held: megabytes, until they are collected
