"""Two model files and a sample to a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from converter.compare.answers import ModelFile
from converter.compare.slices import slices
from converter.rows import files
from converter.rows.rows import Rows
from edge.compare import verdict
from edge.compare.answers import Classes, Numbers, in_common_words
from edge.compare.report import Report, Side
from edge.compare.verdict import Verdict
from edge.errors import ConfigError


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
