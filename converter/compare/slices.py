"""Parts of a sample that a reader would ask about: each value of a column, a quarter of its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from converter.errors import SampleFileError
from converter.rows.rows import Rows
from converter.rows.tensors import check_columns
from edge.compare.slices import MOST_VALUES, Slice, large_enough, of_numbers, of_texts
from edge.model.manifest import Feature


def slices(rows: Rows, features: Sequence[Feature], asked: Sequence[str]) -> list[Slice]:
    """By every column, or by those `asked` for. Raises SampleFileError for a column that there is not."""
    table = _table(rows, features)
    if asked and not table.table:
        raise SampleFileError("--slice: the sample has no named columns; give a .csv or .jsonl")
    check_columns(table, asked)
    found: list[Slice] = []
    for name in asked or (table.names if table.table else ()):
        made = list(_of(table, name))
        if asked and not made:
            raise SampleFileError(
                f"--slice {name}: its {len(set(table.texts(name)))} texts are too many to look at, or all the same; "
                f"at most {MOST_VALUES}"
            )
        found += made
    return large_enough(found, len(rows))


def _table(rows: Rows, features: Sequence[Feature]) -> Rows:
    """The rows with a column each, by the names of the model's features where the rows have none."""
    if rows.table or len(rows.arrays) != 1:
        return rows
    array = rows.array
    if array.ndim != 2 or array.shape[1] != len(features) or array.dtype.kind not in "biuf":
        return rows
    return Rows({f.name: array[:, i] for i, f in enumerate(features)}, table=True)


def _of(rows: Rows, name: str) -> Iterator[Slice]:
    return of_numbers(name, rows.numbers(name)) if rows.is_number(name) else of_texts(name, rows.texts(name))
