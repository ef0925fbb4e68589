"""Several samples in one inference, where that gives the same and is quicker.

A call into an engine costs some ten microseconds beside the inference: for a small model as much again. So samples
that wait anyway run together, as many as take a few milliseconds; a large model runs alone, for its results would
only come later. Whether a model keeps its rows apart is not believed but tried (`neighbours.py`): the first time, the
first row and the last run alone as well, and where they differ all run alone from then on. What ran alone is looked at
together all the same, where a model of one row gives one row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from edge.data.tensor import Tensors, TensorSpec
from edge.errors import SampleError
from edge.pipeline.neighbours import keeps_apart, same

MAX_BATCH = 64
TOGETHER_NS = 4_000_000
"""How long an inference of several samples may take: what its first sample waits for the others."""


Ran: TypeAlias = tuple[Tensors | str, int, int]
"""Of one inference: the outputs of some samples, or why there are none; how many; nanoseconds for each."""


class Batching:
    """Used by one thread."""

    def __init__(
        self,
        infer: Callable[[Tensors], dict[str, Any]],
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        now: Callable[[], int] = time.perf_counter_ns,
        joins: bool = True,
    ) -> None:
        """`infer` runs the model. `joins`: as far as it is known, rows may run together. `now` gives nanoseconds, of
        which differences count."""
        self._infer = infer
        self._now = now
        self._outputs = tuple(outputs)
        self._free = joins and bool(inputs) and all(s.free_batch for s in (*inputs, *outputs))
        self._stacks = all(s.shape is not None and s.shape[:1] == (1,) for s in outputs)
        self._proven = False
        self.each_ns = 0
        """How long the last sample took; 0 before the first."""
        self._most = MAX_BATCH
        self.at_once = 1
        """How many samples may be taken on together without the first waiting long for the last."""

    def bound(self, most: int) -> None:
        """No more than so many are worth taking on together, however quick the model is."""
        self._most = most
        self.at_once = min(self.at_once, most)

    def run(self, samples: Sequence[Tensors]) -> list[Ran]:
        """The inferences of the samples, in order."""
        done: list[Ran] = []
        at = 0
        while at < len(samples):
            some = samples[at : at + self.at_once]
            at += len(some)
            started = self._now()
            together = self._infer_together(some) if self._free and len(some) > 1 else None
            each = [together] if together is not None else [self._alone(tensors) for tensors in some]
            each_ns = (self._now() - started) // len(some)
            if not isinstance(each[-1], str):
                self.each_ns = max(1, each_ns)
                self.at_once = min(self._most, max(1, TOGETHER_NS // self.each_ns))
            if len(each) > 1 and (beside := self._side_by_side(each)) is not None:
                each = [beside]
            done += [(outputs, len(some) // len(each), each_ns) for outputs in each]
        return done

    def _alone(self, tensors: Tensors) -> Tensors | str:
        try:
            return self._infer(tensors)
        except SampleError as exc:
            return str(exc)

    def _side_by_side(self, each: Sequence[Tensors | str]) -> Tensors | None:
        """The outputs of samples that ran alone as if they had run together, so that they are looked at together; None
        where they cannot be."""
        arrays = [outputs for outputs in each if not isinstance(outputs, str)]
        if not self._stacks or len(arrays) < len(each):
            return None
        try:
            return {s.name: np.concatenate([o[s.name] for o in arrays]) for s in self._outputs}
        except ValueError:
            return None  # what they give has the size of what they were given

    def _infer_together(self, samples: Sequence[Tensors]) -> Tensors | None:
        """The outputs of all, or None where these have to run alone."""
        try:
            joined = {n: np.concatenate([t[n] for t in samples]) for n in samples[0]}
        except ValueError:
            return None  # they differ in shape
        return self._infer_joined(joined, len(samples))

    def rows(self, tensors: Tensors, count: int, most: int) -> list[Tensors] | None:
        """The outputs of `count` rows that lie together already, `most` in one inference however long it takes, to be
        `joined`; None where they have to run alone, or one of them is bad."""
        done: list[Tensors] = []
        for start in range(0, count, most):
            end = min(start + most, count)
            some = {n: v[start:end] for n, v in tensors.items()}
            outputs = self._infer_joined(some, end - start) if self._free else None
            if outputs is None:
                return None
            done.append(outputs)
        return done

    def joined(self, done: Sequence[Tensors]) -> Tensors | None:
        """Of several inferences, as of one; None where they cannot be joined, or there is none."""
        if len(done) == 1:
            return done[0]
        arrays = all(isinstance(v, np.ndarray) for v in done[0].values()) if done else False
        return {s.name: np.concatenate([d[s.name] for d in done]) for s in self._outputs} if arrays else None

    def _infer_joined(self, joined: Tensors, count: int) -> Tensors | None:
        try:
            outputs = self._infer(joined)
        except (SampleError, ValueError):
            return None  # one of them is bad
        if any(len(outputs[s.name]) != count for s in self._outputs):
            self._free = False
            return None
        if not self._proven and not self._prove(outputs, count, joined):
            self._free = False
            return None
        self._proven = True
        return outputs

    def _prove(self, outputs: Tensors, count: int, joined: Tensors) -> bool:
        """Whether the first row and the last one give alone what they gave among the others."""
        first, last = ({n: v[at : at + 1] for n, v in joined.items()} for at in (0, count - 1))
        alone = self._infer(first)
        alike = same(row(outputs, 0), alone) and same(row(outputs, count - 1), self._infer(last))
        return alike and keeps_apart(self._infer, first, alone)


def row(outputs: Tensors, at: int) -> Tensors:
    """The outputs of one of several samples, with the batch dimension."""
    return {name: values[at : at + 1] for name, values in outputs.items()}
