"""Rows of a `.csv` file, with or without a header.

The first row is a header where a cell of it is one of the model's feature names, or where no cell is a number
though the model takes numbers. A cell of a number feature becomes a number where it can (true is 1, false is 0);
an empty one is missing; a text feature stays text. A model whose features have no names takes the cells in their order.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from edge.data.sample import Sample
from edge.errors import ConfigError, EndOfStream, SampleError, SourceError
from edge.protocols import SourceContext

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})
BOOLEANS = {"true": 1.0, "false": 0.0}


class CsvSource:
    """UTF-8, with or without a byte-order mark; the delimiter is found among , ; tab and |."""

    live = False

    def __init__(self, path: Path, context: SourceContext) -> None:
        self._path = path
        self._context = context
        self._kinds = dict(zip(context.features, context.feature_kinds, strict=False))
        self._file: TextIO | None = None
        self._rows: Iterator[list[str]] | None = None
        self._header: list[str] | None = None
        self._held: list[str] | None = None

    def open(self) -> None:
        try:
            self._file = self._path.open(encoding="utf-8-sig", newline="")
            start = self._file.read(65536)
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigError(f"--source {self._path}: {exc}; it has to be a CSV file in UTF-8") from exc
        self._file.seek(0)
        self._rows = csv.reader(self._file, delimiter=_delimiter(start), skipinitialspace=True)
        first = next(self._rows, None)
        self._header = None
        self._held = first
        if first is not None and self._is_header(first):
            self._header = [cell.strip() for cell in first]
            self._held = None

    def _is_header(self, row: list[str]) -> bool:
        cells = {cell.strip() for cell in row}
        if cells & set(self._context.features):
            return True
        kinds = set(self._context.feature_kinds)
        if kinds == {"text"}:
            return False
        words = [cell.strip().lower() for cell in row]
        return not any(_number(word) is not None or word in MISSING or word in BOOLEANS for word in words)

    def read(self, timeout_s: float) -> Sample | None:
        row = self._next()
        named = self._header is not None and self._context.features
        payload = self._named(row) if named else self._in_order(row)
        return Sample(payload, str(self._path), self._context.clock.monotonic_ns(), self._context.clock.time_ns())

    def _next(self) -> list[str]:
        if self._held is not None:
            row, self._held = self._held, None
            return row
        if self._rows is None:
            raise SourceError(f"{self._path}: read before open")
        try:
            for row in self._rows:
                if row:
                    return row
        except csv.Error as exc:
            raise SampleError(f"{self._path.name}: {exc}") from exc
        except (OSError, UnicodeDecodeError) as exc:
            raise SourceError(f"--source {self._path}: {exc}") from exc
        raise EndOfStream(str(self._path))

    def _named(self, row: list[str]) -> dict[str, Any]:
        header = self._header or []
        if len(row) != len(header):
            line = getattr(self._rows, "line_num", 0)
            raise SampleError(f"{self._path.name}, line {line}: {len(row)} cells, the header has {len(header)}")
        return {name: _cell(value, self._kinds.get(name, "number")) for name, value in zip(header, row, strict=True)}

    def _in_order(self, row: list[str]) -> list[Any]:
        kinds = self._context.feature_kinds or ("number",) * len(row)
        return [_cell(v, kinds[i] if i < len(kinds) else "number") for i, v in enumerate(row)]

    def ack(self, sample: Sample) -> None:
        """A row cannot be asked for again: nothing to say."""

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _delimiter(start: str) -> str:
    line = start.partition("\n")[0]
    return max(",;\t|", key=line.count)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _cell(text: str, kind: str) -> Any:
    if kind == "text":
        return text or None
    word = text.strip().lower()
    if word in MISSING:
        return None
    number = BOOLEANS.get(word, _number(text))
    return text if number is None else number


def create(rest: str, context: SourceContext) -> CsvSource:
    """`rest` is the path."""
    return CsvSource(Path(rest), context)
