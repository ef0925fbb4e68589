"""A sample in, results out: prepare, infer, postprocess. No thread and no socket; it keeps what a window, a running
state of the model and the numbers of results need.

Samples that wait run together where `batching.py` finds that it pays; so does a batch in one payload.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import msgspec

from edge.data.result import Prediction, Result, Skipped
from edge.data.sample import ModelInput, Sample
from edge.data.tensor import Tensors
from edge.errors import SampleError
from edge.pipeline.batching import Batching, BatchOutput
from edge.pipeline.neighbours import may_join
from edge.pipeline.prepare import Preparation, Prepared, Work
from edge.pipeline.real_values import RealValues
from edge.pipeline.results import Identity, ResultBuilder, timing
from edge.plugins.protocols import (
    BatchPostprocessor,
    ComparingPostprocessor,
    Engine,
    FreePreprocessor,
    Postprocessor,
    Preprocessor,
    RememberingEngine,
)

Watch: TypeAlias = Callable[[Result, Tensors, ModelInput], None]


class Inferred(msgspec.Struct, frozen=True):
    """Works, what was ready among their parts, and what the model gave for it."""

    works: Sequence[Work]
    ready: Sequence[ModelInput]
    outputs: Sequence[BatchOutput]


class Decoded(msgspec.Struct, frozen=True):
    """What the model found in one input, or the reason why nothing; the outputs where they are watched."""

    predictions: Sequence[Prediction] | str
    infer_ns: int
    postprocess_ns: int = 0
    outputs: Tensors | None = None


class Pipeline:
    """`prepare` from any thread; the rest from one at a time, but for `finish`, which may be another's."""

    def __init__(
        self,
        engine: Engine,
        preprocess: Preprocessor,
        postprocess: Postprocessor,
        identity: Identity,
        *,
        reserved_id: bool = True,
        max_input: int = 32_000_000,
        clock_synced: Callable[[], bool] = lambda: True,
        seq: Iterator[int] | None = None,
        watch: Watch | None = None,
        now: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """`seq` numbers the results; pipelines of one boot share it, so that no two results have one `id`. `watch`
        is shown each result with the outputs that it was made of. `now` gives nanoseconds, of which differences
        count."""
        self._model = engine
        self._engine = RealValues(engine)
        self.infer = self._engine.infer
        """One inference, real values in and out."""
        self._postprocess = postprocess
        self._batch = postprocess if isinstance(postprocess, BatchPostprocessor) else None
        compares = isinstance(postprocess, ComparingPostprocessor) and postprocess.compares
        self._compares = compares and self._engine.quantized_input
        self._watch = watch
        self._now = now
        self._free = isinstance(preprocess, FreePreprocessor)
        self._prepare = Preparation(preprocess, reserved_id=reserved_id, max_input=max_input, now=now)
        self.ahead = self._prepare.ahead
        """Whether it pays to prepare a sample in another thread while the model runs."""
        self._batching = Batching(self.infer, engine.inputs, engine.outputs, now=now, joins=may_join(engine))
        self.identity = identity
        self._results = ResultBuilder(identity, clock_synced, seq)
        self.skipped = self._results.skipped

    def process(self, sample: Sample) -> list[Result | Skipped]:
        """Every result of the sample, in order; none where a window is not full yet."""
        return [found for piece in self.pieces(sample) for found in self.run([piece])[0]]

    def pieces(self, sample: Sample) -> Iterator[Work]:
        """The sample prepared, a batch in as many pieces as it takes; each is run before the next is asked for."""
        work: Work | None = self.prepare([sample])[0]
        while work is not None:
            yield work
            work = self.next(work) if work.rest is not None else None

    @property
    def at_once(self) -> int:
        """How many samples `run` should be given at most: one, until it is known how long they take."""
        return self._batching.at_once

    def prepare(self, samples: Sequence[Sample]) -> list[Work]:
        """Decodes, splits and preprocesses; of a batch only the first piece, see `next`.

        Never raises SampleError: the reason is in the value."""
        return self._prepare(samples, self.at_once)

    def next(self, work: Work, leave_out: str = "") -> Work:
        """The next piece of a batch that has a `rest`. `leave_out`: why that piece is not to be run."""
        if leave_out:
            return self._prepare.leave_out(work, leave_out)
        return self._prepare.next(work, self.at_once)

    @property
    def free(self) -> bool:
        """Whether other samples may run between those of one batch: nothing is kept from sample to sample."""
        return self._free and not (isinstance(self._model, RememberingEngine) and self._model.remembers)

    def run(self, works: Sequence[Work]) -> list[list[Result | Skipped]]:
        """The results of each, in order."""
        return self.finish(self.infer_all(works))

    def infer_all(self, works: Sequence[Work]) -> Inferred:
        """Runs the model for all that is ready; together where that gives the same and is quicker."""
        ready = [p.ready for work in works for p in work.parts if p.ready is not None]
        return Inferred(works, ready, self._batching.run([r.tensors for r in ready]))

    def finish(self, inferred: Inferred) -> list[list[Result | Skipped]]:
        """The results of each work, in order. May be called by another thread than `infer_all`, in the same order."""
        decoded: list[Decoded] = []
        for output in inferred.outputs:
            at = len(decoded)
            decoded += self._decode(output, inferred.ready[at : at + output.count])
        synced = self._results.clock_synced()
        results, at = [], 0
        for work in inferred.works:
            outcomes: list[Result | Skipped] = []
            for part in work.parts:
                if part.ready is None:
                    outcomes.append(self.skipped(work.sample, part.reason, part.input_id))
                else:
                    outcomes.append(self._result(work.sample, part, decoded[at], synced=synced))
                    at += 1
            results.append(outcomes)
        return results

    def _decode(self, output: BatchOutput, inputs: Sequence[ModelInput]) -> list[Decoded]:
        """What the model found in each of these inputs of one inference."""
        if isinstance(output.outputs, str):
            return [Decoded(output.outputs, output.each_ns)]
        if output.count == 1:
            return [self._decode_one(output.outputs, inputs[0], output.each_ns)]
        started = self._now()
        many = self._batch.many(output.outputs, output.count) if self._batch is not None else None
        if many is None:
            return [self._decode_one(output.row(i), given, output.each_ns) for i, given in enumerate(inputs)]
        each_ns = (self._now() - started) // output.count
        watched = self._watch is not None
        return [
            Decoded(predictions, output.each_ns, each_ns, output.row(i) if watched else None)
            for i, predictions in enumerate(many)
        ]

    def _decode_one(self, outputs: Tensors, given: ModelInput, infer_ns: int) -> Decoded:
        started = self._now()
        try:
            predictions = self._postprocess(outputs, self._engine.real(given) if self._compares else given)
        except SampleError as exc:
            return Decoded(str(exc), infer_ns)
        return Decoded(predictions, infer_ns, self._now() - started, outputs)

    def _result(self, sample: Sample, part: Prepared, decoded: Decoded, *, synced: bool) -> Result | Skipped:
        if isinstance(decoded.predictions, str):
            return self.skipped(sample, decoded.predictions, part.input_id)
        times = timing(part.preprocess_ns, decoded.infer_ns, decoded.postprocess_ns)
        result = self._results.result(sample, decoded.predictions, times, synced=synced, input_id=part.input_id)
        if self._watch is not None and part.ready is not None:
            self._watch(result, decoded.outputs or {}, part.ready)
        return result
