"""What the exporters of models on plain numeric tables have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converter.artifact import Artifact, Reference
from converter.options import Options
from converter.passes.free_batch import free_batch
from converter.passes.remove_zipmap import remove_zipmap
from converter.rows import missing
from converter.rows.rows import Rows
from converter.rows.tensors import table
from converter.sources.recognise import Source
from edge.data.tensor import Array
from edge.model.manifest import Feature, Manifest


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
        framework=framework, target="onnx", model=proto.SerializeToString(), manifest=manifest, reference=reference,
        rows=rows, source_bytes=source.path.stat().st_size if source.path is not None else 0,
    )  # fmt: skip
    options = Options()
    return missing.usable(missing.proven(free_batch(remove_zipmap(made, options), options)))
