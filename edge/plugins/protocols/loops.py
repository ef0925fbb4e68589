"""Threads that wait for the network, and what has its turn in them."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from edge.errors import FatalError


class Waker(Protocol):
    """Ends another thread's wait early."""

    def wake(self) -> None:
        """From any thread. What the caller wrote before is visible to the other thread when it has woken."""


class LoopWorker(Protocol):
    """Work that a thread with a loop of its own does in turns. Belongs to that thread."""

    def turn(self) -> float:
        """Does what is due without waiting; the seconds until it wants another turn, if nothing wakes it earlier."""

    def end(self) -> None:
        """The thread ends, after an error too: there will be no other turn."""


@runtime_checkable
class FallibleWorker(LoopWorker, Protocol):
    """Capability of a worker whose fatal error is its own: the others of the loop go on."""

    def failed(self, exc: FatalError) -> None:
        """A turn has raised it: there will be no other one."""


class Loop(Protocol):
    """A thread that waits for the network, and gives its workers a turn each time it has woken."""

    @property
    def waker(self) -> Waker: ...

    def attach(self, worker: LoopWorker, *, first: bool = False) -> None:
        """Before the thread starts. An exception of a turn ends the thread and the process, but for a fatal error of a
        `FallibleWorker`.

        Workers have their turns in the order in which they were attached, but for the one that is to be `first`: it
        makes what others send.
        """


@runtime_checkable
class LoopSource(Protocol):
    """Capability of a source whose samples come in a thread with a loop.

    Where the outboxes are workers of the same loop, and the model takes microseconds, `read` is called in that thread
    too, with no time to wait: at any moment by one thread.
    """

    loop: Loop


@runtime_checkable
class LoopSink(Protocol):
    """Capability of a sink that has a thread of its own: its outbox is that thread's worker.

    `open`, `send` and `close` are called, and `SinkEvents` are told, in that thread only: no lock is needed.
    """

    loop: Loop
