"""Which number type a scikit-learn model is converted in: tried in order, with a note where float64 cannot be had."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from converter.artifact import Artifact
from converter.errors import UnsupportedError
from converter.exporters.sklearn import precision
from converter.exporters.sklearn.precision import Precision
from converter.options import Options
from converter.proof import parity
from converter.rows.rows import Rows
from edge.errors import ModelError

Way = tuple[Precision, bool]
"""The number type of the inputs, and whether what trees give is made float64 (see `exact_trees.restore`)."""

_WIDEN: dict[Precision, tuple[bool, ...]] = {"float64": (False, True), "float32": (False,)}
_COARSE = 1e-2
_LONGEST_REASON = 300


def ways(model: Any, rows: Rows) -> list[Way]:
    """The ways to try, in order.

    A tree that compares float64, or stands behind a scaler, sees numbers that float32 cannot tell apart: a row in
    a hundred may take another branch. There float64 comes first, and where a feature hardly moves for how large it
    is; elsewhere float32, which the device likes better, and float64 where float32 does not give the same answers.
    """
    first = precision.wants_float64(model) or any(_is_coarse(rows, name) for name in rows.arrays)
    order: tuple[Precision, ...] = ("float64", "float32") if first else ("float32", "float64")
    return [(dtype, widen) for dtype in order for widen in _WIDEN[dtype]]


def _is_coarse(rows: Rows, name: str) -> bool:
    """True where a step of float32 at a feature's size is a hundredth or more of the feature's deviation."""
    if not rows.is_number(name):
        return False
    values = rows.numbers(name)
    values = values[np.isfinite(values)]
    spread = values.std() if len(values) else 0.0
    return bool(spread > 0 and np.spacing(np.float32(np.abs(values).max())) >= _COARSE * spread)


def best(attempt: Callable[[Precision, bool], Artifact], ways: Sequence[Way], options: Options) -> Artifact:
    """The first that answers as the original; else the last one that runs, for parity to judge.

    Notes where that is float32 after float64, and why: the rows of a sample hardly ever lie on an edge.
    """
    exported: Artifact | None = None
    refused: ModelError | None = None
    for dtype, widen in ways:
        try:
            artifact = attempt(dtype, widen)
            if parity.answers_alike(artifact, options):
                lost = dtype == "float32" and ways[0][0] == "float64"
                return artifact.noting(_only_float32(refused)) if lost else artifact
            exported = artifact
        except ModelError as exc:
            refused = refused or exc
    if exported is not None:
        return exported
    raise refused or UnsupportedError("there is no way to convert it")


def _only_float32(refused: ModelError | None) -> str:
    # The first clause is the cause; what follows is a way out of a refusal, and this is none.
    why = " ".join(str(refused).partition(";")[0].split())[:_LONGEST_REASON] if refused else "its answers differ"
    return (
        "computed in float32, where the original needs float64: rows whose numbers lie within float32's seven digits "
        f"of an edge of its bins, branches or classes may be answered otherwise; float64 cannot be had ({why})"
    )
