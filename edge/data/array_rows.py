"""The rows of an array, each made when it is asked for: a list of them would take a hundred bytes a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from edge.data.tensor import Array


class ArrayRows(Sequence[Array]):
    """Views along the first axis."""

    def __init__(self, array: Array) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    @overload
    def __getitem__(self, at: int) -> Array: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Array]: ...
    def __getitem__(self, at: int | slice) -> Array | Sequence[Array]:
        if isinstance(at, slice):
            return list(self._array[at])
        row: Array = self._array[at]
        return row
