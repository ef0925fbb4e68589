"""What a new model answers otherwise than an old one over an archive: both by the device's own steps, in one pass.

In memory stay the answers, a few bytes a row, and the columns that were asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from edge.app.loading import Loaded
from edge.compare import verdict
from edge.compare.answers import REFUSED, Answers, Classes, Numbers, in_common_words, require_known
from edge.compare.report import Report, Side
from edge.compare.slices import MOST_VALUES, Slice, large_enough, of_numbers, of_texts
from edge.data.numbers import read_number
from edge.data.tensor import Array
from edge.errors import ConfigError
from edge.score.kernel import Found, Kernel
from edge.score.local import scored
from edge.score.plan import Part
from edge.score.read import Reader
from edge.score.schema import ERROR
from edge.settings.settings import Settings

TASKS = ("classify", "anomaly", "regress")
CHANGED_MOST = 100_000
"""Rows that changed, of those that a report lists; all are counted."""


class Asked(msgspec.Struct, frozen=True):
    """The column of the true answers ("": none), those to look at alone, rows in one inference."""

    expect: str = ""
    by: tuple[str, ...] = ()
    batch: int = 1024

    @property
    def kept(self) -> dict[str, str]:
        """Columns that are read beside those of the models."""
        return {name: name for name in (*((self.expect,) if self.expect else ()), *self.by)}


class _Model:
    """One of the two, and what it has answered so far."""

    def __init__(self, loaded: Loaded, settings: Settings, asked: Asked) -> None:
        self.loaded = loaded
        self.kernel = Kernel(loaded, batch=asked.batch)
        self.reader = Reader(loaded, settings, asked.kept, batch=asked.batch, asks="--expect or --slice")
        self._answers: list[Array] = []
        labels = loaded.manifest.labels
        values = next((o.values for o in loaded.manifest.outputs if o.role == "label" and o.values), labels)
        self._values = dict(zip(labels, values, strict=False))
        self._taken, self._reason = 0, ""
        task, file = loaded.manifest.task, loaded.path.name
        if task not in TASKS:
            raise ConfigError(f"--compare {file}: its task is {task}; answers are compared of {', '.join(TASKS)}")
        if self.kernel.in_order:
            raise ConfigError(
                f"--compare {file}: it keeps something from row to row, so its answers are of no row alone"
            )
        if task == "regress" and not self.kernel.columns.numbers:
            raise ConfigError(f"--compare {file}: how many numbers it gives is not fixed, or two have one name")

    def add(self, found: Found, rows: int) -> None:
        """Answers to so many rows, one each. Raises ConfigError."""
        if len(found.origin) != rows or (np.diff(found.origin) != 1).any():
            raise ConfigError(f"--compare {self.loaded.path.name}: some rows of the archive hold several samples")
        reasons = found.batch.column(ERROR).drop_null()
        self._taken += rows - len(reasons)
        if len(reasons) and not self._reason:
            self._reason = str(reasons[0])
        columns = self.kernel.columns
        if columns.numbers and self.loaded.manifest.task == "regress":
            named = [found.batch.column(name).to_numpy(zero_copy_only=False) for name in columns.numbers]
            self._answers.append(np.column_stack(named).astype(np.float64))
            return
        codes = found.batch.column(columns.label).cast(pa.string()).dictionary_encode()
        words = np.array([*(_class(word) for word in codes.dictionary.to_pylist()), REFUSED], dtype=object)
        missing = found.batch.column(ERROR).is_valid().to_numpy(zero_copy_only=False)
        at = codes.indices.fill_null(len(words) - 1).to_numpy(zero_copy_only=False)
        self._answers.append(words[np.where(missing, len(words) - 1, at)])

    @property
    def rows(self) -> int:
        """How many were answered."""
        return sum(map(len, self._answers))

    def answers(self, rows: Array) -> Answers:
        """To these of all rows."""
        found = np.concatenate(self._answers)[rows]
        if self.loaded.manifest.task == "regress":
            return Numbers(found)
        return Classes(np.array([self._values.get(name, name) for name in found], dtype=object), found)

    def require_some(self) -> None:
        """Raises ConfigError where it took no row at all: two that take none would agree on everything."""
        if not self.rows:
            raise ConfigError("--compare: the archive has no row")
        if not self._taken:
            raise ConfigError(f"--compare {self.loaded.path.name}: it takes no row of this archive: {self._reason}")

    @property
    def known(self) -> tuple[set[str], set[str]]:
        """The classes that the file tells of, and the names by which they are published."""
        if self.loaded.manifest.task == "anomaly":
            return {"True", "False"}, {"True", "False"}
        return set(self._values.values()), set(self._values)

    @property
    def side(self) -> Side:
        """For the report."""
        path, ref = self.loaded.path, self.loaded.ref
        return Side(path.name, ref.name, ref.version, ref.sha256, path.stat().st_size)


def compare(
    models: tuple[tuple[Loaded, Settings], tuple[Loaded, Settings]],
    asked: Asked,
    parts: Sequence[Part],
    tell: Callable[[int], None],
) -> tuple[Report, int]:
    """The report, and how many rows were left out since no answer is expected of them. `parts` of the archive, of which
    there is one at least; `tell`: how many more rows are done. Raises ConfigError, SourceError."""
    old, new = (_Model(loaded, settings, asked) for loaded, settings in models)
    if parts[0].kind == "files" and asked.kept:
        raise ConfigError(f"{next(iter(asked.kept))}: files have no columns; leave --expect and --slice out")
    for part in parts:
        for model in (old, new):
            model.reader.check(part)
            model.reader.kept_fields(part)
    kept: list[list[pa.Array]] = []
    for part in parts:
        for one, other in zip(old.reader.batches(part), new.reader.batches(part), strict=True):
            for model, batch in ((old, one), (new, other)):
                found, rows = scored(model.kernel, batch)
                model.add(found, rows)
            kept.append(list(one.kept) if part.kind != "files" else [])
            tell(rows)
    old.require_some()
    new.require_some()
    return _judged(old, new, asked, _columns(asked, kept))


def _columns(asked: Asked, kept: Sequence[Sequence[pa.Array]]) -> dict[str, Array]:
    """By name, text with "" where there is none, [rows]."""
    columns = {}
    for at, name in enumerate(asked.kept):
        words = pa.chunked_array([_text(batch[at]) for batch in kept], pa.string()).combine_chunks()
        codes = words.dictionary_encode()
        if isinstance(codes, pa.ChunkedArray):
            codes = codes.combine_chunks()
        texts = np.array([*codes.dictionary.to_pylist(), ""], dtype=object)
        columns[name] = texts[codes.indices.fill_null(len(texts) - 1).to_numpy(zero_copy_only=False)]
    return columns


def _text(column: pa.Array) -> pa.Array:
    """What is NaN is missing."""
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    return column.cast(pa.string())


def _judged(old: _Model, new: _Model, asked: Asked, columns: dict[str, Array]) -> tuple[Report, int]:
    count = old.rows
    rows = np.arange(count)
    expected = None
    if asked.expect:
        rows = np.flatnonzero(columns[asked.expect] != "")
        expected = np.array([_class(text) for text in columns[asked.expect][rows]], dtype=object)
    if not len(rows):
        raise ConfigError(f"--compare: {count} rows, and of none there is an answer to compare")
    parts = [s for name in asked.by for s in _slices(name, columns[name][rows])]
    before, after = old.answers(rows), new.answers(rows)
    if isinstance(before, Numbers) and isinstance(after, Numbers):
        said = verdict.of_numbers(before, after, expected, parts)
    elif isinstance(before, Classes) and isinstance(after, Classes):
        before, after = in_common_words(before, after, old.known, new.known)
        if expected is not None:
            require_known(expected, {REFUSED}.union(*old.known, *new.known), (before, after))
        said = verdict.of_classes(before, after, expected, parts)
    else:
        tasks = [m.loaded.manifest.task for m in (old, new)]
        raise ConfigError(
            f"--compare: the old model does {tasks[0]}, the new one {tasks[1]}: they answer two questions"
        )
    changed = tuple(replace(c, row=int(rows[c.row - 1]) + 1) for c in said.changed[:CHANGED_MOST])
    return Report(old.side, new.side, new.loaded.manifest.task, replace(said, changed=changed)), count - len(rows)


def _slices(name: str, texts: Array) -> list[Slice]:
    """Raises ConfigError for a column that says nothing."""
    numbers = [read_number(text) if text else np.nan for text in texts]
    if all(number is not None for number in numbers):
        found = list(of_numbers(name, np.array(numbers, dtype=np.float64)))
    else:
        found = list(of_texts(name, texts))
    if not found:
        raise ConfigError(f"--slice {name}: more than {MOST_VALUES} texts, too many to look at")
    return large_enough(found, len(texts))


def _class(text: str) -> str:
    """As classes are compared: 3, 3.0 and "3" are the same one, and so are true and True."""
    if text.lower() in ("true", "false"):
        return text.capitalize()
    whole = re.fullmatch(r"(-?\d+)\.0+", text)
    return text if whole is None else whole[1]
