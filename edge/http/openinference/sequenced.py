"""`infer` for a model with states: a client holds them itself, or names the sequence whose they are.

A request without `sequence_id` gives every input, the states among them, and gets every output: nothing is kept. One
with it leaves the states out: they begin as zeros, and go from one request of the sequence to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from edge.http import sequences
from edge.http.http_types import Response
from edge.http.openinference.protocol import Inference
from edge.plugins.protocols import Clock


class SequencedInference:
    """The one worker's that runs such a model."""

    def __init__(self, stateless: Inference, make: Callable[[], Inference], clock: Clock) -> None:
        """`make` makes one with states of its own."""
        self._stateless = stateless
        self._sequences = sequences.Sequences(make, clock)

    def answer(self, body: bytes, headers: Mapping[bytes, bytes], arrived_ns: int) -> Response:
        """As `Inference`'s. Raises SampleError."""
        with self.turn(self._stateless.parameters(body, headers)) as inference:
            return inference.answer(body, headers, arrived_ns)

    @contextmanager
    def turn(self, parameters: Mapping[str, Any]) -> Iterator[Inference]:
        """What answers a request with such parameters. Raises Refusal."""
        sequence = sequences.of(parameters)
        if sequence is None:
            yield self._stateless
            return
        with self._sequences.turn(sequence) as inference:
            yield inference
