"""Memories of a model that remembers, one for each sequence of requests: strangers never share one.

A sequence is begun by `sequence_start`, told apart by `sequence_id` and ended by `sequence_end`, as Triton's clients do
it. One that was idle for `IDLE_S` is forgotten, and a request that goes on with it is told so, for a memory that was
lost must not be taken for one that is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import msgspec

from edge.data.units import SECOND_NS
from edge.http.http_types import RETRY, Refusal
from edge.plugins.protocols import Clock

T = TypeVar("T")

SEQUENCES_MOST = 64
IDLE_S = 300
ID_MOST = 128
"""Characters of an id."""


class Sequence(msgspec.Struct, frozen=True):
    """What a request says of its sequence."""

    id: str
    start: bool = False
    end: bool = False


def of(parameters: Mapping[str, Any]) -> Sequence | None:
    """From parameters of a request; None where it belongs to no sequence. Raises Refusal."""
    given = parameters.get("sequence_id")
    start, end = (_flag(parameters, name) for name in ("sequence_start", "sequence_end"))
    if given is None or given in ("", 0):
        if start or end:
            raise Refusal(400, "sequence_start and sequence_end belong to a sequence_id")
        return None
    if isinstance(given, bool) or not isinstance(given, (int, str)) or len(str(given)) > ID_MOST:
        raise Refusal(400, f"sequence_id is a number or a text of at most {ID_MOST} characters")
    return Sequence(str(given), start, end)


FLAGS: Mapping[object, bool] = {None: False, "": False, "0": False, "false": False, "1": True, "true": True}
"""Beside true and false themselves: as a query says it."""


def _flag(parameters: Mapping[str, Any], name: str) -> bool:
    value = parameters.get(name)
    if isinstance(value, bool):
        return value
    if not isinstance(value, (str, type(None))) or value not in FLAGS:
        raise Refusal(400, f"{name} is true or false, not {str(value)[:30]!r}")
    return FLAGS[value]


class Sequences(Generic[T]):
    """`make` makes a memory of its own. The one worker's that runs such a model."""

    def __init__(self, make: Callable[[], T], clock: Clock) -> None:
        self._make = make
        self._clock = clock
        self._known: dict[str, tuple[T, int]] = {}
        """By id, the longest idle first, with the time of the last request."""

    @contextmanager
    def turn(self, sequence: Sequence | None) -> Iterator[T]:
        """The sequence's memory, or one for this request alone. Raises Refusal: 400, 503."""
        if sequence is None:
            yield self._make()
            return
        now = self._clock.monotonic_ns()
        self._forget(now)
        memory = self._begin(sequence) if sequence.start else self._go_on(sequence)
        try:
            yield memory
        finally:
            if not sequence.end:
                self._known[sequence.id] = memory, now

    def _forget(self, now: int) -> None:
        for name, (_, used_ns) in tuple(self._known.items()):
            if now - used_ns <= IDLE_S * SECOND_NS:
                break
            del self._known[name]

    def _begin(self, sequence: Sequence) -> T:
        self._known.pop(sequence.id, None)
        if len(self._known) >= SEQUENCES_MOST:
            raise Refusal(503, f"{SEQUENCES_MOST} sequences are under way; end one, or try again", RETRY)
        return self._make()

    def _go_on(self, sequence: Sequence) -> T:
        state = self._known.pop(sequence.id, None)
        if state is None:
            raise Refusal(
                400, f"the sequence {sequence.id!r} is not under way (it has ended, or was idle for {IDLE_S} s): "
                "begin it with sequence_start"
            )  # fmt: skip
        return state[0]
