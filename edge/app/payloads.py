"""What Python programs hold, as what a pipeline takes: frames of pandas and polars, pictures of Pillow, paths.

None of these libraries is imported: who hands such an object over has imported it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge.data.sample import Payload
from edge.errors import SampleError
from edge.plugins.columns import Table


def is_frame(x: object) -> bool:
    """True for a table of rows, each of which is a sample: a DataFrame of pandas or polars."""
    return _library(x) in ("pandas", "polars") and hasattr(x, "columns")


def understood(x: Any) -> Payload:
    """A payload; what is none of the above stays as it is. Raises SampleError for a file that cannot be read."""
    if isinstance(x, (str, Path)):
        return _content(Path(x))
    library = _library(x)
    if library == "pandas":
        return _of_pandas(x)
    if library == "polars":
        return x.to_dicts() if hasattr(x, "columns") else x.to_list()
    if library == "PIL":
        return np.asarray(x.convert("RGB"))
    if isinstance(x, (list, tuple)) and x and (isinstance(x[0], Path) or _library(x[0]) in ("pandas", "polars", "PIL")):
        return [understood(one) for one in x]
    return x


def columns(x: Any, features: Sequence[str]) -> Table | None:
    """Of a table, a column for each feature in their order: an array [rows, features] of numbers, or a DataFrame that
    has these columns and no other. None of anything else."""
    if isinstance(x, np.ndarray):
        table = x.ndim == 2 and x.shape[1] == len(features) and x.dtype.kind in "fiub"
        return x.T if table and len(x) else None
    if not is_frame(x) or not len(x) or {*features} != {*x.columns} or len(features) != len(x.columns):
        return None
    return [np.asarray(x[name].to_numpy()) for name in features]


def _library(x: object) -> str:
    return type(x).__module__.partition(".")[0]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise SampleError(f"{path}: {exc.strerror}; name a file, or hand over what is in it") from exc


def _of_pandas(x: Any) -> Payload:
    """Rows by name where every column has one, else in their order; what is missing is None."""
    values = x.astype(object).where(x.notna(), None)
    names = x.columns if hasattr(x, "columns") else x.index
    named = all(isinstance(name, str) for name in names)
    if hasattr(x, "columns"):
        return values.to_dict("records") if named else values.to_numpy().tolist()
    return values.to_dict() if named else values.tolist()
