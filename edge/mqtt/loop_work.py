"""What the session's thread does for others between reading and writing: their calls, and its workers' turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from edge.errors import FatalError
from edge.plugins.protocols import FallibleWorker, LoopWorker

LOOK_AGAIN_S = 0.5
"""How long the thread waits at most: it has to beat."""


class LoopWork:
    """`calls` may be appended to from any thread; the rest belongs to the session's, or comes before it runs."""

    def __init__(self) -> None:
        self.calls: deque[Callable[[], None]] = deque()
        self.due_s = 0.0
        """Seconds after which the next turn is due."""
        self._workers: list[LoopWorker] = []

    def attach(self, worker: LoopWorker, *, first: bool) -> None:
        self._workers.insert(0 if first else len(self._workers), worker)

    def turn(self) -> None:
        """Does what other threads asked for, and gives each worker its turn."""
        calls, due_s = self.calls, LOOK_AGAIN_S
        for _ in range(len(calls)):
            calls.popleft()()
        for worker in tuple(self._workers):
            try:
                due_s = min(due_s, worker.turn())
            except FatalError as exc:
                if not isinstance(worker, FallibleWorker):
                    raise
                self._workers.remove(worker)
                worker.failed(exc)
        for _ in range(len(calls)):  # what the workers asked for: acknowledgements
            calls.popleft()()
        self.due_s = 0.0 if calls else max(0.0, due_s)

    def end(self, failed: Callable[[BaseException], None]) -> None:
        """Ends each worker; `failed` with what one of them cannot be without."""
        for worker in self._workers:
            try:
                worker.end()
            except FatalError as exc:  # a state folder that cannot be used is found again while what waits is saved
                failed(exc)
