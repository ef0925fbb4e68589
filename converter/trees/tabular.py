"""What the exporters of models on plain numeric tables have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from converter.artifact import Artifact
from converter.errors import SampleFileError, UnsupportedError
from converter.graph.zipmap import without_zipmap
from converter.proof import challenges, missing
from converter.rows.rows import Rows
from converter.rows.tensors import check_columns
from converter.source import Source
from edge.data.tensor import Array
from edge.model.manifest import Feature, Manifest

TREES_OPSET = 15  # the newest that onnxmltools knows

# What skl2onnx raises for what it cannot convert.
REFUSALS = (
    RuntimeError, NotImplementedError, ValueError, TypeError, NameError, AttributeError, KeyError, IndexError,
    ImportError, AssertionError, ArithmeticError,
)  # fmt: skip


def spelt(names: Sequence[str], rows: Rows | None) -> tuple[str, ...]:
    """Names as the sample spells them: LightGBM keeps "_" where there was a blank."""
    header = rows.names if rows is not None and rows.table else ()
    spellings = {n.replace(" ", "_"): n for n in header}
    return tuple(n if n in header else spellings.get(n, n) for n in names)


def as_table(rows: Rows, features: Sequence[Feature]) -> Rows:
    """The rows as named columns. Raises SampleFileError where they are not those that the model takes."""
    names = [f.name for f in features]
    if rows.table:
        rows.require_one_reading([f.name for f in features if f.kind == "number"])
        check_columns(rows, names)
        return rows
    array = rows.array
    if array.ndim == 1 and len(names) == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] != len(names):
        raise SampleFileError(
            f"the sample's rows have the shape {list(array.shape[1:])}, the model takes {len(names)} features"
        )
    return replace(rows, arrays={n: array[:, i] for i, n in enumerate(names)}, table=True)


def trees_on_tflite(what: str) -> UnsupportedError:
    """The refusal of a target that has no operators for trees and pipelines."""
    return UnsupportedError(
        f"{what} cannot become TFLite: it has no operators for trees, pipelines or text (ONNX has, as ai.onnx.ml); "
        "convert to ONNX instead: -o OUT.onnx, edge-run takes it the same way"
    )


def header_or(trained: Sequence[str] | None, count: int, rows: Rows | None, *, made_up: str = "") -> tuple[str, ...]:
    """The feature names: those the model was trained with, else the sample's header, else x0, x1, ...

    `made_up` is the prefix of the names that a framework invents where it was given none.
    """
    if trained and not (made_up and all(n == f"{made_up}{i}" for i, n in enumerate(trained))):
        return tuple(trained)
    if rows is not None and rows.table and len(rows.names) == count:
        return rows.names
    return tuple(f"x{i}" for i in range(count))


# What people write for a value that they have not.
_SIZES = (99.0, 999.0, 9999.0, 99999.0, 999999.0)
_STANDS_FOR_MISSING = {-1.0, *_SIZES, *(-size for size in _SIZES)}
_SHARE = 0.01


def suspected_missing(rows: Rows, features: Sequence[Feature]) -> tuple[str, ...]:
    """A note for each number in the sample that looks as if it stood for a missing value; only the user knows."""
    if rows.source != "sample":
        return ()
    columns: dict[float, list[str]] = {}
    for feature in features:
        values, counts = np.unique(rows.numbers(feature.name), return_counts=True)
        order = np.argsort(counts)[::-1]
        often, next_often = counts[order[0]], counts[order[1]] if len(order) > 1 else 0
        if values[order[0]] in _STANDS_FOR_MISSING and often >= max(_SHARE * len(rows), 2 * next_often, 2):
            columns.setdefault(float(values[order[0]]), []).append(feature.name)
    return tuple(
        f"{value:g} is the most frequent value of {', '.join(names[:5])}: if it stands for a missing value, say "
        f"--missing {value:g}; an XGBoost file has lost that setting, and the model answers otherwise without it"
        for value, names in columns.items()
    )


class Original(Protocol):
    """A model of a framework, behind one door."""

    def answers(self, rows: Rows) -> dict[str, Array]:
        """Its own answers, arrays [rows, ...] by output name: the `Reference` of an artifact."""

    def thresholds(self) -> list[tuple[int, float]]:
        """(feature's place, number) pairs at which its trees decide."""


def finished(
    framework: str, proto: Any, manifest: Manifest, original: Original, rows: Rows, source: Source
) -> Artifact:
    """The artifact of a converted table model, with `missing` as proven and without rows that lack what may not be."""
    artifact = Artifact(
        framework=framework, target="onnx", model=without_zipmap(proto).SerializeToString(), manifest=manifest,
        reference=original.answers, rows=rows, source_bytes=source.size,
    )  # fmt: skip
    questions = challenges.of_table(rows, manifest.features, original.answers, original.thresholds())
    return replace(missing.usable(missing.proven(artifact)), challenges=questions)
