"""A converted model on its way: what the exporter makes, the passes change and `save` writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converter.options import Target
from converter.rows.rows import Rows
from edge.data.tensor import Array
from edge.model.manifest import Manifest, Provenance

if TYPE_CHECKING:
    from converter.proof.parity import Comparison

Reference = Callable[[Rows], dict[str, Array]]
"""The source framework's own answers to some rows, by the name of the output they belong to.

Each array is [rows, ...]. Those of an output with the role "label" hold the class as the converted model
gives it (text or integer); an output that has no counterpart is left out.
"""


@dataclass(frozen=True, slots=True)
class Variant:
    """A precision that `--quantize auto` tried. `size` in bytes, `reason` why it was not good enough."""

    name: str
    size: int = 0
    latency_ms: float = 0.0
    max_difference: float = 0.0
    agreement: float | None = None
    accuracy: float | None = None
    passed: bool = True
    reason: str = ""
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Artifact:
    """`model` is the bytes of the file without its manifest. Frozen: a pass returns a new one.

    `rows` are those parity and golden samples are made from, `notes` what the report has to say about the
    way here, `variants` what it was chosen from. `comparison` is None until parity has run.
    """

    framework: str
    target: Target
    model: bytes
    manifest: Manifest
    reference: Reference
    rows: Rows
    notes: tuple[str, ...] = ()
    passes: tuple[str, ...] = ()
    source_bytes: int = 0
    variants: tuple[Variant, ...] = ()
    comparison: Comparison | None = field(default=None, repr=False)

    def with_model(self, model: bytes, *, after: str) -> Artifact:
        """The artifact after the pass named `after`."""
        return replace(self, model=model, passes=(*self.passes, after))

    def noting(self, *notes: str) -> Artifact:
        """The artifact with something more to say."""
        return replace(self, notes=(*self.notes, *notes))

    def with_manifest(self, **changes: Any) -> Artifact:
        """The artifact with some fields of its manifest changed."""
        import msgspec

        return replace(self, manifest=msgspec.structs.replace(self.manifest, **changes))

    def with_provenance(self, **changes: Any) -> Artifact:
        """The artifact with some fields of its provenance changed."""
        import msgspec

        before = self.manifest.provenance or Provenance()
        return self.with_manifest(provenance=msgspec.structs.replace(before, **changes))

    def save(self, path: str | Path) -> Path:
        """Writes model and manifest as one file, whole or not at all.

        Raises OutputError where the place cannot be written.
        """
        from converter.proof import bundle

        return bundle.write(self, Path(path))
