"""One conversion, as reports show it."""

from __future__ import annotations

from dataclasses import dataclass

from converter.artifact import Artifact, Comparison, Variant
from edge.model.manifest import Manifest, Parity


@dataclass(frozen=True, slots=True)
class Report:
    """One conversion, whether it passed or not. Sizes are in bytes (0: not known), times in milliseconds a row."""

    manifest: Manifest
    framework: str
    target: str
    comparison: Comparison
    size_before: int
    size_after: int
    output: str = ""
    notes: tuple[str, ...] = ()
    variants: tuple[Variant, ...] = ()

    @property
    def figures(self) -> Parity:
        """The parity figures."""
        return self.comparison.figures


def of(artifact: Artifact, output: str = "") -> Report:
    """The report of an artifact that parity has seen."""
    if artifact.comparison is None:
        raise ValueError("an artifact without a comparison has no report")
    return Report(
        manifest=artifact.manifest, framework=artifact.framework, target=artifact.target,
        comparison=artifact.comparison, size_before=artifact.source_bytes, size_after=len(artifact.model),
        output=output, notes=artifact.notes, variants=artifact.variants,
    )  # fmt: skip
