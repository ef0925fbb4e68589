"""What is asked of rows by name: keys that are no feature, and features that are not there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import msgspec


class RowRules(msgspec.Struct, frozen=True):
    """`ignore_unknown`: keys that are no feature are left out, and `left_out` is told each; else they are refused.

    `absent_missing`: a feature that a row does not name counts as a missing value; else it is refused. Either way at
    least one feature has to be there, and a feature that must not be missing has to be.
    """

    ignore_unknown: bool = False
    absent_missing: bool = False
    left_out: Callable[[str], None] = lambda _: None


@runtime_checkable
class RowPreprocessor(Protocol):
    """A preprocessor that takes rows by name: `rules` may be set before the first sample."""

    rules: RowRules
