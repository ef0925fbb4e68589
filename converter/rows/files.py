"""Rows from whatever the user has: files, arrays, data frames, pictures; and the answers expected for them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from converter.errors import SampleFileError
from converter.rows.pictures import read_folder
from converter.rows.rows import UNNAMED, Rows, one_reading
from edge.data import array_file
from edge.data.codec import decode_json
from edge.data.delimiter import delimiter_of
from edge.data.tensor import Array
from edge.errors import SampleError

_DECIMAL = re.compile(r"^(\s*[+-]?\d*),(\d+(?:[eE][+-]?\d+)?\s*)$")


def with_expected(rows: Rows, expect: Any) -> Rows:
    """The rows with their true answers: a column of the table by name, a file, or one value a row."""
    if expect is None:
        return rows
    if isinstance(expect, str) and rows.table and expect in rows.arrays:
        return replace(rows.without(expect), expected=rows.arrays[expect])
    expected = read_answers(Path(expect), rows) if isinstance(expect, (str, Path)) else np.asarray(expect)
    if len(expected) != len(rows):
        raise SampleFileError(f"--expect: {len(expected)} answers for {len(rows)} rows; give one for each row")
    return replace(rows, expected=expected)


def read_answers(path: Path, rows: Rows) -> Array:
    """The answers in a .npy file, or one a line in any text file; a first line that no row is left for is a header."""
    if not path.exists():
        raise SampleFileError(
            f"--expect {path}: no such file, and no such column; the sample has {', '.join(rows.names)}"
        )
    try:
        if path.suffix == ".npy":
            return np.asarray(_load(path))
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
        if path.suffix.lower() == ".csv" and len(lines) == len(rows) + 1:
            _require_one_column(lines[0])
        lines = [line.strip('"') for line in lines]
    except (OSError, UnicodeDecodeError, SampleError) as exc:
        raise SampleFileError(f"--expect {path.name}: {exc}") from exc
    return np.array(lines[1:] if len(lines) == len(rows) + 1 else lines, dtype=object)


def _require_one_column(header: str) -> None:
    """A line of two columns would be read as one answer, and `1,7` even as a number."""
    names = next(csv.reader([header], delimiter=delimiter_of(header)))
    if len(names) > 1:
        raise SampleError(
            f"it has {len(names)} columns ({', '.join(names)[:80]}); give a file of the answers alone, or the whole "
            "table as --sample and the name of the column here"
        )


def of(sample: Any) -> Rows:
    """Rows of an array, a mapping of arrays, a data frame, a path, or rows themselves."""
    if isinstance(sample, Rows):
        return sample
    if isinstance(sample, (str, Path)):
        return read(Path(sample))
    if hasattr(sample, "columns") and hasattr(sample, "to_dict"):  # a pandas data frame, without importing pandas
        return Rows({str(c): _column(sample[c]) for c in sample.columns}, table=True)
    if isinstance(sample, Mapping):
        return _equal_lengths(Rows({str(n): np.asarray(a) for n, a in sample.items()}), "the sample")
    return _at_least_one(Rows({UNNAMED: np.asarray(sample)}), "the sample")


def _column(series: Any) -> Array:
    """A column of pandas or polars; None where pandas has an NA, with which nothing can be compared."""
    values = np.asarray(series.to_numpy())
    if values.dtype.kind in "biuf":
        return values
    values = values.astype(object)
    if hasattr(series, "isna"):
        values[np.asarray(series.isna(), dtype=bool)] = None
    return values


def read(path: Path) -> Rows:
    """A .csv, .jsonl, .npy or .npz file, or a folder of pictures. Raises SampleFileError."""
    if path.is_dir():
        return read_folder(path)
    readers: dict[str, Callable[[Path], Rows]] = {
        ".csv": _read_csv,
        ".jsonl": _read_jsonl,
        ".ndjson": _read_jsonl,
        ".npy": lambda path: Rows({UNNAMED: _load(path)}),
        ".npz": lambda path: Rows(_load(path)),
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise SampleFileError(f"{path.name}: --sample takes {', '.join(readers)}")
    try:
        rows = reader(path)
    except FileNotFoundError:
        raise SampleFileError(f"{path}: there is no such sample file") from None
    except (OSError, UnicodeDecodeError, csv.Error, SampleError) as exc:
        raise SampleFileError(f"{path.name}: {exc}") from exc
    return _equal_lengths(_at_least_one(rows, path.name), path.name)


def _at_least_one(rows: Rows, where: str) -> Rows:
    if any(a.ndim == 0 for a in rows.arrays.values()) or len(rows) == 0:
        raise SampleFileError(f"{where}: there are no rows in it")
    return rows


def _equal_lengths(rows: Rows, where: str) -> Rows:
    lengths = {n: len(a) for n, a in rows.arrays.items()}
    if len(set(lengths.values())) != 1:
        raise SampleFileError(f"{where}: the arrays differ in rows: {lengths}")
    return rows


def _read_csv(path: Path) -> Rows:
    text = path.read_text("utf-8-sig")
    delimiter = delimiter_of(text)
    lines = [line for line in csv.reader(io.StringIO(text), delimiter=delimiter) if line]
    written: Sequence[Sequence[str]] = lines
    if delimiter == ";":  # a comma is the decimal point there, as it is to edge-run
        lines = [[_DECIMAL.sub(r"\1.\2", cell) for cell in line] for line in lines]
    if not lines:
        raise SampleError("the file is empty")
    header = lines[0] if any(not _is_float(v) for v in lines[0]) else None
    body = lines[1:] if header else lines
    width = len(lines[0])
    for number, line in enumerate(body, start=2 if header else 1):
        if len(line) != width:
            raise SampleError(f"line {number} has {len(line)} values, the first has {width}")
    if header is None:
        if delimiter == ";":
            one_reading([cell for line in written for cell in line])
        return Rows({UNNAMED: np.array(body, dtype=np.float64)})
    if len(set(header)) != width:
        raise SampleError("the header names a column twice")
    columns = {n.strip(): np.array([line[i] for line in body], dtype=object) for i, n in enumerate(header)}
    if delimiter != ";":
        return Rows(columns, table=True)
    return Rows(columns, table=True, written={n.strip(): [r[i] for r in written[1:]] for i, n in enumerate(header)})


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return not text.strip()
    return True


def _read_jsonl(path: Path) -> Rows:
    values = [decode_json(line) for line in path.read_bytes().splitlines() if line.strip()]
    if values and all(isinstance(v, dict) for v in values):
        names = list(dict.fromkeys(n for v in values for n in v))
        return Rows({n: np.array([_scalar(v.get(n)) for v in values], dtype=object) for n in names}, table=True)
    try:
        return Rows({UNNAMED: np.array(values, dtype=np.float64)})
    except (TypeError, ValueError) as exc:
        raise SampleError(f"every line has to be an object, or an array of one and the same shape: {exc}") from exc


def _scalar(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        raise SampleError("an object's values have to be numbers or text; give tensors as .npz")
    return value


def _load(path: Path) -> Any:
    try:
        with array_file.reading():
            loaded = np.load(path, allow_pickle=False)
            return loaded if path.suffix == ".npy" else {n: loaded[n] for n in loaded.files}
    except ValueError as exc:
        raise SampleError(f"not a whole {path.suffix} file of numbers: {exc}") from exc
