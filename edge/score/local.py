"""Parts to results on this machine, in one process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from edge.app.loading import open_model
from edge.errors import ModelError, SampleError, SourceError, first_line
from edge.plugins.protocols import EngineOptions
from edge.score import arrow, output
from edge.score.kernel import Found, Kernel
from edge.score.output import Format
from edge.score.plan import Part
from edge.score.read import Batch, Reader
from edge.score.run import Run
from edge.score.summary import Drift, Summary
from edge.settings.settings import Settings

COMPARED = 32
"""One of so many rows of a large archive is held against the reference: the first ones of each batch."""
LARGE = 100_000


class Job(msgspec.Struct, frozen=True):
    """What each process is told. `kept`: name in the archive to name in the results."""

    settings: Settings
    sha256: str
    out: Path
    form: Format
    kept: dict[str, str]
    fields: tuple[pa.Field, ...]
    batch: int
    rows: int


class Worker:
    """Makes parts, one after the other."""

    def __init__(self, job: Job, kernel: Kernel, reader: Reader) -> None:
        self._job = job
        self._run = Run(job.out, job.form)
        self._kernel = kernel
        self._reader = reader
        self._drift = Drift(kernel.loaded.manifest)
        self.loaded = kernel.loaded
        self.schema = pa.schema([*job.fields, *kernel.schema])

    def make(self, number: int, part: Part, tell: Callable[[int], None]) -> None:
        """One part: its file, whole. `tell` is told how many more rows are done. Raises SourceError, SpoolError."""
        self._kernel.begin()
        summary = Summary()
        tally = self._drift.tally(summary)
        header = number == 0 or not self._run.single
        with output.writing(self._run.path(number), self._run.part_form, self.schema, header=header) as writer:
            for batch in self._reader.batches(part):
                found, rows = scored(self._kernel, batch)
                writer.write(self._with_kept(part, batch, found))
                summary.add(found, self._kernel.columns, rows)
                if self._drift.there and batch.features:
                    looked_at = rows if self._job.rows < LARGE else -(-rows // COMPARED)
                    tally.add([column.slice(0, looked_at) for column in batch.features])
                tell(rows)
            tally.count()
            summary.apart = self._kernel.apart or 0.0
            self._run.mark(number, part.key, summary)

    def _with_kept(self, part: Part, batch: Batch, found: Found) -> pa.RecordBatch:
        kept: list[pa.Array] = [*batch.kept]
        if kept and not (len(kept[0]) == len(found.origin) and (np.diff(found.origin) == 1).all()):
            kept = [column.take(arrow.from_numpy(found.origin)) for column in kept]
        if part.kind == "files":
            kept.append(arrow.from_numpy(found.part.astype(np.int32)))
        try:
            kept = [
                column if column.type == field.type else column.cast(field.type)
                for column, field in zip(kept, self._job.fields, strict=True)
            ]
        except (ValueError, pa.ArrowException) as exc:
            raise SourceError(f"{part.paths[0]}: --columns: not as in the first file: {first_line(exc)}") from exc
        return pa.RecordBatch.from_arrays([*kept, *found.batch.columns], schema=self.schema)


def scored(kernel: Kernel, batch: Batch) -> tuple[Found, int]:
    """The results of a batch, in order, those of rows that cannot even be read among them; and how many rows it has."""
    if batch.features:
        return kernel.table(batch.features), len(batch.features[0])
    bad = {i: str(p) for i, p in enumerate(batch.payloads) if isinstance(p, SampleError)}
    good = [i for i in range(len(batch.payloads)) if i not in bad]
    sources = [batch.sources[i] for i in good] if batch.sources else ()
    found = kernel.samples([batch.payloads[i] for i in good], sources)
    if not bad:
        return found, len(batch.payloads)
    others = kernel.skipped([*bad.values()])
    origin = np.concatenate([np.array(good, dtype=np.int64)[found.origin], np.array([*bad], dtype=np.int64)])
    order = np.argsort(origin, kind="stable")
    table = pa.Table.from_batches([found.batch, others.batch]).take(arrow.from_numpy(order)).combine_chunks()
    part = np.concatenate([found.part, others.part])[order]
    return Found(table.to_batches()[0], origin[order], part), len(batch.payloads)


def run(worker: Worker, parts: Mapping[int, Part], tell: Callable[[int], None]) -> list[SourceError]:
    """Makes these parts in this process; returns why some could not be read. `tell`: how many more rows are done.
    Raises FatalError."""
    return [exc for number, part in parts.items() if (exc := unread(worker, number, part, tell)) is not None]


def unread(worker: Worker, number: int, part: Part, tell: Callable[[int], None]) -> SourceError | None:
    """Makes a part; why it could not be read. Raises SpoolError."""
    try:
        worker.make(number, part, tell)
    except SourceError as exc:
        return exc
    return None


def open_worker(job: Job) -> Worker:
    """The model of a job, loaded; the file was tried before. Raises ModelError."""
    model = job.settings.model
    loaded = open_model(job.settings, EngineOptions(model.threads or 1, model.provider, own_file=True))
    if loaded.sha256 != job.sha256:
        raise ModelError(f"{model.file}: the file was changed while it was in use; begin anew")
    return Worker(job, Kernel(loaded, batch=job.batch), Reader(loaded, job.settings, job.kept, batch=job.batch))
