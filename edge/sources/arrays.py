"""`.npy` and `.npz` files: an array of one more dimension than a sample is read row by row, from disk.

By the file, not by its map in memory: to touch that where the file was cut short, or its stick pulled out, ends the
process by a signal (SIGBUS), with all that was not confirmed. Columns that lie together (Fortran's order) have no rows
on disk: such a file is read whole, up to `MAX_MEMBER`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from edge.data import array_file
from edge.data.sample import Sample
from edge.data.tensor import Array
from edge.errors import ConfigError, EndOfStream, SourceError
from edge.plugins.contexts import SourceContext
from edge.plugins.declarations import SourceInfo
from edge.storage.places import Places

MAX_MEMBER = 10**9
"""Bytes that an array of an archive may take, unpacked: it is held in memory."""


class ArraySource:
    """One array for a model of one input; an archive whose names are the inputs' for one of several."""

    live = False
    ready = True
    repeats = True

    def __init__(self, path: Path, context: SourceContext) -> None:
        self._path = path
        self._context = context
        self._arrays: Mapping[str, Array] = {}
        self._places = Places(path)
        self._rows = 0
        self._next = 0
        self._cut = False
        self._file: BinaryIO | None = None
        """Where the rows of `_arrays`, which tells their type and shape, are read from."""

    def open(self) -> None:
        if self._path.exists() and not self._path.is_file():
            raise ConfigError(f"--source {self._path}: not a file; for a pipe say --source - and send JSON lines")
        try:
            with array_file.reading():
                arrays = self._load()
        except (OSError, ValueError) as exc:
            raise ConfigError(f"--source {self._path}: not a .npy or .npz file that can be read: {exc}") from exc
        if not arrays:
            raise ConfigError(f"--source {self._path}: it holds no array")
        odd = next((a for a in arrays.values() if a.dtype.kind not in "biufU"), None)
        if odd is not None:
            raise ConfigError(
                f"--source {self._path}: values of type {odd.dtype}; numbers, booleans and text are taken"
            )
        self._arrays = self._named(arrays)
        self._places.open()
        first = next(iter(self._arrays.values()))
        self._cut = first.ndim >= self._rank(next(iter(self._arrays))) and first.ndim > 1
        self._rows = len(first) if self._cut else 1
        self._next = 0
        if isinstance(first, np.memmap):
            self._read_by_file(first)

    def _read_by_file(self, array: np.memmap[Any, Any]) -> None:
        try:
            if array.flags.c_contiguous:
                self._file = self._path.open("rb")
                self._file.seek(array.offset)
            elif array.nbytes <= MAX_MEMBER:
                self._arrays = {"": np.load(self._path, allow_pickle=False)}
        except (OSError, ValueError) as exc:
            raise ConfigError(f"--source {self._path}: {exc}; check the file") from exc

    def _row(self, file: BinaryIO, array: Array) -> Array:
        """The next one, as far as the file goes."""
        shape = array.shape[1:] if self._cut else array.shape
        size = array.nbytes // self._rows
        try:
            data = file.read(size)
        except OSError as exc:
            raise SourceError(f"--source {self._path}: {exc.strerror} at row {self._next}") from exc
        if len(data) < size:
            raise SourceError(
                f"--source {self._path}: it ends in row {self._next} of {self._rows}, though it was longer when it was "
                "opened; leave a file alone while it is read"
            )
        row: Array = np.frombuffer(data, array.dtype).reshape(shape).copy()
        return row

    def _load(self) -> dict[str, Array]:
        loaded: Any = np.load(self._path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"": loaded}
        with loaded:
            for member in loaded.zip.infolist():
                if member.file_size > MAX_MEMBER:
                    raise ConfigError(
                        f"--source {self._path}: {member.filename} unpacks to {member.file_size / 1e9:.1f} GB, more "
                        f"than {MAX_MEMBER / 1e9:g}; save it as .npy, which is read from disk row by row"
                    )
            arrays = {name: loaded[name] for name in loaded.files}
        return {name: array for name, array in arrays.items() if isinstance(array, np.ndarray)}

    def _rank(self, name: str) -> int:
        by_name = {s.name: s for s in self._context.input_specs}
        spec = by_name.get(name) or (self._context.input_specs[0] if self._context.input_specs else None)
        return len(spec.shape) if spec is not None and spec.shape else 2

    def _named(self, arrays: dict[str, Array]) -> Mapping[str, Array]:
        wanted = {s.name for s in self._context.input_specs}
        if wanted and wanted <= set(arrays) and len(wanted) > 1:
            return {n: arrays[n] for n in wanted}
        for name in (*wanted, "X", "x", "data", "arr_0"):
            if name in arrays:
                return {"": arrays[name]}
        if len(arrays) == 1:
            return {"": next(iter(arrays.values()))}
        raise ConfigError(f"--source {self._path}: it holds {', '.join(sorted(arrays))}; name the one to read 'X'")

    def read(self, timeout_s: float) -> Sample | None:
        if self._next >= self._rows:
            raise EndOfStream(str(self._path))
        at, self._next = self._next, self._next + 1
        row: dict[str, Any]
        if self._file is not None:
            row = {n: self._row(self._file, a) for n, a in self._arrays.items()}
        else:
            row = {n: np.array(a[at] if self._cut else a) for n, a in self._arrays.items()}
        row = {n: a.tolist() if a.dtype.kind == "U" else a for n, a in row.items()}
        payload: Any = row.get("", row)
        clock, digest = self._context.clock, self._places.digest(at)
        return Sample(payload, str(self._path), clock.monotonic_ns(), clock.time_ns(), digest=digest)

    def close(self) -> None:
        self._arrays = {}
        file, self._file = self._file, None
        if file is not None:
            file.close()


def create(rest: str, context: SourceContext) -> ArraySource:
    """`rest` is the path."""
    return ArraySource(Path(rest), context)


SOURCE = SourceInfo(edge_api=1, create=create, usage="rows.npy", reads_path=True)
