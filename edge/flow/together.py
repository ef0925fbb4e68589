"""Several samples in one inference, where that gives the same and is quicker.

A call into an engine costs some ten microseconds beside the inference: for a small model as much again. So samples
that wait anyway run together, as many as take a few milliseconds; a large model runs alone, for its results would
only come later. Whether a model keeps its rows apart is not believed but tried: the first time, the first row and the
last run alone as well, and where they differ all run alone from then on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from edge.data.tensor import Tensors, TensorSpec
from edge.errors import SampleError

MAX_BATCH = 64
TOGETHER_NS = 4_000_000
"""How long an inference of several samples may take: what its first sample waits for the others."""

RELATIVE, ABSOLUTE = 1e-4, 1e-5
"""Rows that differ by more are not kept apart. Less is rounding: sums are added up in another order."""

Run: TypeAlias = tuple[Tensors | str, int]
"""The outputs of one sample, or why there are none, and nanoseconds."""


class Together:
    """Used by one thread."""

    def __init__(
        self,
        infer: Callable[[Tensors], dict[str, Any]],
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        most: int = MAX_BATCH,
        now: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """`infer` runs the model; `most` samples at once. `now` gives nanoseconds, of which differences count."""
        self._infer = infer
        self._now = now
        self._outputs = tuple(outputs)
        self._most = most if inputs and all(s.free_batch for s in (*inputs, *outputs)) else 1
        self._proven = False
        self._each_ns = 0

    @property
    def at_once(self) -> int:
        """How many samples may be taken on together without the first waiting long for the last."""
        return min(MAX_BATCH, max(1, TOGETHER_NS // self._each_ns)) if self._each_ns else 1

    def run(self, samples: Sequence[Tensors]) -> list[Run]:
        """The run of each sample, in order."""
        runs: list[Run] = []
        while len(runs) < len(samples):
            rest = samples[len(runs) :]
            runs += self._batch(rest[: min(self._most, self.at_once)])
        return runs

    def _batch(self, samples: Sequence[Tensors]) -> list[Run]:
        started = self._now()
        rows = self._rows(samples) if len(samples) > 1 else None
        if rows is None:
            return [self._alone(tensors) for tensors in samples]
        self._each_ns = max(1, (self._now() - started) // len(samples))
        return [(row, self._each_ns) for row in rows]

    def _alone(self, tensors: Tensors) -> Run:
        started = self._now()
        try:
            outputs = self._infer(tensors)
        except SampleError as exc:
            return str(exc), 0
        spent = self._now() - started
        self._each_ns = max(1, spent)
        return outputs, spent

    def _rows(self, samples: Sequence[Tensors]) -> list[Tensors] | None:
        """The outputs by row, or None where these have to run alone."""
        count = len(samples)
        try:
            outputs = self._infer({n: np.concatenate([t[n] for t in samples]) for n in samples[0]})
        except (SampleError, ValueError):
            return None  # one of them is bad, or they differ in shape
        if any(len(outputs[s.name]) != count for s in self._outputs):
            self._most = 1
            return None
        rows: list[Tensors] = [{n: v[i : i + 1] for n, v in outputs.items()} for i in range(count)]
        if not self._proven:
            if not all(_same(rows[i], self._infer(samples[i])) for i in (0, count - 1)):
                self._most = 1
                return None
            self._proven = True
        return rows


def _same(one: Tensors, other: Tensors) -> bool:
    for name, values in one.items():
        a, b = np.asarray(values), np.asarray(other[name])
        if a.shape != b.shape:
            return False
        if a.dtype.kind in "fc":
            if not np.allclose(a, b, RELATIVE, ABSOLUTE, equal_nan=True):
                return False
        elif not np.array_equal(a, b):
            return False
    return True
