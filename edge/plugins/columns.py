"""Capabilities of parts that take and give a table by its columns: no object for each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

import msgspec

from edge.data.tensor import Array, Tensors


class Words(msgspec.Struct, frozen=True):
    """A column of texts of which there are few: `words[codes[row]]`. `codes`: integers [rows]."""

    codes: Array
    words: Sequence[str]


Column: TypeAlias = Array | Words


Table: TypeAlias = Sequence[Array] | Array
"""A column for each feature: iterated and indexed alike."""


class Columns(msgspec.Struct, frozen=True):
    """What is found in each of some rows, by name. Where `empty` (bool [rows]) is true nothing was found."""

    values: Mapping[str, Column]
    empty: Array | None = None


@runtime_checkable
class ColumnPreprocessor(Protocol):
    """Capability of a preprocessor of rows."""

    def from_columns(self, columns: Table) -> tuple[Tensors, Array] | None:
        """Of a column for each feature, in the model's order: numbers or bool, NaN where one is missing, or objects
        that are str or None; each [rows]. All of one kind may be an array [features, rows]. Gives the tensors of the
        rows that the model takes, and which these are, bool [rows]; the others go one by one, for the reason. The
        values are the same as one by one. None where it cannot."""


@runtime_checkable
class ColumnPostprocessor(Protocol):
    """Capability of a postprocessor."""

    def to_columns(self, outputs: Tensors, count: int) -> Columns | None:
        """Of `count` rows whose outputs lie along the first axis: the best that each prediction says, the same as one
        by one. None where it cannot or one of the rows is bad."""
