"""The files that results are written to: Parquet, CSV or JSON lines; a part each, and at the end one of all parts.

Parts that end as one Parquet file are Arrow's own files: to read and write these is nearly nothing, so that the rows
are packed once."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, TypeAlias

import msgspec
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from edge.errors import SpoolError, first_line
from edge.storage import atomic

Format: TypeAlias = Literal["parquet", "csv", "jsonl"]
FORMATS: tuple[Format, ...] = ("parquet", "csv", "jsonl")
PartFormat: TypeAlias = Format | Literal["arrow"]
"""Of a part: `arrow` where it is joined into Parquet."""
GROUP = 128_000
"""Rows of a row group of Parquet."""


class Writer(Protocol):
    """Takes batches of one schema."""

    def write(self, batch: pa.RecordBatch) -> None: ...

    def close(self) -> None: ...


class _Parquet:
    """Gathers batches: a row group for each of them would be slow to read."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(file, schema, use_dictionary=[*_texts(schema)])
        self._schema = schema
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        self._waiting.append(batch)
        self._rows += batch.num_rows
        if self._rows >= GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting, self._schema), row_group_size=self._rows or 1)
        self._waiting, self._rows = [], 0

    def close(self) -> None:
        self._flush()
        self._writer.close()


def _texts(fields: Iterable[pa.Field], above: str = "") -> Iterator[str]:
    """The columns of text by Parquet's paths. A dictionary of numbers, which hardly repeat, takes three times as long
    to write as they do, and makes the file larger."""
    for field in fields:
        path, kind = above + field.name, field.type
        while pa.types.is_list(kind):
            path, kind = f"{path}.list.element", kind.value_type
        if pa.types.is_struct(kind):
            yield from _texts(kind, f"{path}.")
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
            yield path


class _Arrow:
    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._writer = pa.ipc.new_file(file, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)

    def close(self) -> None:
        self._writer.close()


class _Csv:
    """What is nested is JSON in its cell; null is an empty cell."""

    def __init__(self, file: BinaryIO, schema: pa.Schema, *, header: bool) -> None:
        self._schema = pa.schema([pa.field(f.name, _flat(f.type)) for f in schema])
        options = pa_csv.WriteOptions(include_header=header, quoting_style="needed")
        self._writer = pa_csv.CSVWriter(file, self._schema, write_options=options)

    def write(self, batch: pa.RecordBatch) -> None:
        arrays = [_as_text(c) if _flat(c.type) != c.type else c for c in batch.columns]
        self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


class _Lines:
    """An object a row; what is null is left out."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._encoder = msgspec.json.Encoder()

    def write(self, batch: pa.RecordBatch) -> None:
        rows = [_without_null(row) for row in batch.to_pylist()]
        self._file.write(self._encoder.encode_lines(rows))

    def close(self) -> None:
        """The file belongs to the caller."""


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_null(v) for name, v in value.items() if v is not None}
    return [_without_null(v) for v in value] if isinstance(value, list) else value


def _flat(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_nested(kind) or pa.types.is_binary(kind) else kind


def _as_text(column: pa.Array) -> pa.Array:
    texts = [None if v is None else msgspec.json.encode(_without_null(v)).decode() for v in column.to_pylist()]
    return pa.array(texts, pa.string())


@contextmanager
def writing(path: Path, form: PartFormat, schema: pa.Schema, *, header: bool = True) -> Iterator[Writer]:
    """A file that is there when it is whole. `header`: of CSV. Raises SpoolError where the disk does not take it."""
    try:
        with atomic.replacing(path) as file:
            writer = _writer(file, form, schema, header=header)
            try:
                yield writer
            finally:
                writer.close()
    except OSError as exc:
        raise SpoolError(
            f"{path}: {exc.strerror or first_line(exc)}; make room or choose another -o, then --resume"
        ) from exc


def _writer(file: BinaryIO, form: PartFormat, schema: pa.Schema, *, header: bool) -> Writer:
    if form == "arrow":
        return _Arrow(file, schema)
    if form == "parquet":
        return _Parquet(file, schema)
    return _Csv(file, schema, header=header) if form == "csv" else _Lines(file)


def join(parts: Sequence[Path], path: Path, form: Format, schema: pa.Schema) -> None:
    """One file of all, in their order. Raises SpoolError."""
    if form == "parquet":
        with writing(path, form, schema) as writer:
            for part in parts:
                with pa.memory_map(str(part)) as file, pa.ipc.open_file(file) as batches:
                    for at in range(batches.num_record_batches):
                        writer.write(batches.get_batch(at))
        return
    try:
        with atomic.replacing(path) as out:
            for part in parts:
                with part.open("rb") as file:
                    shutil.copyfileobj(file, out, 2**20)
    except OSError as exc:
        raise SpoolError(f"{path}: {exc.strerror}; make room, then --resume") from exc
