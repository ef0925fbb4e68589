"""Rows to the tensors that the converted model takes, as its manifest says."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

import numpy as np

from converter.errors import SampleFileError
from converter.rows.rows import Rows
from edge.data.tensor import STRING, Array, Tensors, fits, numpy_dtype
from edge.model.manifest import Feature, Input

BATCH = 256


def feed(rows: Rows, inputs: Sequence[Input]) -> dict[str, Array]:
    """Tensors by input name, each [rows, ...]. Raises SampleFileError where the rows do not fit the model."""
    fed = [i for i in inputs if not i.state_from and i.kind != "constant"]
    return {i.name: _tensor(rows, i, alone=len(fed) == 1) for i in fed}


def _tensor(rows: Rows, wanted: Input, *, alone: bool) -> Array:
    if wanted.kind == "table":
        return table(rows, wanted.features).astype(wanted.dtype)
    if wanted.kind == "column":
        return column(rows, wanted.features[0], wanted.dtype)
    if wanted.name in rows.arrays and not rows.table:
        array = rows.arrays[wanted.name]
    elif alone:
        array = rows.array
    else:
        raise SampleFileError(
            f"the sample has no array {wanted.name!r}; it has {', '.join(rows.names) or 'one, unnamed'}"
        )
    _check_shape(array, wanted)
    return array.astype(numpy_dtype(wanted.dtype))


def _check_shape(array: Array, wanted: Input) -> None:
    rest = wanted.shape[1:]
    if wanted.shape and not fits(array.shape[1:], rest):
        raise SampleFileError(
            f"input {wanted.name!r} takes rows of shape {list(rest)}, the sample's have {list(array.shape[1:])}"
        )


def table(rows: Rows, features: Sequence[Feature]) -> Array:
    """float64 [rows, features]: by name from a table, by place from an array."""
    if not rows.table:
        array = np.asarray(rows.array)
        if array.ndim != 2 or array.shape[1] != len(features):
            raise SampleFileError(
                f"the sample's rows have the shape {list(array.shape[1:])}, the model takes {len(features)} features"
            )
        return array.astype(np.float64)
    check_columns(rows, [f.name for f in features])
    return np.stack([rows.numbers(f.name) for f in features], axis=1)


def column(rows: Rows, feature: Feature, dtype: str) -> Array:
    """One feature as [rows, 1]."""
    check_columns(rows, [feature.name])
    if dtype == STRING:
        return rows.texts(feature.name)[:, None]
    values = rows.numbers(feature.name)
    return values.astype(dtype)[:, None]


def check_columns(rows: Rows, names: Sequence[str]) -> None:
    """Raises SampleFileError that names a column the model takes and the rows have not."""
    missing = [n for n in names if n not in rows.arrays]
    if not missing:
        return
    near = difflib.get_close_matches(missing[0], rows.names, n=1)
    raise SampleFileError(
        f"the sample has no column {missing[0]!r}"
        + (f" (and {len(missing) - 1} more)" if len(missing) > 1 else "")
        + (f", the nearest is {near[0]!r}" if near else f"; it has {', '.join(rows.names[:8]) or 'no named columns'}")
        + f"; the model takes {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
    )


def batches(tensors: Tensors, size: int = BATCH) -> Iterator[dict[str, Array]]:
    """The tensors cut along the row axis."""
    count = len(next(iter(tensors.values())))
    for start in range(0, count, size):
        yield {n: a[start : start + size] for n, a in tensors.items()}
