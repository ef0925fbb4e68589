"""A row to try a model with, out of its golden samples."""

from __future__ import annotations

from typing import Any

from edge.model import golden
from edge.model.manifest import Manifest

ROW_MOST = 4096


def row(manifest: Manifest) -> dict[str, Any] | list[Any] | None:
    """By feature name where each has one; None where there is no sample, or the model takes more than a row."""
    if not manifest.golden:
        return None
    try:
        found = [_shortest(golden.unpack(t)) for t in manifest.golden[0].inputs.values()]
    except ValueError:
        return None
    values: list[Any] = found[0] if len(found) == 1 else [v[0] for v in found]
    names = [f.name for f in manifest.features]
    if all(names) and names and len(names) == len(values):
        return dict(zip(names, values, strict=True))
    return values if len(values) <= ROW_MOST else None


def _shortest(values: Any) -> list[Any]:
    """As a person would write them: 5.1, not 5.099999904632568, which is the same in float32."""
    flat = values.ravel()
    return [float(str(v)) for v in flat] if flat.dtype.kind == "f" else list(flat.tolist())
