"""Parts to results on this machine, in several processes, each with a session of its own.

Not threads: pictures are decoded and texts read under the interpreter's lock. A process that dies takes no part with it
but the one under way, which has no name yet; where the first one dies the others end by themselves.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event

from edge.errors import FatalError, SourceError
from edge.score.local import Job, Worker, open_worker, unread
from edge.score.plan import Part
from edge.telemetry import memory

LOOK_S = 0.2
"""How often it is told how far the processes are."""


class Stopped(Exception):  # noqa: N818 - the name of a condition
    """The run is to end: what is under way is given up."""


def run(job: Job, parts: Mapping[int, Part], workers: int, tell: Callable[[int], None]) -> list[SourceError]:
    """Makes these parts; returns why some could not be read. `tell`: how many more rows are done. Raises FatalError."""
    context = multiprocessing.get_context("spawn")
    done, stop = context.Value("q", 0), context.Event()
    failed: list[SourceError] = []
    told = 0
    with ProcessPoolExecutor(workers, context, _begin, (job, done, stop)) as pool:
        waiting: set[Future[SourceError | None]] = {pool.submit(_make, n, part) for n, part in parts.items()}
        try:
            while waiting:
                ended, waiting = wait(waiting, LOOK_S, FIRST_COMPLETED)
                failed += [exc for future in ended if (exc := future.result()) is not None]
                told, before = done.value, told
                tell(told - before)
        except BrokenProcessPool as exc:
            raise FatalError(
                "a process was killed, perhaps for want of memory; fewer --workers, and --resume goes on"
            ) from exc
        finally:
            stop.set()
            # And waits: one that still begins needs `done` and `stop`, and would tell a traceback without them.
            pool.shutdown(cancel_futures=True)
    return failed


_worker: Worker | None = None
_done: Synchronized[int] | None = None
_stop: Event | None = None


def _begin(job: Job, done: Synchronized[int], stop: Event) -> None:
    """In each process, once."""
    global _worker, _done, _stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process tells the others
    _end_with_parent()
    memory.keep_freed()
    _worker, _done, _stop = open_worker(job), done, stop


def _make(number: int, part: Part) -> SourceError | None:
    assert _worker is not None
    return unread(_worker, number, part, _tell)


def _tell(rows: int) -> None:
    assert _done is not None
    assert _stop is not None
    if _stop.is_set():
        raise Stopped
    with _done.get_lock():
        _done.value += rows


def _end_with_parent() -> None:
    """A pool's process does not see by itself that the first one was killed: it waits for work for ever."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        assert parent is not None
        wait_for([parent.sentinel])
        os._exit(1)

    if parent is not None:
        threading.Thread(target=watch, name="parent", daemon=True).start()
