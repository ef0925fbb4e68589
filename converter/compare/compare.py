"""Two model files and a sample to a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from converter.compare.answers import ModelFile
from converter.errors import SampleFileError
from converter.rows import files
from converter.rows.rows import Rows
from converter.rows.tensors import check_columns
from edge.compare import verdict
from edge.compare.answers import Classes, Numbers, in_common_words
from edge.compare.report import Report, Side
from edge.compare.slices import MOST_VALUES, Slice, large_enough, of_numbers, of_texts
from edge.compare.verdict import Verdict
from edge.errors import ConfigError
from edge.model.manifest import Feature


def compare(old: Path, new: Path, *, sample: str, expect: str | None = None, by: Sequence[str] = ()) -> Report:
    """What `new` changes on the rows of `sample`, judged by the answers of `expect` (a column or a file).

    `by` are columns to look at alone; without, every column is looked at. Both models run in this machine's engine,
    each with its own preparation. Raises ModelError, ConfigError.
    """
    rows = files.with_expected(files.of(sample), expect)
    with ModelFile(old) as first, ModelFile(new) as second:
        return Report(_side(first), _side(second), second.manifest.task, _judged(first, second, rows, by))


def _judged(old: ModelFile, new: ModelFile, rows: Rows, by: Sequence[str]) -> Verdict:
    parts = slices(rows, old.manifest.features, by)
    before, after = old.answers(rows), new.answers(rows)
    if isinstance(before, Numbers) and isinstance(after, Numbers):
        return verdict.of_numbers(before, after, rows.expected, parts)
    if isinstance(before, Classes) and isinstance(after, Classes):
        before, after = in_common_words(before, after, old.known_classes(), new.known_classes())
        return verdict.of_classes(before, after, rows.expected, parts)
    raise ConfigError(
        f"--compare: {old.path.name} does {old.manifest.task}, {new.path.name} {new.manifest.task}: "
        "they answer different questions"
    )


def _side(model: ModelFile) -> Side:
    size = model.path.stat().st_size
    return Side(model.path.name, model.manifest.name or model.path.stem, model.manifest.version, model.sha256, size)


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
