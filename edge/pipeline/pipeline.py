"""A sample in, results out: prepare, infer, postprocess. No thread and no socket; it keeps what a window, a running
state of the model and the numbers of results need.

Samples that wait run together where `batching.py` finds that it pays; so does a batch in one payload.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from msgspec import UNSET
from msgspec.structs import replace

from edge.data.result import Prediction, Result, Skipped
from edge.data.sample import Image, ModelInput, Sample
from edge.data.tensor import Tensors
from edge.errors import SampleError
from edge.pipeline.batching import MAX_BATCH, TOGETHER_NS, Batching, row
from edge.pipeline.neighbours import may_join
from edge.pipeline.prepare import Decoded, Preparation, Work
from edge.pipeline.real_values import RealValues
from edge.pipeline.results import ResultBuilder, timing
from edge.pipeline.stages import NO_STAGES, Stages
from edge.pipeline.table import FoundTable, TableResults, pieces
from edge.plugins.columns import ColumnPostprocessor, Table
from edge.plugins.protocols import (
    BatchPostprocessor,
    ComparingPostprocessor,
    Engine,
    Postprocessor,
    RememberingEngine,
)

FOLLOWED_MOST = 8
"""Samples whose pictures may be kept at once for what follows."""


class Pipeline:
    """`prepare` from any thread; the rest from one at a time."""

    def __init__(
        self,
        engine: Engine,
        prepare: Preparation,
        postprocess: Postprocessor,
        results: ResultBuilder,
        stages: Stages = NO_STAGES,
    ) -> None:
        self._model = engine
        self._engine = RealValues(engine)
        self.infer = self._engine.infer if self._engine.quantized else engine.infer
        """One inference, real values in and out."""
        self._postprocess = postprocess
        self._batch = postprocess if isinstance(postprocess, BatchPostprocessor) else None
        compares = isinstance(postprocess, ComparingPostprocessor) and postprocess.compares
        self._compares = compares and self._engine.quantized_input
        self._to_columns = postprocess if isinstance(postprocess, ColumnPostprocessor) else None
        self._seen = stages.any
        self._follows, self._watches, self._keep = stages.follows, stages.watches, stages.keep
        self._follow_ns = 0
        self._now = prepare.now
        self._prepare = prepare
        self.ahead = prepare.ahead
        """Whether it pays to prepare a sample in another thread while the model runs."""
        self.batching = Batching(self.infer, engine.inputs, engine.outputs, now=self._now, joins=may_join(engine))
        self.batching.bound(self.followed_at_once)
        self.identity = results.identity
        self._results = results
        self.skipped = results.skipped

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
    def followed_at_once(self) -> int:
        """How many results may be made without the first waiting long for what follows on the last."""
        if not self._follows:
            return MAX_BATCH
        return min(FOLLOWED_MOST, max(1, TOGETHER_NS // max(1, self._follow_ns)))

    def prepare(self, samples: Sequence[Sample]) -> list[Work]:
        """Decodes, splits and preprocesses; of a batch only the first piece, see `next`.

        Never raises SampleError: the reason is in the value."""
        works = self._prepare(samples, self.batching.at_once)
        return [replace(work, prepared_by=self) for work in works] if self.ahead else works

    def fits(self, work: Work) -> bool:
        """Whether `run` may have it: it was not prepared ahead for another model."""
        return work.prepared_by is None or work.prepared_by is self

    def next(self, work: Work, leave_out: str = "") -> Work:
        """The next piece of a batch that has a `rest`. `leave_out`: why that piece is not to be run."""
        if leave_out:
            return self._prepare.leave_out(work, leave_out)
        return self._prepare.next(work, self.batching.at_once)

    @property
    def free(self) -> bool:
        """Whether other samples may run between those of one batch: nothing is kept from sample to sample."""
        return self._prepare.free and not (isinstance(self._model, RememberingEngine) and self._model.remembers)

    def _infer_all(self, works: Sequence[Work]) -> list[Decoded]:
        """What the model finds in the parts that are ready. They run together where that gives the same and is
        quicker."""
        ready = [p for work in works for p in work.parts if p.reason is None]
        decoded: list[Decoded] = []
        for outputs, count, each_ns in self.batching.run([p.tensors for p in ready]):
            parts = ready[len(decoded) : len(decoded) + count]
            if isinstance(outputs, str):
                decoded += [(outputs, timing(p.preprocess_ns, each_ns, 0), {}) for p in parts]
            elif count == 1:
                decoded.append(self._decode(outputs, parts[0], each_ns))
            else:
                decoded += self._decode_all(outputs, parts, each_ns)
        return decoded

    def decoded(self, works: Sequence[Work]) -> list[Work]:
        """The works, each with what the model finds in it: another pipeline of this model makes the results."""
        found = iter(self._infer_all(works))
        return [replace(w, decoded=[next(found) for p in w.parts if p.reason is None]) for w in works]

    def run(self, works: Sequence[Work]) -> list[list[Result | Skipped]]:
        """The results of each, in order; the model runs where it has not yet.

        The works end here: the memory of their tensors is used again."""
        if works and works[0].decoded is not None:
            decoded = [found for work in works for found in work.decoded or ()]
        else:
            decoded = self._infer_all(works)
        synced = self._results.clock_synced()
        results, at = [], 0
        for work in works:
            outcomes: list[Result | Skipped] = []
            for part in work.parts:
                if part.reason is not None:
                    outcomes.append(self.skipped(work.sample, part.reason, part.input_id))
                else:
                    outcomes.append(self._result(work.sample, part, decoded[at], synced=synced))
                    at += 1
            results.append(outcomes)
        for work in works:
            for part in work.parts:
                if part.release is not None:
                    part.release()
        return results

    def columns(self, columns: Table, most: int) -> FoundTable | None:
        """Of a table, a column for each feature as `ColumnPreprocessor` has them: what is found in the rows that the
        model takes, `most` in one inference. None where this table has to go sample by sample."""
        from_columns = self._prepare.from_columns
        if from_columns is None or self._to_columns is None:
            return None
        each_taken, done = [], []
        preparing = inferring = 0
        for piece in pieces(columns, most):
            started = self._now()
            prepared = from_columns(piece)
            if prepared is None:
                return None
            tensors, taken = prepared
            ready = self._now()
            some = self.batching.rows(tensors, int(taken.sum()), most)
            if some is None:
                return None
            each_taken.append(taken)
            done += some
            preparing += ready - started
            inferring += self._now() - ready
        outputs = self.batching.joined(done)
        if outputs is None:
            return None
        taken = np.concatenate(each_taken)
        count = int(taken.sum())
        found = self._to_columns.to_columns(outputs, count)
        if found is None:
            return None
        return FoundTable(found, taken, outputs, preparing // len(taken), inferring // count)

    def table(self, sample: Sample, columns: Table, most: int) -> TableResults | None:
        """Results of a table whose rows the model takes, all of them; `sample` is what they come from. None where it
        has to go sample by sample: a row has to be refused, or each result is looked at as it is made."""
        found = None if self._seen else self.columns(columns, most)
        if found is None or not found.taken.all():
            return None
        first, synced = self._results.reserve(len(found.taken)), self._results.clock_synced()
        part = ModelInput({}, preprocess_ns=found.preprocess_ns)

        def make(start: int, end: int) -> list[Result]:
            outputs = {name: values[start:end] for name, values in found.outputs.items()}
            decoded = self._decode_all(outputs, [part] * (end - start), found.infer_ns)
            return [
                self._results.result(sample, predictions, times, synced=synced, input_id=UNSET, seq=first + at)
                for at, (predictions, times, _) in enumerate(decoded, start)
                if not isinstance(predictions, str)  # `to_columns` has looked at each
            ]

        return TableResults(found.found, len(found.taken), make)

    def _decode_all(self, outputs: Tensors, parts: Sequence[ModelInput], infer_ns: int) -> list[Decoded]:
        """What the model found in each of these inputs of one inference."""
        started = self._now()
        many = None
        if self._batch is not None and _empty(outputs) is None:
            many = self._batch.many(outputs, len(parts))
        if many is None:
            return [self._decode(row(outputs, i), part, infer_ns) for i, part in enumerate(parts)]
        each_ns = (self._now() - started) // len(parts)
        spent = {ns: timing(ns, infer_ns, each_ns) for ns in {part.preprocess_ns for part in parts}}
        return [
            (predictions, spent[part.preprocess_ns], row(outputs, i) if self._watches else {})
            for i, (part, predictions) in enumerate(zip(parts, many, strict=True))
        ]

    def _decode(self, outputs: Tensors, part: ModelInput, infer_ns: int) -> Decoded:
        started = self._now()
        predictions: Sequence[Prediction] | str
        try:
            predictions = self._postprocess(outputs, self._engine.real(part) if self._compares else part)
        except SampleError as exc:
            predictions = str(exc)
        except (IndexError, ValueError):
            if (empty := _empty(outputs)) is None:
                raise
            predictions = f"the model's output {empty!r} has no values for this input"
        return predictions, timing(part.preprocess_ns, infer_ns, self._now() - started), outputs

    def _result(self, sample: Sample, part: ModelInput, decoded: Decoded, *, synced: bool) -> Result | Skipped:
        predictions, times, outputs = decoded
        if isinstance(predictions, str):
            return self.skipped(sample, predictions, part.input_id)
        result = self._results.result(sample, predictions, times, synced=synced, input_id=part.input_id)
        if self._seen:
            result = self._followed(sample, part, result) if self._follows else result
            for watch in self._watches:
                watch(result, outputs, part)
            if self._keep is not None:
                self._keep(part.payload, part.frame, result)
        return result

    def _followed(self, sample: Sample, part: ModelInput, result: Result) -> Result:
        started = self._now()
        followed = replace(sample, payload=part.payload if part.picture is None else Image(part.picture))
        for follow in self._follows:
            result = follow(followed, result, part.frame)
        self._follow_ns = max(self._now() - started, self._follow_ns // 2)  # of two frames one may be empty
        self.batching.bound(self.followed_at_once)
        return result


def _empty(outputs: Tensors) -> str | None:
    """An output without a value: a decoder that looks for the best of nothing does not find it."""
    return next((name for name, one in outputs.items() if isinstance(one, np.ndarray) and not one.size), None)
