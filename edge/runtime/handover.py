"""What takes microseconds runs where its result goes to.

To wake a thread for an input, and another for its result, costs time, each a cold start; and two threads that both have
something to do take the interpreter from each other. So where one loop sends all results the infer thread hands the
inference over to it, and waits. Two kinds of inputs are worth it:

- rows of a model of microseconds, which the loop reads itself: from its connection, or where all are there already;
- frames that the capture thread reads, while they come more slowly than the model takes, and it takes milliseconds. The
  capture thread wakes the loop then.

It is taken back from a model that has become slow, for the loop has a connection to keep alive; from frames that do not
leave it idle, for the infer and the network thread get further side by side; and at the end. Data goes the same way in
all cases, and the inference has one owner at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from queue import SimpleQueue

from edge.delivery.outbox import Outbox
from edge.plugins.protocols import Clock, Loop
from edge.runtime.frame_queue import Closed
from edge.runtime.inference import Inference
from edge.runtime.publisher import LOOK_AGAIN_S
from edge.telemetry.priority import come_forward, stand_back

QUICK_NS = 500_000
"""Of the engine for one sample: as long as it takes to wake a thread on a small board, and to find its caches cold."""
SLOW_NS = 4 * QUICK_NS
FRAME_NS = 20_000_000
"""The same for a frame: the broker waits no longer for an answer."""
QUICK_TURNS = 8
"""So many quick turns, one after the other, before the inference is handed over."""


class Handover:
    """`pays` and `give` belong to the infer thread; a worker of the loop."""

    def __init__(
        self, inference: Inference, outboxes: Sequence[Outbox], loop: Loop, frames: Clock | None = None
    ) -> None:
        """The outboxes are workers of the same loop. `frames`: the capture thread reads the inputs, by this clock."""
        self._quick_ns = QUICK_NS if frames is None else FRAME_NS
        self._frames = frames
        self._done_ns = self._judged = 0
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
            quick = self._inference.pipeline.batching.each_ns < self._quick_ns and (
                self._frames is None or self._is_lone(self._frames)
            )
            self._quick = self._quick + 1 if quick else 0
        return self._quick >= QUICK_TURNS and not (self._ended or self._inference.is_long)

    def give(self) -> None:
        """The inference is the loop's until this returns."""
        self._quick = 0
        self._given = True
        if not self._ended:  # the loop may have ended before it could see that it was given something
            self._loop.waker.wake()
            self._back.get()

    def _is_lone(self, clock: Clock) -> bool:
        """Whether the last frame came after the one before was done."""
        if self._inference.turns == self._judged:
            return True
        self._judged = self._inference.turns
        done_ns, self._done_ns = self._done_ns, clock.monotonic_ns()
        return self._inference.came_ns >= done_ns

    # --- the capture thread -------------------------------------------------------------------------

    def came(self) -> None:
        """A frame, or their end, is there."""
        if self._given:
            self._loop.waker.wake()

    # --- the loop's thread --------------------------------------------------------------------------

    def turn(self) -> float:
        """A turn of the inference, where it is here and the outboxes have room."""
        if not self._given:
            return LOOK_AGAIN_S
        if not self._taken:
            self._taken = True
            self._inference.moved(into_loop=True)
            come_forward()
        for outbox in self._outboxes:
            if not outbox.room():
                self._inference.beat()
                return LOOK_AGAIN_S  # woken before, where it gets room
        try:
            more = self._inference.turn(0.0)
        except Closed:
            self._give_back()
            return LOOK_AGAIN_S
        slow = self._inference.pipeline.batching.each_ns > SLOW_NS // QUICK_NS * self._quick_ns
        if slow or self._inference.is_long or (self._frames is not None and not self._is_lone(self._frames)):
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
