"""A part of the archive, read in batches: the model's features by column or samples one by one, and the columns that
are kept beside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from edge.app import assembly
from edge.app.loading import Loaded
from edge.data import codec
from edge.data.numbers import read_number
from edge.data.sample import Payload
from edge.errors import EndOfStream, SampleError, SourceError, nearest
from edge.model.manifest import Feature
from edge.plugins.protocols import Source
from edge.score import arrow
from edge.score.plan import Part, damaged, open_parquet
from edge.settings.settings import Settings
from edge.sources import csv, files, lines
from edge.telemetry.clock import SystemClock

READ = 131_072
"""Rows of a table that are read at once, at most, unless an inference takes more."""
VALUES = 4_000_000
"""Numbers of a table that are read at once, about: a wide one in fewer rows."""
LINES = 2048
"""Samples of a batch."""
PICTURES = 16


class Batch(msgspec.Struct, frozen=True):
    """Some rows. `kept`: a column for each that is kept. Either `features`, a column each, or `payloads`, one for each
    row, where a str instead of a payload is the reason why there is none."""

    kept: Sequence[pa.Array]
    features: Sequence[pa.Array] = ()
    payloads: Sequence[Payload | SampleError] = ()
    sources: Sequence[str] = ()


class Reader:
    """Reads parts for one model. `kept`: name in the archive to name in the results."""

    def __init__(
        self, loaded: Loaded, settings: Settings, kept: Mapping[str, str], *, batch: int, asks: str = "--columns"
    ) -> None:
        """`batch`: rows of a table in one inference; `asks`: the flag that names what is kept."""
        self._asks = asks
        self._loaded = loaded
        self._settings = settings
        self._kept = kept
        manifest = loaded.manifest
        kinds = {i.kind for i in manifest.inputs if i.kind != "constant" and not i.state_from}
        self._tabular = bool(kinds) and kinds <= {"table", "column"}
        self._features = loaded.features
        self._named = bool(self._features) and all(f.name for f in self._features)
        self.rows = max(1, min(READ, VALUES // max(1, len(self._features) + len(kept))) // batch) * batch
        """Of a table, read at once: whole inferences."""

    def kept_fields(self, part: Part) -> list[pa.Field]:
        """The columns that are kept, as the part has them. Raises SourceError where it lacks one."""
        if part.kind == "files":
            return [pa.field("file", pa.string()), pa.field("part", pa.int32())]
        if part.kind != "parquet":
            return [pa.field(new, pa.string()) for new in self._kept.values()]
        with open_parquet(Path(part.paths[0])) as file:
            return self.kept_of(part, file.schema_arrow)

    def kept_of(self, part: Part, schema: pa.Schema) -> list[pa.Field]:
        """The same of a table. Raises SourceError."""
        fields = []
        for old, new in self._kept.items():
            if old not in schema.names and old not in part.partition:
                raise SourceError(_no_column(part, self._asks, old, [*schema.names, *part.partition]))
            _require_once(part, schema, [old])
            fields.append(pa.field(new, _plain(schema.field(old).type) if old in schema.names else pa.string()))
        return fields

    def check(self, part: Part) -> None:
        """Raises SourceError where its columns are not those of the model."""
        if part.kind == "parquet":
            with open_parquet(Path(part.paths[0])) as file:
                self.columns(part, file.schema_arrow)

    def batches(self, part: Part) -> Iterator[Batch]:
        """In order. Raises SourceError."""
        if part.damaged:  # also where it was mended meanwhile: its rows are not known yet
            raise SourceError(part.damaged)
        read = {"parquet": self._parquet, "csv": self._csv, "lines": self._lines, "files": self._files}
        yield from read[part.kind](part)

    def _parquet(self, part: Part) -> Iterator[Batch]:
        path = Path(part.paths[0])
        with open_parquet(path) as file:
            schema = file.schema_arrow
            names = self.columns(part, schema)
            wanted = [n for n in dict.fromkeys([*names, *self._kept]) if n in schema.names]
            batches = file.iter_batches(self.rows, row_groups=part.groups, columns=wanted, use_threads=False)
            try:
                for batch in batches:
                    kept = [self.column(batch, part, name, None) for name in self._kept]
                    pairs = zip(names, self._features, strict=True)
                    yield Batch(kept, [self.column(batch, part, name, feature) for name, feature in pairs])
            except (OSError, ValueError, pa.ArrowException) as exc:
                raise damaged(path, exc) from exc

    def columns(self, part: Part, schema: pa.Schema) -> list[str]:
        """Names of the columns that are the model's features, in its order. Raises SourceError."""
        if not self._tabular:
            raise SourceError(
                f"{part.paths[0]}: rows, but {self._loaded.path.name} takes no table; name a folder of files"
            )
        there = [*schema.names, *(key for key in part.partition if key not in schema.names)]
        if self._named:
            names = [f.name for f in self._features]
            absent = [name for name in names if name not in there]
            if absent:
                raise SourceError(_no_column(part, "feature", absent[0], there, len(absent) - 1))
        else:
            names = [name for name in schema.names if name not in self._kept]
            if len(names) != len(self._features):
                raise SourceError(
                    f"{part.paths[0]}: {len(names)} columns, the model takes {len(self._features)} features "
                    "that have no names; keep the others by --columns, or re-run edge-convert with named columns"
                )
        _require_once(part, schema, names)
        for name, feature in zip(names, self._features, strict=True):
            kind = schema.field(name).type if name in schema.names else pa.string()
            if name in schema.names and not _fits(kind, feature):
                wanted = "text belongs" if feature.kind == "text" else "numbers belong"
                raise SourceError(f"{part.paths[0]}: the column {name!r} is {kind}; {wanted} there")
        return names

    def column(self, batch: pa.RecordBatch, part: Part, name: str, feature: Feature | None) -> pa.Array:
        """Of a feature as the kernel takes it; None: of a column that is kept. Raises SourceError."""
        place = batch.schema.get_field_index(name)
        if place >= 0:
            column = batch.column(place)
            wanted = _plain(column.type)
            if feature is not None and (pa.types.is_decimal(wanted) or pa.types.is_null(wanted)):
                wanted = pa.string() if feature.kind == "text" else pa.float64()
            return column if column.type == wanted else column.cast(wanted)
        kind = pa.string() if feature is None or feature.kind == "text" else pa.float64()
        return pa.array([_of_partition(part, name, feature)] * batch.num_rows, kind)

    def _csv(self, part: Part) -> Iterator[Batch]:
        path = Path(part.paths[0])
        context = assembly.source_context(self._loaded, SystemClock(), self._settings)
        own = set(context.features)
        extra = [name for name in self._kept if name not in own and name not in part.partition]
        context = msgspec.structs.replace(
            context,
            features=(*context.features, *extra) if own or not self._features else (*context.features,),
            feature_kinds=(*context.feature_kinds, *["text"] * len(extra)),
        )
        source = csv.CsvSource(path, context)
        first = True
        for samples in _groups(source, LINES):
            rows = [s if isinstance(s, SampleError) else s.payload for s in samples]
            row = next((r for r in rows if not isinstance(r, SampleError)), None)
            if first and row is not None:
                self._require_in_header(part, row)
                first = False
            yield self._of_rows(part, rows)

    def _require_in_header(self, part: Part, row: Mapping[str, Any] | Sequence[Any]) -> None:
        if not isinstance(row, dict):
            absent = [name for name in self._kept if name not in part.partition]
            if absent:
                raise SourceError(
                    f"{part.paths[0]}: {self._asks} {absent[0]}: the file has no header that names its columns"
                )
            return
        there = [*row, *part.partition]
        for what, names in (
            ("feature", [f.name for f in self._features] if self._named else []),
            (self._asks, self._kept),
        ):
            absent = [name for name in names if name not in there]
            if absent:
                raise SourceError(_no_column(part, what, absent[0], there, len(absent) - 1))

    def _lines(self, part: Part) -> Iterator[Batch]:
        source = lines.LineSource(Path(part.paths[0]), part.paths[0], SystemClock())
        for samples in _groups(source, LINES):
            yield self._of_rows(part, [_decoded(s) for s in samples])

    def _of_rows(self, part: Part, rows: Sequence[Any]) -> Batch:
        """Of an object the features alone: an archive has other columns too."""
        objects = [row if isinstance(row, dict) else {} for row in rows]
        kept = []
        for name in self._kept:
            values = [row.get(name, part.partition.get(name)) for row in objects]
            kept.append(pa.array([v if v is None or isinstance(v, str) else codec.encode(v).decode() for v in values]))
        return Batch([k.cast(pa.string()) for k in kept], payloads=[self._payload(part, row) for row in rows])

    def _payload(self, part: Part, row: Any) -> Payload | SampleError:
        if not isinstance(row, dict) or not self._tabular:
            return row
        if not self._named:
            values = [value for name, value in row.items() if name not in self._kept]
            return values if len(values) == len(self._features) else row
        found = {f.name: row[f.name] for f in self._features if f.name in row}
        by_folder = [f for f in self._features if f.name in part.partition and f.name not in row]
        return {**found, **{f.name: _of_partition(part, f.name, f) for f in by_folder}} if by_folder else found

    def _files(self, part: Part) -> Iterator[Batch]:
        for at in range(0, len(part.paths), PICTURES):
            some = part.paths[at : at + PICTURES]
            yield Batch([arrow.of_texts(some)], payloads=[_content(path) for path in some], sources=some)


def _of_partition(part: Part, name: str, feature: Feature | None) -> str | float | None:
    """What the name of a folder says. Raises SourceError."""
    value = part.partition[name]
    if value is None or feature is None or feature.kind == "text":
        return value
    number = read_number(value)
    if number is None:
        raise SourceError(f"{part.paths[0]}: {name}={value}: a number belongs there")
    return float(number)


def _groups(source: Source, size: int) -> Iterator[list[Any]]:
    """Samples, or why there is none, some at a time. Raises SourceError."""
    source.open()
    try:
        some: list[Any] = []
        while True:
            try:
                sample = source.read(1.0)
                if sample is not None:
                    some.append(sample)
            except SampleError as exc:
                some.append(exc)
            except EndOfStream:
                break
            if len(some) >= size:
                yield some
                some = []
        if some:
            yield some
    finally:
        source.close()


def _decoded(sample: Any) -> Payload | SampleError:
    if isinstance(sample, SampleError):
        return sample
    try:
        return codec.decode(sample.payload)
    except SampleError as exc:
        return exc


def _content(path: str) -> bytes | SampleError:
    try:
        return files.content(Path(path))
    except SampleError as exc:
        return exc


def _plain(kind: pa.DataType) -> pa.DataType:
    """What is kept, without the ways of one file: a dictionary's values, texts of one kind."""
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    return pa.string() if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) else kind


def _fits(kind: pa.DataType, feature: Feature) -> bool:
    kind = _plain(kind)
    if pa.types.is_null(kind):
        return True
    if feature.kind == "text":
        return bool(pa.types.is_string(kind))
    return any(
        is_(kind) for is_ in (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    )


def _require_once(part: Part, schema: pa.Schema, names: Sequence[str]) -> None:
    """Raises SourceError where a name is that of several columns: which of them is meant nobody can tell."""
    there = Counter(schema.names)
    twice = next((name for name in names if there[name] > 1), None)
    if twice is not None:
        raise SourceError(f"{part.paths[0]}: {there[twice]} columns {twice!r}; give each a name of its own")


def _no_column(part: Part, what: str, name: str, there: Sequence[str], more: int = 0) -> str:
    others = f" (and {more} more)" if more else ""
    shown = ", ".join(there[:8]) + (", ..." if len(there) > 8 else "")
    return f"{part.paths[0]}: no column {name!r}{others} for {what}{nearest(name, there)}; it has {shown}"
