"""What lies beside a model: how its pictures are prepared and what its classes are called, as `edge-run` reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edge.describe import neighbours
from edge.describe.metadata import Pictures
from edge.model import labels


@dataclass(frozen=True, slots=True)
class Beside:
    """Empty where nothing says so; `notes` are for the report."""

    pictures: Pictures = field(default_factory=Pictures)
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read(path: Path | None, *, labelled: bool = False) -> Beside:
    """`path` is a file, or the folder that is a model; None: there is none. `labelled`: labels are given elsewhere."""
    if path is None:
        return Beside()
    config = neighbours.read(path)
    found = None if labelled else labels.beside(path / path.name if path.is_dir() else path)
    taken = [(config.file, "preprocessing")] if config.pictures is not None else []
    taken += [(found[0].name, "labels")] if found is not None else []
    notes = [f"{what} taken from {name} beside the model" for name, what in sorted(taken)]
    doubts = labels.doubts(found[0]) if found is not None else []
    return Beside(config.pictures or Pictures(), found[1] if found else (), (*config.warnings, *notes, *doubts))
