"""A model of microseconds runs where its inputs come from and its results go to.

To wake a thread for a lone input, and another for its result, costs more than such a model. So where one loop reads
the source and sends all results, the infer thread hands the inference over to it, and waits. It takes it back from a
model that has become slow, for the loop has a connection to keep alive, and at the end. Data goes the same way in both
cases, and the inference has one owner at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from queue import SimpleQueue

from edge.delivery.outbox import Outbox
from edge.plugins.protocols import Loop
from edge.runtime.frame_queue import Closed
from edge.runtime.inference import Inference
from edge.runtime.publisher import LOOK_AGAIN_S
from edge.telemetry.priority import come_forward, stand_back

QUICK_NS = 500_000
"""Of the engine for one sample: as long as it takes to wake a thread on a small board, and to find its caches cold."""
SLOW_NS = 4 * QUICK_NS
QUICK_TURNS = 8
"""So many quick turns, one after the other, before the inference is handed over."""


class Handover:
    """`pays` and `give` belong to the infer thread; a worker of the loop."""

    def __init__(self, inference: Inference, outboxes: Sequence[Outbox], loop: Loop) -> None:
        """The outboxes are workers of the same loop."""
        self._inference = inference
        self._outboxes = outboxes
        self._loop = loop
        self._back: SimpleQueue[None] = SimpleQueue()
        self._turns = self._quick = 0
        self._given = self._taken = self._ended = False
        loop.attach(self, first=True)

    # --- the infer thread ---------------------------------------------------------------------------

    def pays(self) -> bool:
        """After each turn: whether the loop should run the next one."""
        if self._inference.turns != self._turns:
            self._turns = self._inference.turns
            self._quick = self._quick + 1 if self._inference.each_ns < QUICK_NS else 0
        return self._quick >= QUICK_TURNS and not (self._ended or self._inference.is_long)

    def give(self) -> None:
        """The inference is the loop's until this returns."""
        self._quick = 0
        self._given = True
        if not self._ended:  # the loop may have ended before it could see that it was given something
            self._loop.waker.wake()
            self._back.get()

    # --- the loop's thread --------------------------------------------------------------------------

    def turn(self) -> float:
        """A turn of the inference, where it is here and the outboxes have room."""
        if not self._given:
            return LOOK_AGAIN_S
        if not self._taken:
            self._taken = True
            self._inference.moved(into_loop=True)
            come_forward()
        if not all(outbox.room() for outbox in self._outboxes):
            self._inference.beat()
            return LOOK_AGAIN_S  # woken before, where one of them gets room
        try:
            more = self._inference.turn(0.0)
        except Closed:
            self._give_back()
            return LOOK_AGAIN_S
        if self._inference.each_ns > SLOW_NS or self._inference.is_long:
            self._give_back()
        return 0.0 if more else self._inference.due_s

    def end(self) -> None:
        """The loop has ended."""
        self._ended = True
        self._give_back()

    def _give_back(self) -> None:
        if self._given:
            self._given = self._taken = False
            self._inference.moved(into_loop=False)
            stand_back()
            self._back.put(None)
