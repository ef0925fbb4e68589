"""`edge.score.spark_udf`: a function for Spark's `mapInArrow`.

The model travels with the job (`addFile`) and is held against its hash where it is used; a process of Spark's loads it
once.
Not by pandas: it tells a null from a NaN as little as an integer column with nulls from one of floats.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from edge.app import assembly
from edge.errors import ConfigError, ModelError
from edge.model import identity
from edge.score import schema
from edge.score.door import Scorer

_NAMES = {
    pa.int32(): "int", pa.int64(): "bigint", pa.float32(): "float", pa.float64(): "double", pa.string(): "string",
    pa.bool_(): "boolean",
}  # fmt: skip


class SparkFunction:
    """Give it to `mapInArrow` with its `schema`. Belongs to one Spark session; may be pickled."""

    def __init__(self, name: str, sha256: str, columns: tuple[str, ...], schema: str) -> None:
        self._name = name
        self._sha256 = sha256
        self._columns = columns
        self.schema = schema
        """The columns that come out, in Spark's words."""

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """In a process of Spark's. Raises ModelError where the file is not the one that was sent."""
        from pyspark import SparkFiles

        scorer = _scorer(SparkFiles.get(self._name), self._sha256, self._columns)
        for batch in batches:
            if batch.num_rows:
                yield from scorer(pa.Table.from_batches([batch])).to_batches()


@lru_cache(maxsize=4)
def _scorer(path: str, sha256: str, columns: tuple[str, ...]) -> Scorer:
    """One for each process and model."""
    found = identity.identity(Path(path))
    if found != sha256:
        raise ModelError(f"{path}: another file than the one that was sent ({found[:12]}, not {sha256[:12]})")
    return Scorer(path, columns=columns)


def spark_udf(spark: Any, model: str | Path, *, columns: str = "") -> SparkFunction:
    """`df.mapInArrow(f, f.schema)` with what this gives. `columns`: those of `df` to keep, with their types as Spark
    writes them: "id bigint, site string". The rows keep no order: keep a key.

    Raises ModelError; ConfigError for a model that has weights in files of their own, or names twice.
    """
    path = Path(model)
    loaded = assembly.load(path).loaded
    results = schema.of(loaded)
    pairs = [tuple(part.split(maxsplit=1)) for part in columns.split(",") if part.strip()]
    if any(len(pair) != 2 for pair in pairs):
        raise ConfigError(f'columns="{columns}": name and type of each belong there: "id bigint, site string"')
    schema.require_apart([pair[0] for pair in pairs], results)
    own = [f"`{field.name}` {_type(field.type)}" for field in (*results.fields, pa.field(schema.ERROR, pa.string()))]
    spark.sparkContext.addFile(str(path.resolve()))
    said = ", ".join([*(f"`{name}` {kind}" for name, kind in pairs), *own])
    return SparkFunction(path.name, loaded.sha256, tuple(pair[0] for pair in pairs), said)


def _type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"array<{_type(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return f"struct<{', '.join(f'{f.name}: {_type(f.type)}' for f in kind)}>"
    return _NAMES[kind]
