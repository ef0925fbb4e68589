"""What the exporters of models on plain numeric tables have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from converter.artifact import Artifact, Reference
from converter.errors import SampleFileError, UnsupportedError
from converter.graph.zipmap import without_zipmap
from converter.proof import missing
from converter.rows.rows import Rows
from converter.rows.tensors import check_columns, table
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


def reason(exc: BaseException) -> str:
    """An exception in one line."""
    text = " ".join(str(exc).split())
    return text[:300] or type(exc).__name__


def header_or(trained: Sequence[str] | None, count: int, rows: Rows | None, *, made_up: str = "") -> tuple[str, ...]:
    """The feature names: those the model was trained with, else the sample's header, else x0, x1, ...

    `made_up` is the prefix of the names that a framework invents where it was given none.
    """
    if trained and not (made_up and all(n == f"{made_up}{i}" for i, n in enumerate(trained))):
        return tuple(trained)
    if rows is not None and rows.table and len(rows.names) == count:
        return rows.names
    return tuple(f"x{i}" for i in range(count))


def matrix(rows: Rows, features: Sequence[Feature], dtype: str) -> Array:
    """float64 [rows, features], rounded to what `dtype` holds."""
    return table(rows, features).astype(dtype).astype("float64")


def finished(
    framework: str, proto: Any, manifest: Manifest, reference: Reference, rows: Rows, source: Source
) -> Artifact:
    """The artifact of a converted table model, with `missing` as proven and without rows that lack what may not be."""
    made = Artifact(
        framework=framework, target="onnx", model=without_zipmap(proto).SerializeToString(), manifest=manifest,
        reference=reference, rows=rows, source_bytes=source.size,
    )  # fmt: skip
    return missing.usable(missing.proven(made))
