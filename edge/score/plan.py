"""What there is to score, cut into parts: each is read, scored and written by itself, and has a key by which a later
run knows it again."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import unquote

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from edge.errors import ConfigError, SourceError, first_line
from edge.sources import files

Kind: TypeAlias = Literal["parquet", "csv", "lines", "files"]
SUFFIXES: dict[str, Kind] = {
    ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".jsonl": "lines", ".ndjson": "lines",
    **dict.fromkeys(files.SUFFIXES, "files"),
}  # fmt: skip
ROWS = 200_000
"""Rows of a part, about: what is done anew after a stop."""
FILES = 200
_NULL = "__HIVE_DEFAULT_PARTITION__"


class Part(msgspec.Struct, frozen=True):
    """A piece of the archive, in order. `paths`: one file, or some pictures or sounds; `groups`: row groups of a
    Parquet file; `partition`: what the names of its folders say (`date=2026-01-01`); `rows`: how many, where `counted`,
    else an estimate. `key` changes when the files do; `damaged`: why the file cannot be read at all."""

    kind: Kind
    paths: tuple[str, ...]
    key: str
    rows: int
    counted: bool = True
    groups: tuple[int, ...] = ()
    partition: dict[str, str | None] = {}
    damaged: str = ""


def parts(archive: Sequence[str], *, in_order: bool) -> list[Part]:
    """Of files, folders (and what lies below) and globs, in the order of their names. `in_order`: a file is one part.

    Raises ConfigError for what is not there or mixed, SourceError where no Parquet file can be read.
    """
    found = sorted({path for where in archive for path in _files(where)})
    kinds = {SUFFIXES[path.suffix.lower()] for path in found}
    if len(kinds) > 1:
        names = ", ".join(sorted({path.suffix.lower() for path in found}))
        raise ConfigError(f"{' '.join(archive)}: files of several kinds ({names}); name those of one, with a glob")
    if kinds == {"files"}:
        step = 1 if in_order else FILES
        return [_of_files(found[at : at + step]) for at in range(0, len(found), step)]
    cut = [part for path in found for part in _of_file(path, in_order=in_order)]
    if all(part.damaged for part in cut):
        raise SourceError(cut[0].damaged)
    return cut


def _files(where: str) -> Iterator[Path]:
    path = Path(where)
    if path.is_dir():
        inside = (p for p in path.rglob("*") if not any(n[0] in "._" for n in p.relative_to(path).parts))
        named = [p for p in inside if p.suffix.lower() in SUFFIXES and p.is_file()]
    elif path.is_file():
        named = [path]
        if path.suffix.lower() not in SUFFIXES:
            raise ConfigError(f"{where}: {path.suffix or 'no suffix'}: {', '.join(sorted(SUFFIXES))} are read")
    else:
        matches = map(Path, glob.glob(where, recursive=True))  # noqa: PTH207
        named = [p for p in matches if p.suffix.lower() in SUFFIXES and p.is_file()]
    if not named:
        raise ConfigError(f"{where}: no such file, and no folder or glob with {', '.join(sorted(SUFFIXES))} in it")
    yield from named


def _of_files(some: Sequence[Path]) -> Part:
    return Part("files", tuple(map(str, some)), _key([_stamp(path) for path in some]), len(some))


def _of_file(path: Path, *, in_order: bool) -> Iterator[Part]:
    kind, stamp = SUFFIXES[path.suffix.lower()], _stamp(path)
    partition = _partition(path)
    if kind != "parquet":
        yield Part(kind, (str(path),), _key([stamp]), _estimate(path), counted=False, partition=partition)
        return
    try:
        with open_parquet(path) as file:
            counts = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    except SourceError as exc:
        yield Part(kind, (str(path),), _key([stamp]), 0, partition=partition, damaged=str(exc))
        return
    if not counts:  # no rows at all: Spark writes such files
        yield Part(kind, (str(path),), _key([stamp]), 0, partition=partition)
    some: list[int] = []
    for group in range(len(counts)):
        some.append(group)
        last = group == len(counts) - 1
        if last or (not in_order and sum(counts[g] for g in some) + counts[group + 1] > ROWS):
            rows = sum(counts[g] for g in some)
            yield Part(kind, (str(path),), _key([stamp, some]), rows, groups=tuple(some), partition=partition)
            some = []


def open_parquet(path: Path) -> pq.ParquetFile:
    """Raises SourceError for a file that is damaged or cannot be read."""
    try:
        return pq.ParquetFile(path, memory_map=False, pre_buffer=False, buffer_size=2**16)
    except (OSError, ValueError, pa.ArrowException) as exc:
        raise damaged(path, exc) from exc


def damaged(path: Path | str, exc: Exception) -> SourceError:
    """The error for a Parquet file that turns out to be none."""
    return SourceError(f"{path}: a Parquet file that cannot be read: {first_line(exc, 200)}; write it anew")


def _partition(path: Path) -> dict[str, str | None]:
    """Hive's way to name folders: `key=value`."""
    pairs = (name.split("=", 1) for name in path.parent.parts if "=" in name)
    return {key: None if value == _NULL else unquote(value) for key, value in pairs if key}


def _estimate(path: Path) -> int:
    """How many lines a file has, by the length of its first ones."""
    with path.open("rb") as file:
        start = file.read(2**16)
    return max(1, path.stat().st_size * max(1, start.count(b"\n")) // max(1, len(start)))


def _stamp(path: Path) -> tuple[str, int, int]:
    stat = path.stat()
    return (str(path), stat.st_size, stat.st_mtime_ns)


def _key(of: object) -> str:
    return hashlib.sha256(msgspec.json.encode(of)).hexdigest()[:32]
