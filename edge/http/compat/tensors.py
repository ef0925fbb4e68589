"""Nested lists of JSON as tensors of the model's own types."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge.data.tensor import STRING, Array, TensorSpec, numpy_dtype, to_integers
from edge.http.http_types import Refusal


def tensor(value: Any, spec: TensorSpec) -> Any:
    """Nested lists as one tensor of the model's type. Raises Refusal."""
    dtype = numpy_dtype(spec.dtype)
    found: Array | None
    try:
        found = np.array(value, dtype=object if spec.dtype == STRING else None)
    except (ValueError, OverflowError) as exc:
        raise Refusal(400, f"input {spec.name!r}: rows of different lengths") from exc
    if dtype.kind in "iu":
        found = to_integers(value, dtype)
        if found is None:
            raise Refusal(400, f"input {spec.name!r}: values that {spec.dtype} cannot hold")
    elif dtype.kind == "f" and found.dtype.kind == "O":
        found = _with_missing(found, spec)
    elif spec.dtype != STRING and found.dtype.kind not in "fiub":
        raise Refusal(400, f"input {spec.name!r}: {spec.dtype} values belong there")
    dims = spec.shape or ()
    if found.ndim == len(dims) - 1 and dims[:1] == (1,):
        found = found[None]
    if len(dims) != found.ndim or any(isinstance(d, int) and d != s for d, s in zip(dims, found.shape, strict=True)):
        raise Refusal(400, f"input {spec.name!r}: shape {list(found.shape)}; the model takes {list(dims)}")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = found.astype(dtype)
    lost = dtype.kind == "f" and bool((np.isinf(cast) & np.isfinite(found)).any())
    if lost or (dtype.kind == "b" and not (cast == found).all()):
        raise Refusal(400, f"input {spec.name!r}: values that {spec.dtype} cannot hold")
    return cast


def _with_missing(found: Array, spec: TensorSpec) -> Array:
    """Numbers and null, which is NaN."""
    if any(v is not None and type(v) not in (int, float) for v in found.ravel()):
        raise Refusal(400, f"input {spec.name!r}: {spec.dtype} values, in rows of one length, belong there")
    return found.astype(np.float64)
