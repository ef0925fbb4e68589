"""Nested lists of JSON as tensors of the model's own types."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge.data.tensor import STRING, Array, TensorSpec, numpy_dtype, to_integers
from edge.http.http_types import Refusal


def tensor(value: Any, spec: TensorSpec) -> Any:
    """Nested lists as one tensor of the model's type. Raises Refusal."""
    dtype = numpy_dtype(spec.dtype)
    array: Array | None
    try:
        array = np.array(value, dtype=object if spec.dtype == STRING else None)
    except (ValueError, OverflowError) as exc:
        raise Refusal(400, f"input {spec.name!r}: rows of different lengths") from exc
    if dtype.kind in "iu":
        array = to_integers(value, dtype)
        if array is None:
            raise Refusal(400, f"input {spec.name!r}: values that {spec.dtype} cannot hold")
    elif dtype.kind == "f" and array.dtype.kind == "O":
        array = _with_missing(array, spec)
    elif spec.dtype != STRING and array.dtype.kind not in "fiub":
        raise Refusal(400, f"input {spec.name!r}: {spec.dtype} values belong there")
    dims = spec.shape or ()
    if array.ndim == len(dims) - 1 and dims[:1] == (1,):
        array = array[None]
    if len(dims) != array.ndim or any(isinstance(d, int) and d != s for d, s in zip(dims, array.shape, strict=True)):
        raise Refusal(400, f"input {spec.name!r}: shape {list(array.shape)}; the model takes {list(dims)}")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(dtype)
    lost = dtype.kind == "f" and bool((np.isinf(cast) & np.isfinite(array)).any())
    if lost or (dtype.kind == "b" and not (cast == array).all()):
        raise Refusal(400, f"input {spec.name!r}: values that {spec.dtype} cannot hold")
    return cast


def _with_missing(array: Array, spec: TensorSpec) -> Array:
    """Numbers and null, which is NaN."""
    if any(v is not None and type(v) not in (int, float) for v in array.ravel()):
        raise Refusal(400, f"input {spec.name!r}: {spec.dtype} values, in rows of one length, belong there")
    try:
        return array.astype(np.float64)
    except OverflowError as exc:  # an integer that even float64 cannot hold
        raise Refusal(400, f"input {spec.name!r}: values that {spec.dtype} cannot hold") from exc
