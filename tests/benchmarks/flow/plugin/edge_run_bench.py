"""The source of the benchmark, as a stranger's plug-in: `bench:frames@10x500` gives 500 frames, ten a second.

A rate of 0: as fast as they are read. The rivals read from the same generator, so nobody decodes anything.
"""

from __future__ import annotations

import time
from typing import Any

from things import Paced, parse

from edge.data.sample import Image, Sample
from edge.errors import EndOfStream
from edge.plugins.contexts import SourceContext
from edge.plugins.declarations import SourceInfo


class BenchSource:
    """Live where it has a rate, as a camera is."""

    def __init__(self, spec: str) -> None:
        self._spec = spec
        self.live = parse(spec)[1] > 0
        self.ready = not self.live
        self._things: Any = iter(())

    def open(self) -> None:
        self._things = iter(Paced(self._spec))

    def read(self, timeout_s: float) -> Sample:
        try:
            thing = next(self._things)
        except StopIteration:
            raise EndOfStream(self._spec) from None
        payload = thing if isinstance(thing, list) else Image(thing)
        return Sample(payload, "bench", time.monotonic_ns(), time.time_ns())

    def ack(self, sample: Sample) -> None:
        """Nobody waits for it."""

    def close(self) -> None:
        """Nothing to close."""


def create(rest: str, context: SourceContext) -> BenchSource:
    return BenchSource(rest)


SOURCE = SourceInfo(edge_api=1, create=create)
