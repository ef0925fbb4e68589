"""Rows of a `.csv` file, with or without a header.

The first row is a header where a cell of it is one of the model's feature names, or where no cell is a number
though the model takes numbers. A cell of a number feature becomes a number where it can (true is 1, false is 0);
an empty one is missing; a text feature stays text. A model whose features have no names takes the cells in their order.
Where semicolons divide, a comma may be the decimal point: so say spreadsheets in half of Europe. They write 1.234 for
1234, too: in a file whose numbers have both marks such a cell is refused.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from edge.data.delimiter import LOOKED_AT, delimiter_of
from edge.data.numbers import decimal_marks, of_two_readings, read_number, two_readings
from edge.data.sample import Sample
from edge.data.tensor import EXACT
from edge.errors import ConfigError, EndOfStream, SampleError, SourceError
from edge.plugins.contexts import SourceContext
from edge.plugins.declarations import SourceInfo
from edge.storage.places import Places

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})
BOOLEANS = {"true": 1.0, "false": 0.0}
MAX_LINE = 64 * 2**20
_NO_FEATURE = "none"
"""The kind of a column that is no feature of the model: what stands there need not be read in one way only."""
_NOT_UTF8 = re.compile("[\udc80-\udcff]")


class _Lines:
    """The lines of a file, none held that is longer than `most` characters: that one raises SampleError."""

    def __init__(self, file: TextIO, name: str, most: int) -> None:
        self._file = file
        self._name = name
        self._most = most
        self._line = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._file.readline(self._most)
        self._line += 1
        if not line:
            raise StopIteration
        if len(line) < self._most or line.endswith("\n"):
            return line
        while len(line) == self._most and not line.endswith("\n"):
            line = self._file.readline(self._most)
        raise SampleError(f"{self._name}, line {self._line}: longer than {self._most / 1e6:g} MB")


class CsvSource:
    """UTF-8, with or without a byte-order mark; the delimiter is found among , ; tab and |."""

    live = False
    ready = True
    repeats = True

    def __init__(self, path: Path, context: SourceContext, *, max_line: int = MAX_LINE) -> None:
        """A line longer than `max_line` characters is skipped whole."""
        self._path = path
        self._context = context
        self._max_line = max_line
        self._comma = False
        self._marks: frozenset[str] = frozenset()
        self._places = Places(path)
        self._header_kinds: Sequence[str] = ()
        self._file: TextIO | None = None
        self._rows: Iterator[list[str]] | None = None
        self._header: list[str] | None = None
        self._held: list[str] | SampleError | None = None

    def open(self) -> None:
        if self._path.exists() and not self._path.is_file():
            raise ConfigError(f"--source {self._path}: not a file; for a pipe say --source - and send JSON lines")
        try:
            # Bytes that are not UTF-8 become surrogates: the row that holds them is skipped, not the file.
            self._file = self._path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
            start = self._file.read(LOOKED_AT)
            self._file.seek(0)
        except OSError as exc:
            raise ConfigError(f"--source {self._path}: {exc.strerror}; check the path") from exc
        delimiter = delimiter_of(start)
        self._comma = delimiter == ";"
        lines = _Lines(self._file, self._path.name, self._max_line)
        self._rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
        self._header = self._held = None
        try:
            self._held = first = self._row()
        except EndOfStream:
            return
        except SampleError as exc:
            self._held = exc  # a first line that is no row is no header either; `read` tells it
            return
        if self._is_header(first):
            self._header = self._checked([cell.strip() for cell in first])
            kinds = dict(zip(self._context.features, self._context.feature_kinds, strict=False))
            self._header_kinds = [kinds.get(name, _NO_FEATURE) for name in self._header]
            self._held = None
        self._marks = self._marks_of(start) if self._comma else frozenset()

    def _marks_of(self, start: str) -> frozenset[str]:
        """The decimal marks in the columns of the model's numbers, as the first lines have them."""
        kinds = self._context.feature_kinds
        if self._header is not None:
            numbers = {n for n, k in zip(self._context.features, kinds, strict=False) if k == "number"}
            places = [i for i, name in enumerate(self._header) if name in numbers]
        else:
            places = [i for i, kind in enumerate(kinds) if kind == "number"]
        rows = csv.reader(start.splitlines(), delimiter=";", skipinitialspace=True)
        return decimal_marks(row[i] for row in rows for i in places if i < len(row))

    def _checked(self, header: list[str]) -> list[str]:
        if _NOT_UTF8.search("".join(header)):
            raise ConfigError(
                f"--source {self._path}: its first line, which names the columns, is not UTF-8; save the file as UTF-8"
            )
        twice = next((name for name in header if header.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(f"--source {self._path}: the header has {twice!r} twice; name each column once")
        return header

    def _is_header(self, row: list[str]) -> bool:
        cells = {cell.strip() for cell in row}
        if cells & set(self._context.features):
            return True
        kinds = set(self._context.feature_kinds)
        if kinds == {"text"}:
            return False
        words = [cell.strip().lower() for cell in row]
        return not any(self._number(word) is not None or word in MISSING or word in BOOLEANS for word in words)

    def read(self, timeout_s: float) -> Sample | None:
        row = self._next()
        named = self._header is not None and self._context.features
        payload = self._named(row) if named else self._in_order(row)
        digest = self._places.digest(self._line, "\0".join(row).encode("utf-8"))
        clock = self._context.clock
        return Sample(payload, str(self._path), clock.monotonic_ns(), clock.time_ns(), digest=digest)

    def _next(self) -> list[str]:
        if self._held is not None:
            held, self._held = self._held, None
            if isinstance(held, SampleError):
                raise held
            row = held
        else:
            row = self._row()
        if not (text := "".join(row)).isascii() and _NOT_UTF8.search(text):
            raise SampleError(f"{self._path.name}, line {self._line}: not UTF-8; save the file as UTF-8")
        return row

    def _row(self) -> list[str]:
        """The next line that is not empty, whatever its bytes are. Raises EndOfStream, SampleError, SourceError."""
        if self._rows is None:
            raise SourceError(f"{self._path}: read before open")
        try:
            for row in self._rows:
                if row:
                    return row
        except csv.Error as exc:
            raise SampleError(f"{self._path.name}, line {self._line}: {exc}") from exc
        except OSError as exc:
            raise SourceError(f"--source {self._path}: {exc}") from exc
        raise EndOfStream(str(self._path))

    @property
    def _line(self) -> int:
        return int(getattr(self._rows, "line_num", 0))

    def _named(self, row: list[str]) -> dict[str, Any]:
        header = self._header or []
        if len(row) != len(header):
            raise SampleError(f"{self._path.name}, line {self._line}: {len(row)} cells, the header has {len(header)}")
        return dict(zip(header, self._cells(row, self._header_kinds), strict=True))

    def _in_order(self, row: list[str]) -> list[Any]:
        kinds = self._context.feature_kinds[: len(row)]
        return self._cells(row, (*kinds, *("number",) * (len(row) - len(kinds))))

    def _cells(self, row: list[str], kinds: Sequence[str]) -> list[Any]:
        if not self._comma and "text" not in kinds and not any("_" in text for text in row):
            try:
                numbers = list(map(float, row))
            except ValueError:
                pass  # words among them, or empty cells
            else:
                if sum(map(abs, numbers)) < EXACT:  # no NaN, which is a missing value, and nothing that was rounded
                    return numbers
        return [self._cell(text, kind) for text, kind in zip(row, kinds, strict=True)]

    def _number(self, cell: str) -> float | int | None:
        return read_number(cell.replace(",", ".") if self._comma else cell)

    def _cell(self, text: str, kind: str) -> Any:
        if kind == "text":
            return text or None
        word = text.strip().lower()
        if word in MISSING:
            return None
        if self._comma and kind != _NO_FEATURE and two_readings(text, self._marks):
            raise SampleError(f"{self._path.name}, line {self._line}: {of_two_readings(text)}")
        number = BOOLEANS.get(word, self._number(text))
        return text if number is None else number

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def create(rest: str, context: SourceContext) -> CsvSource:
    """`rest` is the path."""
    return CsvSource(Path(rest), context)


SOURCE = SourceInfo(edge_api=1, create=create, usage="rows.csv", gives="rows", reads_path=True)
