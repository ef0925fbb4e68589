"""Inputs that a manifest gives a value: the same for every sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.data.tensor import Array, TensorSpec, numpy_dtype
from edge.errors import ModelError
from edge.model.manifest import Manifest


def constants(manifest: Manifest, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """By the input's name, in its dtype and shape. Raises ModelError where a value does not fit its input."""
    by_name = {s.name: s for s in specs}
    arrays: dict[str, Array] = {}
    for part in manifest.inputs:
        spec = by_name.get(part.name)
        if part.kind != "constant" or spec is None:
            continue
        try:
            arrays[part.name] = np.asarray(part.value, dtype=numpy_dtype(spec.dtype)).reshape(spec.fixed())
        except (ValueError, TypeError, OverflowError) as exc:
            raise ModelError(
                f"{manifest.name}: the input {part.name!r} takes {spec.dtype} {list(spec.fixed())}, the manifest gives "
                f"it {str(part.value)[:60]}: mend the manifest"
            ) from exc
    return arrays
