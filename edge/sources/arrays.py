"""`.npy` and `.npz` files: an array of one more dimension than a sample is read row by row, from disk."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge.data.sample import Sample
from edge.data.tensor import Array
from edge.errors import ConfigError, EndOfStream
from edge.protocols import SourceContext


class ArraySource:
    """One array for a model of one input; an archive whose names are the inputs' for one of several."""

    live = False

    def __init__(self, path: Path, context: SourceContext) -> None:
        self._path = path
        self._context = context
        self._arrays: Mapping[str, Array] = {}
        self._rows = 0
        self._next = 0
        self._cut = False

    def open(self) -> None:
        try:
            loaded: Any = np.load(self._path, mmap_mode="r", allow_pickle=False)
            arrays = {"": loaded} if isinstance(loaded, np.ndarray) else {n: loaded[n] for n in loaded.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as exc:
            raise ConfigError(f"--source {self._path}: not a .npy or .npz file that can be read: {exc}") from exc
        self._arrays = self._named(arrays)
        first = next(iter(self._arrays.values()))
        self._cut = first.ndim >= self._rank(next(iter(self._arrays))) and first.ndim > 1
        self._rows = len(first) if self._cut else 1
        self._next = 0

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
        row = {n: np.array(a[at] if self._cut else a) for n, a in self._arrays.items()}
        payload: Any = row.get("", row)
        return Sample(payload, str(self._path), self._context.clock.monotonic_ns(), self._context.clock.time_ns())

    def ack(self, sample: Sample) -> None:
        """A row cannot be asked for again: nothing to say."""

    def close(self) -> None:
        self._arrays = {}


def create(rest: str, context: SourceContext) -> ArraySource:
    """`rest` is the path."""
    return ArraySource(Path(rest), context)
