"""Arrays of numpy to Arrow's and back, by the memory that they are.

Not by `pa.array` and `to_numpy`: these import pandas where it is installed, 0.4 s and 60 MB of each process. What
casts, takes or counts in Arrow imports `pyarrow.compute`, 0.03 s: only where it has to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from edge.data.tensor import Array

NARROW = 16
"""Bytes of a text up to which a table of some is filled as one of bytes; of longer ones Arrow does it sooner."""


def from_numpy(column: Array, empty: Array | None = None) -> pa.Array:
    """Of numbers or bool [rows]; null where `empty`, bool [rows], is true."""
    if column.dtype.kind not in "fiub":
        return pa.array(column, mask=empty)  # texts of a stranger's postprocessor
    kind = pa.from_numpy_dtype(column.dtype)
    valid = None if empty is None else pa.py_buffer(_bits(~empty))
    values = _bits(column) if column.dtype.kind == "b" else np.ascontiguousarray(column)
    return pa.Array.from_buffers(kind, len(column), [valid, pa.py_buffer(values)])


def of_texts(texts: Sequence[str | None]) -> pa.Array:
    """Null where there is none."""
    encoded = [b"" if text is None else text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    there = _bits(np.array([text is not None for text in texts], dtype=np.bool_))
    values = pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))
    return pa.StringArray.from_buffers(len(encoded), *values, pa.py_buffer(there))


def of_words(codes: Array, words: Sequence[str], empty: Array | None = None) -> pa.Array:
    """`words[codes[row]]`; null where `empty`, bool [rows], is true."""
    encoded = [word.encode() for word in words]
    sizes = np.array([len(word) for word in encoded], dtype=np.int32)
    if sizes.max(initial=0) > NARROW or any(b"\0" in word for word in encoded):
        places = from_numpy(codes.astype(np.int32), empty)
        return pa.DictionaryArray.from_arrays(places, of_texts(words)).cast(pa.string())
    padded = np.array(encoded, dtype=np.bytes_)[codes].view(np.uint8)
    ends = np.append(np.int32(0), np.cumsum(sizes[codes], dtype=np.int32))
    valid = None if empty is None else pa.py_buffer(_bits(~empty))
    return pa.StringArray.from_buffers(len(codes), *map(pa.py_buffer, (ends, padded[padded != 0])), valid)


def of_values(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Of values as Python has them; None is null."""
    if all(value is None for value in values):
        return pa.nulls(len(values), kind)
    if pa.types.is_string(kind):
        return of_texts(values)
    if pa.types.is_nested(kind):
        return pa.array(values, kind)
    empty = np.array([value is None for value in values])
    numbers = np.array([0 if value is None else value for value in values])
    return from_numpy(numbers, empty).cast(kind)


def to_numpy(column: pa.Array) -> Array:
    """Numbers, NaN where one is missing, bool, or objects that are str or None."""
    kind = column.type
    if pa.types.is_string(kind):
        return np.array(column.to_pylist(), dtype=object)
    if pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    if column.null_count:
        if not pa.types.is_floating(column.type):
            column = column.cast(pa.uint8()) if pa.types.is_boolean(kind) else column
            column = column.cast(pa.float64(), safe=False)
        return _with_nan(column)
    if pa.types.is_boolean(kind):
        return np.from_dlpack(column.cast(pa.uint8())).view(np.bool_)
    return np.from_dlpack(column)


def _with_nan(column: pa.Array) -> Array:
    table = pa.RecordBatch.from_arrays([column], names=["numbers"])
    values: Array = table.to_tensor(null_to_nan=True).to_numpy()
    return values[:, 0]


def _bits(flags: Array) -> Array:
    return np.packbits(flags, bitorder="little")
