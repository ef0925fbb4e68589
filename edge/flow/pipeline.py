"""A sample in, results out: decode, split, preprocess, infer, postprocess. No threads, no side effects.

One payload may hold a batch. Its rows are looked at one by one, so that a bad one costs nobody else its result; the
good ones, and those of other samples that wait, run together where `together.py` finds that it pays.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from edge.data import codec, result
from edge.data.result import ModelRef, Prediction, Result, Skipped, Timing
from edge.data.sample import ModelInput, Payload, Sample
from edge.data.tensor import Tensors, dequantize, quantize
from edge.errors import SampleError
from edge.flow.together import Together
from edge.protocols import Engine, Postprocessor, Preprocessor

Watch: TypeAlias = Callable[[Result, Tensors, ModelInput], None]


class Identity(msgspec.Struct, frozen=True):
    """Who makes the results. `boot` tells two lives of the process apart."""

    device: str
    model: ModelRef
    task: str
    boot: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """One sample of a payload, ready for the engine, or the reason why it is not."""

    ready: ModelInput | None
    reason: str
    input_id: str | int | UnsetType
    preprocess_ns: int


class Pipeline:
    """Used by one thread at a time."""

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
        self._preprocess = preprocess
        self._postprocess = postprocess
        self.identity = identity
        self._reserved_id = reserved_id
        self._max_input = max_input
        self._clock_synced = clock_synced
        self._watch = watch
        self._seq = seq if seq is not None else itertools.count(1)
        self._quantized_in = {s.name: s for s in engine.inputs if s.quantization is not None}
        self._quantized_out = {s.name: s for s in engine.outputs if s.quantization is not None}
        self._compares = bool(self._quantized_in) and getattr(postprocess, "compares", False)
        self._now = now
        self._together = Together(self.infer, engine.inputs, engine.outputs, now=now)

    def process(self, sample: Sample) -> list[Result | Skipped]:
        """Every result of the sample, in order; none where a window is not full yet."""
        return self.process_all([sample])[0]

    @property
    def at_once(self) -> int:
        """How many samples `process_all` should be given at most: one, until it is known how long they take."""
        return self._together.at_once

    def process_all(self, samples: Sequence[Sample]) -> list[list[Result | Skipped]]:
        """As `process` for each, in order; their inferences together where that gives the same and is quicker."""
        work = [(sample, self.prepare(sample)) for sample in samples]
        runs = iter(self._together.run([p.ready.tensors for _, ps in work for p in ps if p.ready is not None]))
        return [
            [self._result(sample, p, *((p.reason, 0) if p.ready is None else next(runs))) for p in prepared]
            for sample, prepared in work
        ]

    def prepare(self, sample: Sample) -> list[Prepared]:
        """Decodes, splits and preprocesses. Never raises SampleError: the reason is in the value."""
        started = self._now()
        try:
            payload = self._decode(sample.payload) if isinstance(sample.payload, bytes) else sample.payload
            parts = self._preprocess.split(payload)
        except SampleError as exc:
            return [Prepared(None, str(exc), UNSET, self._now() - started)]
        found = [self._prepare_one(sample, part, payload) for part in parts]
        return [p for p in found if p is not None]

    def _decode(self, data: bytes) -> Payload:
        if len(data) > self._max_input:
            raise SampleError(f"{len(data) / 1e6:.1f} MB; at most {self._max_input / 1e6:g} MB (--max-input)")
        return codec.decode(data)

    def _prepare_one(self, sample: Sample, part: Payload, whole: Payload) -> Prepared | None:
        started = self._now()
        input_id = self._input_id(part)
        if input_id is UNSET:
            input_id = self._input_id(whole)
        try:
            ready = self._preprocess(replace(sample, payload=part))
        except SampleError as exc:
            return Prepared(None, str(exc), input_id, self._now() - started)
        if ready is None:
            return None
        return Prepared(ready, "", input_id, self._now() - started)

    def _input_id(self, part: Payload) -> str | int | UnsetType:
        if self._reserved_id and isinstance(part, Mapping):
            found = part.get("id", UNSET)
            if isinstance(found, (str, int)) and not isinstance(found, bool):
                return found
        return UNSET

    def infer(self, tensors: Tensors) -> dict[str, Any]:
        """Real values in, real values out: what the model holds quantised is scaled on the way."""
        if self._quantized_in:
            tensors = {n: self._to_native(n, a) for n, a in tensors.items()}
        outputs = self._engine.infer(tensors)
        for name, spec in self._quantized_out.items():
            outputs[name] = dequantize(outputs[name], spec)
        return outputs

    def _real(self, given: ModelInput) -> ModelInput:
        """The input as its outputs are: what a preprocessor made quantised is scaled back."""
        real = {
            n: dequantize(a, self._quantized_in[n]) if n in self._quantized_in and a.dtype.kind in "iu" else a
            for n, a in given.tensors.items()
        }
        return replace(given, tensors=real)

    def _to_native(self, name: str, array: Any) -> Any:
        spec = self._quantized_in.get(name)
        return quantize(array, spec) if spec is not None and array.dtype.kind == "f" else array

    def _result(self, sample: Sample, p: Prepared, outputs: Tensors | str, infer_ns: int) -> Result | Skipped:
        if isinstance(outputs, str) or p.ready is None:
            return self.skipped(sample, outputs if isinstance(outputs, str) else p.reason, p.input_id)
        started = self._now()
        try:
            predictions = self._postprocess(outputs, self._real(p.ready) if self._compares else p.ready)
        except SampleError as exc:
            return self.skipped(sample, str(exc), p.input_id)
        made = self._assemble(sample, p, predictions, (infer_ns, self._now() - started))
        if self._watch is not None:
            self._watch(made, outputs, p.ready)
        return made

    def _assemble(
        self, sample: Sample, p: Prepared, predictions: Sequence[Prediction], spent_ns: tuple[int, int]
    ) -> Result:
        seq, result_id = self._next_id()
        return Result(
            schema=result.SCHEMA,
            id=result_id,
            time=timestamp(sample.time_ns),
            clock_synced=self._clock_synced(),
            device=self.identity.device,
            model=self.identity.model,
            source=sample.source,
            seq=seq,
            task=self.identity.task,
            predictions=list(predictions),
            timing_ms=Timing(_ms(p.preprocess_ns), _ms(spent_ns[0]), _ms(spent_ns[1])),
            input_id=p.input_id,
        )

    def skipped(self, sample: Sample, reason: str, input_id: str | int | UnsetType = UNSET) -> Skipped:
        """What is published on `error` for a sample that could not be used."""
        seq, result_id = self._next_id()
        return Skipped(
            schema=result.SCHEMA,
            id=result_id,
            time=timestamp(sample.time_ns),
            device=self.identity.device,
            model=self.identity.model.name,
            source=sample.source,
            seq=seq,
            reason=reason,
            input_id=input_id,
        )

    def _next_id(self) -> tuple[int, str]:
        seq = next(self._seq)
        who = self.identity
        return seq, f"{who.device}/{who.model.name}/{who.boot}/{seq}"


def _ms(ns: int) -> float:
    return round(ns / 1e6, 3)


def timestamp(time_ns: int) -> str:
    """RFC 3339 in UTC, to the microsecond."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"
