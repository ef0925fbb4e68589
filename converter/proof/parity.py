"""Does the converted file give the original's answers? Run by the engine that the device has, on real rows.

A difference is |after - before| / max(1, |before|) for scores (of a quantised model as the probabilities that the
device will publish), and for values |after - before| over the
largest |before| of that output, so that targets of 1e-4 and of 1e6 are measured alike. The class agrees where
label or argmax is the same. It may differ in `1 - agreement` of the rows; a tie (the original's own scores for
both classes lie within the tolerance) does not count against the file, but is not called agreement either.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from converter import plugins
from converter.artifact import Artifact, Comparison
from converter.errors import REFUSES_ROWS, SampleFileError, rows_refused
from converter.options import Options
from converter.plugins import Limits
from converter.proof import initial_state
from converter.proof.answers import accuracy, classes_of, published, roles, ties
from converter.proof.device import latencies, load, run
from converter.rows.rows import Rows
from converter.rows.tensors import feed
from edge.data.tensor import Array, Tensors
from edge.errors import ModelError
from edge.model import golden
from edge.model.manifest import Golden, Manifest, Parity
from edge.plugins.protocols import Engine

GOLDEN_SAMPLES = 4
GOLDEN_BYTES = 2**20

# Without a pass that changes answers, the two differ by float32's rounding only.
ROUNDING = Limits(difference=1e-3, agreement=0.999)
# A predicted number has no border between classes near which it may move far: measured 6e-3 of the largest for int8.
LARGEST_FOR_NUMBERS = 0.05


class ParityError(ModelError):
    """The converted model does not give the original's answers. `artifact` is what was measured."""

    def __init__(self, message: str, artifact: Artifact) -> None:
        super().__init__(message)
        self.artifact = artifact


def prove(artifact: Artifact, options: Options) -> Artifact:
    """The artifact with its comparison, and parity figures and golden samples in the manifest.

    Raises ParityError where the answers differ, unless `options.force`, which the manifest then records.
    """
    with tempfile.TemporaryDirectory(prefix="edge-convert-") as folder:
        engine = load(artifact, Path(folder))
        try:
            comparison = compare(artifact, engine, options)
            samples = golden_samples(artifact, engine)
        finally:
            engine.close()
    forced = bool(comparison.reasons) and options.force
    figures = replace_figures(comparison.figures, forced=forced)
    proven = replace(
        artifact.with_manifest(parity=figures, golden=samples), comparison=replace(comparison, figures=figures)
    )
    if comparison.reasons and not forced:
        raise ParityError(
            f"the converted model is not the original: {'; '.join(comparison.reasons)}; nothing was written "
            "(--tolerance allows more, --force writes it all the same and says so in the manifest)",
            proven,
        )
    return proven


def replace_figures(figures: Parity, **changes: Any) -> Parity:
    """The figures with some of them changed."""
    return msgspec.structs.replace(figures, **changes)


def compare(artifact: Artifact, engine: Engine, options: Options, *, timed: bool = True) -> Comparison:
    """Runs both models on the artifact's rows and measures how far they are apart."""
    rows, manifest = artifact.rows, artifact.manifest
    before = _original(artifact, rows)
    after = run(engine, feed(rows, manifest.inputs))
    check_labels(manifest, after)
    _check_rows(manifest, after, len(rows))
    tolerance, least = limits(artifact, options)
    quantized = quantization(artifact) is not None
    differences, reasons = _differences(
        *((published(before, manifest), published(after, manifest)) if quantized else (before, after)),
        manifest,
        len(rows),
    )
    if float(np.max(differences)) > tolerance:
        over, most = int(np.sum(differences > tolerance)), float(np.max(differences))
        reasons.append(f"{over} of {len(rows)} rows differ, by up to {most:.3g}; allowed is {tolerance:.3g}")
    figures = Parity(
        rows=len(rows), source=rows.source, tolerance=tolerance,
        max_difference=float(np.max(differences)), mean_difference=float(np.mean(differences)),
    )  # fmt: skip
    old, new = classes_of(before, manifest), classes_of(after, manifest)
    if old is not None and new is not None:
        figures = replace_figures(figures, agreement=float(np.mean(old == new)))
        wrong = int(np.sum((old != new) & ~ties(before, after, manifest, tolerance)))
        if wrong > (1 - least) * len(rows):
            reasons.append(f"{wrong} of {len(rows)} rows get another class")
    if rows.expected is not None:
        figures = replace_figures(
            figures, accuracy_before=accuracy(before, old, rows.expected, manifest),
            accuracy_after=accuracy(after, new, rows.expected, manifest),
        )  # fmt: skip
    reasons += _dropped(figures, options.max_accuracy_drop)
    times = latencies(artifact, engine) if timed else (0.0, 0.0)
    return Comparison(
        figures=replace_figures(figures, passed=not reasons), differences=differences, before=old, after=new,
        expected=rows.expected, before_ms=times[0], after_ms=times[1], reasons=tuple(reasons),
    )  # fmt: skip


def _dropped(figures: Parity, allowed: float | None) -> list[str]:
    """Why the accuracy (of a regression: R squared) is not good enough; empty where it is, or nobody asked."""
    before, after = figures.accuracy_before, figures.accuracy_after
    if before is None or after is None or allowed is None or before - after <= allowed:
        return []
    return [f"the accuracy drops by {before - after:.4f}; allowed is {allowed:g}"]


def answers_alike(artifact: Artifact, options: Options) -> bool:
    """True where the artifact passes as it is. Raises ModelError where it does not run."""
    with tempfile.TemporaryDirectory(prefix="edge-convert-") as folder:
        engine = load(artifact, Path(folder))
        try:
            return not compare(artifact, engine, options, timed=False).reasons
        finally:
            engine.close()


def quantization(artifact: Artifact) -> Limits | None:
    """What the last pass that changed answers allows; None for the original's own precision."""
    return next((found for p in reversed(artifact.passes) if (found := plugins.limits_of(p)) is not None), None)


def limits(artifact: Artifact, options: Options) -> tuple[float, float]:
    """The largest difference and the least share of rows with the same class that pass, for its precision."""
    allowed = quantization(artifact) or ROUNDING
    tolerance = allowed.difference
    if artifact.manifest.task == "regress":
        tolerance = min(tolerance, LARGEST_FOR_NUMBERS)
    return (tolerance if options.tolerance is None else options.tolerance), allowed.agreement


def _original(artifact: Artifact, rows: Rows) -> dict[str, Array]:
    try:
        return artifact.reference(rows)
    except REFUSES_ROWS as exc:
        raise rows_refused(exc) from exc


def _differences(before: Tensors, after: Tensors, manifest: Manifest, rows: int) -> tuple[Array, list[str]]:
    """The largest difference of each row, and what else is wrong. One without a row axis counts for every row."""
    worst = np.zeros(rows)
    reasons: list[str] = []
    labels = roles(manifest, "label")
    for name, wanted in before.items():
        if name not in after:
            raise ModelError(f"the converted model has no output {name!r}; it has {', '.join(after)}")
        if name in labels or wanted.dtype.kind in "OUS":
            continue
        got = after[name]
        if got.shape != wanted.shape and got.size == wanted.size and len(got) == len(wanted):
            got = got.reshape(wanted.shape)  # [rows] and [rows, 1] say the same
        if got.shape != wanted.shape:
            reasons.append(f"output {name!r} has the shape {list(got.shape)}, the original's is {list(wanted.shape)}")
            continue
        bad = np.isfinite(wanted.astype(np.float64)) & ~np.isfinite(got.astype(np.float64))
        if bad.any():
            reasons.append(
                f"output {name!r} is not finite in {int(bad.reshape(len(bad), -1).any(axis=1).sum())} of {rows} rows"
            )
        apart = _apart(wanted, got, scores=name in roles(manifest, "scores"))
        worst = np.maximum(worst, apart if len(apart) == rows else np.max(apart, initial=0.0))
    return worst, reasons


def _apart(before: Array, after: Array, *, scores: bool) -> Array:
    a, b = before.astype(np.float64).reshape(len(before), -1), after.astype(np.float64).reshape(len(after), -1)
    if a.size == 0:
        return np.zeros(len(before))
    size = np.where(np.isfinite(a), np.abs(a), 0.0)
    scale = np.maximum(1.0, size) if scores else (np.max(size, axis=0) + (np.max(size, axis=0) == 0))
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(a - b) / scale)
    return np.asarray(np.max(np.where(np.isnan(apart), np.inf, apart), axis=1))


def _check_rows(manifest: Manifest, outputs: Tensors, rows: int) -> None:
    """Raises ModelError where the file does not answer each row once."""
    for name in roles(manifest, "label"):
        if name in outputs and outputs[name].size != rows:
            raise ModelError(f"the converted model gives {outputs[name].size} labels for {rows} rows; it is of no use")


def check_labels(manifest: Manifest, outputs: Tensors) -> None:
    """Raises SampleFileError where there are not as many labels as the model has classes."""
    for name in roles(manifest, "scores"):
        scores = outputs.get(name)
        if (
            manifest.labels
            and manifest.task == "classify"
            and scores is not None
            and scores.ndim == 2
            and scores.shape[1] not in (1, len(manifest.labels))
        ):
            raise SampleFileError(
                f"--labels: {len(manifest.labels)} labels, but the output {name!r} has {scores.shape[1]} classes"
            )


def golden_samples(artifact: Artifact, engine: Engine) -> tuple[Golden, ...]:
    """Some rows and what the file answers to each, one row at a time as the device will ask."""
    chosen = golden.choose(range(len(artifact.rows)), GOLDEN_SAMPLES)
    made: list[Golden] = []
    size = 0
    for row in chosen:
        tensors = feed(artifact.rows.take([row]), artifact.manifest.inputs)
        outputs = {n: np.asarray(v) for n, v in engine.infer(tensors).items()}
        sample = golden.make({**tensors, **initial_state.supplied(engine)}, outputs)
        size += sum(len(t.data) for t in (*sample.inputs.values(), *sample.outputs.values()))
        if made and size > GOLDEN_BYTES:
            break
        made.append(sample)
    return tuple(made)
