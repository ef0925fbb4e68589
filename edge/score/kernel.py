"""The kernel: rows in, results out, in the order of the rows. All else calls it.

A table goes by its columns where the model takes and gives such, without an object for each row. What the model does
not take so goes one by one, through the very calls of the device: for the reason of a skip, and for other models.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np
import pyarrow as pa

from edge.app import assembly
from edge.app.loading import Loaded
from edge.data.result import Result, Skipped
from edge.data.sample import Payload, Sample
from edge.data.tensor import Array
from edge.pipeline.pipeline import Pipeline
from edge.plugins.protocols import ResettableEngine
from edge.score import arrow, schema
from edge.score.schema import ERROR
from edge.telemetry.clock import SystemClock

TRIED = 32
"""Rows of the first table that run alone as well, to tell whether that gives the same to the last bit."""


class Found(msgspec.Struct, frozen=True):
    """Results of some samples: the columns of the task and `error`; `origin` is the sample's place among those that
    were given, int64, `part` the place of the result among those of its sample. `classes`: how often each stands there,
    where that is known without a look at each row."""

    batch: pa.RecordBatch
    origin: Array
    part: Array
    classes: Mapping[str, int] | None = None


class Kernel:
    """One model, for one thread."""

    def __init__(self, loaded: Loaded, *, batch: int) -> None:
        """`batch`: rows of a table in one inference; 1: each row alone, as a device that has time runs it."""
        self.loaded = loaded
        self.columns = schema.of(loaded)
        self.schema = pa.schema([*self.columns.fields, pa.field(ERROR, pa.string())])
        self.apart: float | None = None
        """The largest difference in a result between rows in a batch and rows alone; None: not tried."""
        self._batch = batch
        self._clock = SystemClock()
        self._pipeline = self._new_pipeline()
        self._by_columns = batch > 1 and loaded.manifest.batch_independent
        self.features = loaded.features
        kept = any(i.window is not None or i.state_from for i in loaded.manifest.inputs)
        self.in_order = kept or not self._pipeline.free
        """What a row is answered depends on the rows before it: a stream is one part and begins with nothing kept."""

    def begin(self) -> None:
        """Another stream: windows and states are forgotten."""
        if self.in_order:
            if isinstance(self.loaded.engine, ResettableEngine):
                self.loaded.engine.reset()
            self._pipeline = self._new_pipeline()

    def table(self, columns: Sequence[pa.Array]) -> Found:
        """A column for each feature of the model, in its order. Of most models a result for each row."""
        rows = len(columns[0])
        found = self._pipeline.columns([arrow.to_numpy(c) for c in columns], self._batch) if self._by_columns else None
        if found is None:
            return self.samples(self._payloads(columns, range(rows)))
        arrays, taken = self.columns.arrays(found.found), found.taken
        origin, part = np.arange(rows), np.zeros(rows, dtype=np.int64)
        batch = pa.RecordBatch.from_arrays([*arrays, pa.nulls(int(taken.sum()), pa.string())], schema=self.schema)
        if self.apart is None and batch.num_rows:
            self.apart = self._difference(batch, columns, np.flatnonzero(taken)[:TRIED])
        if taken.all():
            return Found(batch, origin, part, self.columns.classes(found.found))
        good, bad = np.flatnonzero(taken), np.flatnonzero(~taken)
        others = self.samples(self._payloads(columns, bad.tolist()))
        order = np.argsort(np.concatenate([good, bad[others.origin]]), kind="stable")
        both = pa.Table.from_batches([batch, others.batch]).take(arrow.from_numpy(order)).combine_chunks()
        return Found(both.to_batches()[0], origin, part)

    def samples(self, payloads: Sequence[Payload], sources: Sequence[str] = ()) -> Found:
        """Samples one by one, each as `edge-run` takes it; `sources`: what each is read from."""
        outcomes: list[tuple[int, int, Result | Skipped]] = []
        for at, results in enumerate(self._outcomes(payloads, sources)):
            outcomes += [(at, part, result) for part, result in enumerate(results)]
        origin, part = (np.array([o[i] for o in outcomes], dtype=np.int64) for i in (0, 1))
        return Found(self._of_outcomes([o for _, _, o in outcomes]), origin, part)

    def skipped(self, reasons: Sequence[str]) -> Found:
        """Samples that could not even be read."""
        columns = [*self.columns.of_rows([None] * len(reasons)), arrow.of_texts(reasons)]
        batch = pa.RecordBatch.from_arrays(columns, schema=self.schema)
        return Found(batch, np.arange(len(reasons)), np.zeros(len(reasons), dtype=np.int64))

    def _new_pipeline(self) -> Pipeline:
        options = assembly.PipelineOptions(
            boot="score", max_input=2**31, clock_synced=lambda: True, seq=itertools.count(1)
        )
        return assembly.make_pipeline(self.loaded, "local", options)

    def _payloads(self, columns: Sequence[pa.Array], rows: Sequence[int]) -> list[Payload]:
        """Rows as the device gets them: objects by name where the features have names."""
        values = zip(*([column[row].as_py() for row in rows] for column in columns), strict=True)
        names = [f.name for f in self.features]
        return [dict(zip(names, row, strict=True)) if all(names) else list(row) for row in values]

    def _difference(self, batch: pa.RecordBatch, columns: Sequence[pa.Array], rows: Array) -> float:
        """Of these rows alone to the first ones of the batch; 1 where it is no number that differs."""
        outcomes = [o for p in self._payloads(columns, rows.tolist()) for (o,) in self._outcomes([p], ())]
        alone = [{ERROR: o.reason} if isinstance(o, Skipped) else self.columns.values(o.predictions) for o in outcomes]
        worst = 0.0
        for name, kind in zip(self.schema.names, self.schema.types, strict=True):
            one, other = batch.column(name).slice(0, len(rows)).to_pylist(), [row.get(name) for row in alone]
            if one == other:
                continue
            if not pa.types.is_floating(kind) or any(
                (a is None) != (b is None) for a, b in zip(one, other, strict=True)
            ):
                return max(worst, 1.0)
            worst = max(
                worst, *(abs(a - b) for a, b in zip(one, other, strict=True) if a is not None and b is not None)
            )
        return worst

    def _outcomes(self, payloads: Sequence[Payload], sources: Sequence[str]) -> Iterator[list[Result | Skipped]]:
        now, wall = self._clock.monotonic_ns(), self._clock.time_ns()
        samples = [Sample(p, s, now, wall) for p, s in itertools.zip_longest(payloads, sources, fillvalue="archive")]
        at = 0
        while at < len(samples):
            some = samples[at : at + (1 if self._batch == 1 or self.in_order else self._pipeline.batching.at_once)]
            at += len(some)
            works = self._pipeline.prepare(some)
            results = self._pipeline.run(works)
            for work, found in zip(works, results, strict=True):
                while work.rest is not None:
                    work = self._pipeline.next(work)
                    found += self._pipeline.run([work])[0]
                yield found

    def _of_outcomes(self, outcomes: Sequence[Result | Skipped]) -> pa.RecordBatch:
        predictions = [None if isinstance(o, Skipped) else o.predictions for o in outcomes]
        reasons = arrow.of_texts([o.reason if isinstance(o, Skipped) else None for o in outcomes])
        return pa.RecordBatch.from_arrays([*self.columns.of_rows(predictions), reasons], schema=self.schema)
