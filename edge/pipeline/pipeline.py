"""A sample in, results out: prepare, infer, postprocess. No threads, no side effects.

Samples that wait run together where `together.py` finds that it pays; so does a batch in one payload.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import msgspec

from edge.data.result import Prediction, Result, Skipped
from edge.data.sample import ModelInput, Sample
from edge.data.tensor import Tensors, dequantize, quantize
from edge.errors import SampleError
from edge.pipeline.batching import Ran, Together
from edge.pipeline.neighbours import may_join
from edge.pipeline.prepare import Preparation, Prepared, Work
from edge.pipeline.results import Identity, Spent, Writer
from edge.plugins.protocols import (
    AheadPreprocessor,
    BatchPostprocessor,
    ComparingPostprocessor,
    Engine,
    Postprocessor,
    Preprocessor,
)

Watch: TypeAlias = Callable[[Result, Tensors, ModelInput], None]


class Inferred(msgspec.Struct, frozen=True):
    """Works, what was ready among their parts, and what the model gave for it."""

    works: Sequence[Work]
    ready: Sequence[ModelInput]
    runs: Sequence[Ran]


class _Found(msgspec.Struct, frozen=True):
    """What the model said of one input, or why it said nothing."""

    predictions: Sequence[Prediction]
    reason: str
    outputs: Tensors
    infer_ns: int
    postprocess_ns: int


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
        self._engine = engine
        self._postprocess = postprocess
        self.identity = identity
        self.ahead = isinstance(preprocess, AheadPreprocessor) and preprocess.ahead
        """Whether it pays to prepare a sample in another thread while the model runs."""
        self._watch = watch
        self._quantized_in = {s.name: s for s in engine.inputs if s.quantization is not None}
        self._quantized_out = {s.name: s for s in engine.outputs if s.quantization is not None}
        compares = isinstance(postprocess, ComparingPostprocessor) and postprocess.compares
        self._compares = bool(self._quantized_in) and compares
        self._many = postprocess.many if isinstance(postprocess, BatchPostprocessor) else None
        self._now = now
        self._prepare = Preparation(preprocess, reserved_id=reserved_id, max_input=max_input, now=now)
        self._together = Together(self.infer, engine.inputs, engine.outputs, now=now, joins=may_join(engine))
        self._write = Writer(identity, clock_synced, seq)
        self.skipped = self._write.skipped

    def process(self, sample: Sample) -> list[Result | Skipped]:
        """Every result of the sample, in order; none where a window is not full yet."""
        return self.run(self.prepare([sample]))[0]

    @property
    def at_once(self) -> int:
        """How many samples `run` should be given at most: one, until it is known how long they take."""
        return self._together.at_once

    def prepare(self, samples: Sequence[Sample]) -> list[Work]:
        """Decodes, splits and preprocesses. Never raises SampleError: the reason is in the value."""
        return self._prepare(samples)

    def run(self, works: Sequence[Work]) -> list[list[Result | Skipped]]:
        """The results of each, in order."""
        return self.finish(self.infer_all(works))

    def infer_all(self, works: Sequence[Work]) -> Inferred:
        """Runs the model for all that is ready; together where that gives the same and is quicker."""
        ready = [p.ready for work in works for p in work.parts if p.ready is not None]
        return Inferred(works, ready, self._together.run([r.tensors for r in ready]))

    def finish(self, inferred: Inferred) -> list[list[Result | Skipped]]:
        """The results of each work, in order. May be called by another thread than `infer_all`, in the same order."""
        found = self._decode_all(inferred)
        synced = self._write.clock_synced()
        return [[self._outcome(work.sample, p, found, synced=synced) for p in work.parts] for work in inferred.works]

    def infer(self, tensors: Tensors) -> dict[str, Any]:
        """Real values in, real values out: what the model holds quantised is scaled on the way."""
        if self._quantized_in:
            tensors = {n: self._to_native(n, a) for n, a in tensors.items()}
        outputs = self._engine.infer(tensors)
        for name, spec in self._quantized_out.items():
            outputs[name] = dequantize(outputs[name], spec)
        return outputs

    def _to_native(self, name: str, array: Any) -> Any:
        spec = self._quantized_in.get(name)
        return quantize(array, spec) if spec is not None and array.dtype.kind == "f" else array

    def _decode_all(self, inferred: Inferred) -> Iterator[_Found]:
        at = 0
        for ran in inferred.runs:
            yield from self._decode(ran, inferred.ready[at : at + ran.count])
            at += ran.count

    def _decode(self, ran: Ran, given: Sequence[ModelInput]) -> Iterator[_Found]:
        if isinstance(ran.outputs, str):
            return iter([_Found((), ran.outputs, {}, ran.each_ns, 0)])
        if ran.count == 1:
            return iter([self._decode_one(ran.outputs, given[0], ran.each_ns)])
        started = self._now()
        many = self._many(ran.outputs, ran.count) if self._many is not None else None
        if many is None:
            return (self._decode_one(ran.row(i), g, ran.each_ns) for i, g in enumerate(given))
        each_ns = (self._now() - started) // ran.count
        return (_Found(p, "", ran.row(i) if self._watch else {}, ran.each_ns, each_ns) for i, p in enumerate(many))

    def _decode_one(self, outputs: Tensors, given: ModelInput, infer_ns: int) -> _Found:
        started = self._now()
        try:
            predictions = self._postprocess(outputs, self._real(given) if self._compares else given)
        except SampleError as exc:
            return _Found((), str(exc), {}, infer_ns, 0)
        return _Found(predictions, "", outputs, infer_ns, self._now() - started)

    def _real(self, given: ModelInput) -> ModelInput:
        """The input as its outputs are: what a preprocessor made quantised is scaled back."""
        real = {
            n: dequantize(a, self._quantized_in[n]) if n in self._quantized_in and a.dtype.kind in "iu" else a
            for n, a in given.tensors.items()
        }
        return msgspec.structs.replace(given, tensors=real)

    def _outcome(self, sample: Sample, p: Prepared, turn: Iterator[_Found], *, synced: bool) -> Result | Skipped:
        if p.ready is None:
            return self._write.skipped(sample, p.reason, p.input_id)
        found = next(turn)
        if found.reason:
            return self._write.skipped(sample, found.reason, p.input_id)
        spent = Spent(p.preprocess_ns, found.infer_ns, found.postprocess_ns)
        made = self._write.result(sample, found.predictions, spent, synced=synced, input_id=p.input_id)
        if self._watch is not None:
            self._watch(made, found.outputs, p.ready)
        return made
