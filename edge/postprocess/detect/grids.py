"""Cells of a detector's grids: where each row of an output belongs in the model's input."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.data.tensor import Array


def cells(size: tuple[int, int], strides: Sequence[int], each: int = 1) -> Array:
    """Column, row and stride of each row [N, 3], float32; `each` rows to a cell, sides rounded up."""
    parts = []
    for stride in strides:
        y, x = np.mgrid[: -(-size[1] // stride), : -(-size[0] // stride)]
        parts.append(np.repeat(np.stack((x.ravel(), y.ravel(), np.full(x.size, stride)), axis=1), each, axis=0))
    return np.concatenate(parts).astype(np.float32)


class Grid:
    """Cells that are made again only where the input's size changes."""

    def __init__(self, strides: Sequence[int], each: int = 1) -> None:
        self.strides = tuple(strides)
        self._each = each
        self._size = (0, 0)
        self._cells: Array = np.zeros((0, 3), np.float32)

    def __call__(self, size: tuple[int, int]) -> Array:
        """`size`: width and height of the input."""
        if size != self._size:
            self._cells, self._size = cells(size, self.strides, self._each), size
        return self._cells
