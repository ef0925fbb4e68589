"""For programs of one's own: `edge.score.Scorer`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from edge.app import assembly
from edge.score import arrow, schema
from edge.score.kernel import Kernel
from edge.score.plan import Part
from edge.score.read import Reader
from edge.settings.settings import ModelSettings, Settings


class Scorer:
    """A table in, its results out, a row each and in the same order. One thread at a time.

    It is pickled as its path and flags: where it is unpickled the model is loaded when it is first used.
    """

    def __init__(self, model: str | Path, *, columns: Sequence[str] = (), batch: int = 1024, threads: int = 1) -> None:
        """`columns`: of the input, kept in front; `batch`: rows in one inference."""
        self._model = Path(model)
        self._kept = dict.fromkeys(columns, "")
        self._batch = batch
        self._threads = threads
        self._opened: tuple[Kernel, Reader] | None = None

    def __reduce__(self) -> tuple[object, ...]:
        return (_again, (self._model, tuple(self._kept), self._batch, self._threads))

    def __call__(self, table: pa.Table) -> pa.Table:
        """The kept columns, those of the task, and `error`. Raises ModelError, ConfigError for a model that takes no
        table, SourceError for a table with other columns than the model's."""
        kernel, reader = self._open()
        part = Part("parquet", ("the table",), "", table.num_rows)
        names = reader.columns(part, table.schema)
        fields = reader.kept_of(part, table.schema)
        whole = pa.schema([*fields, *kernel.schema])
        batches = []
        for batch in table.to_batches(reader.rows):
            if not batch.num_rows:
                continue
            found = kernel.table(
                [reader.column(batch, part, n, f) for n, f in zip(names, kernel.features, strict=True)]
            )
            kept = [reader.column(batch, part, name, None).take(arrow.from_numpy(found.origin)) for name in self._kept]
            batches.append(pa.RecordBatch.from_arrays([*kept, *found.batch.columns], schema=whole))
        return pa.Table.from_batches(batches, whole)

    def _open(self) -> tuple[Kernel, Reader]:
        if self._opened is None:
            loaded = assembly.load(self._model, threads=self._threads).loaded
            kernel = Kernel(loaded, batch=self._batch)
            settings = Settings(model=ModelSettings(self._model, threads=self._threads))
            reader = Reader(loaded, settings, {name: name for name in self._kept}, batch=self._batch)
            schema.require_apart([*self._kept], kernel.columns)
            self._opened = kernel, reader
        return self._opened


def _again(model: Path, columns: Sequence[str], batch: int, threads: int) -> Scorer:
    return Scorer(model, columns=columns, batch=batch, threads=threads)
