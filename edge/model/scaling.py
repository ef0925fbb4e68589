"""How the rows of a table become the numbers that a network was trained on."""

from __future__ import annotations

import numpy as np

from edge.data.tensor import Array
from edge.errors import ModelError
from edge.model.manifest import Input


def of(part: Input, width: int) -> tuple[Array, Array]:
    """What is taken off each of `width` features and what it is divided by, float32, one value or `width`.

    `scaling` "standard": mean and std of each feature; "minmax": its smallest value and its range, in the same fields.
    Raises ModelError for another count.
    """
    mean = np.asarray(part.mean or (0.0,), dtype=np.float32)
    std = np.asarray(part.std or (1.0,), dtype=np.float32)
    if mean.size not in (1, width) or std.size not in (1, width) or not std.all():
        raise ModelError(f"input {part.name!r}: mean and std need 1 or {width} values, and no std may be 0")
    return mean, std
