"""What is asked of rows: where they are, keys that are no feature, features that are not there, numbers as text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import msgspec

from edge.data.json_path import JsonPath


class RowRules(msgspec.Struct, frozen=True):
    """`ignore_unknown`: keys that are no feature are left out, and `left_out` is told each; else they are refused.

    `absent_missing`: a feature that a row does not name counts as a missing value; else it is refused. Either way at
    least one feature has to be there, and a feature that must not be missing has to be.

    `path`: where in a JSON input the row is, or the rows are. `text_numbers`: "21.5" is a number, too.
    """

    ignore_unknown: bool = False
    absent_missing: bool = False
    left_out: Callable[[str], None] = lambda _: None
    path: JsonPath | None = None
    text_numbers: bool = False

    @property
    def flag(self) -> str:
        """The first flag that asks something of a model's rows; "" where none does."""
        asked = {
            "--ignore-unknown": self.ignore_unknown,
            "--absent missing": self.absent_missing,
            "--text-numbers": self.text_numbers,
        }
        return next((flag for flag, is_asked in asked.items() if is_asked), "")


@runtime_checkable
class RowPreprocessor(Protocol):
    """A preprocessor that takes rows by name: `rules` may be set before the first sample."""

    rules: RowRules
