"""Columns of a table as a model takes them: what `TablePreprocessor` says of a single cell, said of all at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge.data.tensor import EXACT, Array, TensorSpec, numpy_dtype
from edge.model.manifest import Feature
from edge.plugins.columns import Table


def numbers(column: Array, feature: Feature, spec: TensorSpec) -> tuple[Array, Array]:
    """As the model takes them, and which it takes: what `TablePreprocessor` says of a single cell."""
    dtype = numpy_dtype(spec.dtype)
    if column.dtype.kind == "O" or dtype.kind not in "fiu":
        return np.zeros(len(column), dtype=dtype), np.zeros(len(column), dtype=bool)
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            wide = column.astype(np.float64)
            values = wide.astype(dtype)
        return values, np.isfinite(values) | (np.isnan(wide) & feature.missing)
    limits = np.iinfo(dtype)
    if column.dtype.kind == "f":
        wide = column.astype(np.float64)
        ok = (np.abs(wide) < EXACT) & (wide == np.floor(wide))
        ok &= (wide >= limits.min) & (wide <= limits.max)
        return np.where(ok, wide, 0).astype(dtype), ok
    ok = np.ones(len(column), dtype=bool)
    if column.dtype.kind != "b" and not np.can_cast(column.dtype, dtype):
        ok = np.fromiter((limits.min <= v <= limits.max for v in column.tolist()), dtype=bool, count=len(column))
    return np.where(ok, column, 0).astype(dtype), ok


def block(columns: Table, dtype: np.dtype[Any]) -> Array:
    """[rows, features] of this dtype, a kind of float, where it holds every value of the columns; else float64, for
    what is rounded to it is looked at."""
    wide = dtype if all(np.can_cast(kind, dtype) for kind in {c.dtype for c in columns}) else np.dtype(np.float64)
    if isinstance(columns, np.ndarray):
        return np.ascontiguousarray(columns.T, dtype=wide)
    block = np.empty((len(columns[0]), len(columns)), dtype=wide)
    for i, column in enumerate(columns):
        block[:, i] = column
    return block


def texts(column: Array, feature: Feature) -> tuple[Array, Array]:
    if column.dtype.kind != "O":
        return np.full(len(column), "", dtype=object), np.zeros(len(column), dtype=bool)
    known = frozenset(feature.values)
    values = column.tolist()
    ok = [
        feature.missing if v is None else isinstance(v, str) and (not known or v in known) for v in values
    ]  # fmt: skip
    return np.array(["" if v is None else v for v in values], dtype=object), np.array(ok, dtype=bool)
