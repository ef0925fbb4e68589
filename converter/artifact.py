"""A converted model on its way: what the exporter makes, the passes change and `save` writes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from converter import model_file
from converter.errors import OutputError
from converter.options import Target
from converter.rows.rows import Rows
from edge.data.tensor import Array, Tensors
from edge.errors import ModelError
from edge.model.manifest import Manifest, Parity, Provenance

Reference = Callable[[Rows], dict[str, Array]]
"""The source framework's own answers to some rows, by the name of the output they belong to.

Each array is [rows, ...]. Those of an output with the role "label" hold the class as the converted model
gives it (text or integer); an output that has no counterpart is left out.
"""

AlsoRight = Callable[[Rows, Tensors], Array]
"""Whether the model holds such answers of a file for right, too: bool [rows]."""


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


@dataclass(frozen=True, slots=True, eq=False)
class Challenge:
    """Rows made up to show what the sample cannot: ties, thresholds, values outside of it. `what` names them.

    `way_out` is what can be done where the file answers them otherwise; "" where nobody knows.
    """

    what: str
    rows: Rows
    way_out: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """What was measured. `differences` is the largest of each row, [rows]; classes are text, [rows]."""

    figures: Parity
    differences: Array
    before: Array | None = None
    after: Array | None = None
    expected: Array | None = None
    before_ms: float = 0.0
    after_ms: float = 0.0
    reasons: tuple[str, ...] = ()
    """Why the file fails; empty where it passes."""
    settled: int = 0
    """Rows whose answer the model leaves open, and the file answers otherwise than the original's library."""


@dataclass(frozen=True, slots=True, repr=False)
class Artifact:
    """`model` is the bytes of the file without its manifest. Frozen: a pass returns a new one.

    `rows` are those parity and golden samples are made from, `challenges` further ones for parity alone, `notes` what
    the report has to say about the way here, `variants` what it was chosen from. `comparison` is None until parity has
    run.
    """

    framework: str
    target: Target
    model: bytes
    manifest: Manifest
    reference: Reference
    rows: Rows
    challenges: tuple[Challenge, ...] = ()
    notes: tuple[str, ...] = ()
    passes: tuple[str, ...] = ()
    source_bytes: int = 0
    variants: tuple[Variant, ...] = ()
    comparison: Comparison | None = None
    unnamed: bool = False
    """The name is made up from a class: the file's own is better."""
    also_right: AlsoRight | None = None
    """Asked for answers that differ, where a model leaves some open; `open_because` says why it does."""
    open_because: str = ""

    def __repr__(self) -> str:
        """`<Artifact digits: scikit-learn -> onnx, classify, 5,026 bytes; 360 rows compared, off by 1e-06>`."""
        figures = self.manifest.parity if self.comparison is not None else None
        proof = f"{figures.rows} rows compared, off by {figures.max_difference:.3g}" if figures else "not yet compared"
        if figures is not None and figures.accuracy_after is not None:
            proof += f", accuracy {figures.accuracy_before:.2%} -> {figures.accuracy_after:.2%}"
        made = f"{self.framework} -> {self.target}, {self.manifest.task}, {len(self.model):,} bytes"
        return f"<Artifact {self.manifest.name}: {made}; {proof}>"

    def with_model(self, model: bytes, *, after: str) -> Artifact:
        """The artifact after the pass named `after`."""
        return replace(self, model=model, passes=(*self.passes, after))

    def noting(self, *notes: str) -> Artifact:
        """The artifact with something more to say."""
        return replace(self, notes=(*self.notes, *notes))

    def with_manifest(self, **changes: Any) -> Artifact:
        """The artifact with some fields of its manifest changed."""
        return replace(self, manifest=msgspec.structs.replace(self.manifest, **changes))

    def with_provenance(self, **changes: Any) -> Artifact:
        """The artifact with some fields of its provenance changed."""
        before = self.manifest.provenance or Provenance()
        return self.with_manifest(provenance=msgspec.structs.replace(before, **changes))

    def save(self, path: str | Path) -> Path:
        """`converter.write(self, path)`."""
        return write(self, path)


def write(artifact: Artifact, path: str | Path) -> Path:
    """Writes model and manifest as one file to `path`, whole or not at all; a model without a name gets the file's.

    Raises ModelError for an artifact that parity has not seen, OutputError where the place cannot be written.
    """
    path = Path(path)
    if artifact.comparison is None:
        raise ModelError(f"{path.name}: this artifact has not been compared with its original; use converter.convert")
    if path.suffix != f".{artifact.target}":
        raise OutputError(f"-o {path.name}: a model for {artifact.target} has to be named *.{artifact.target}")
    manifest = artifact.manifest
    if artifact.unnamed:
        manifest = msgspec.structs.replace(manifest, name=topic_name(path.stem) or manifest.name)
    model_file.write_whole(path, model_file.pack(artifact.target, artifact.model, manifest))
    return path


def topic_name(text: str) -> str:
    """A text as a name that may stand in a topic; "" where nothing of it may."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")
