"""Does the converted file give the original's answers? Run by the engine that the device has, on real rows.

The original is given the rows as they are, never rounded to what the file takes. A difference is |after - before| /
max(1, largest |before| of the row) for scores (of a quantised model as the probabilities that the device will publish),
and for values |after - before| over the span of that output's answers, so that targets of 1e-4 and of 1e6, and those
that are far from zero, are measured alike. The class agrees where label or argmax is the same. It may differ in
`1 - agreement` of the rows; a near tie (the original's own scores for both classes lie within the tolerance) does not
count against the file, but is not called agreement either. Where the original's scores are equal, it says itself which
class is first.

What the rows of a sample do not show is asked by `challenges`, rows that were made for it.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from converter import plugins
from converter.artifact import Artifact, Challenge, Comparison
from converter.errors import REFUSES_ROWS, SampleFileError, rows_refused
from converter.options import Options
from converter.plugins import Limits
from converter.proof import initial_state
from converter.proof.answers import accuracy, class_values, classes_of, published, roles, ties
from converter.proof.device import latencies, load, run
from converter.proof.differences import class_apart, differences, far_from_zero, flat, numbers_apart, row_of
from converter.rows.rows import Rows
from converter.rows.tensors import feed
from edge.compare.answers import plain
from edge.data.tensor import Array, Tensors
from edge.errors import ModelError
from edge.model import golden
from edge.model.manifest import Golden, Manifest, Parity
from edge.plugins.protocols import Engine

GOLDEN_SAMPLES = 4
ASKED_AGAIN = 4
GOLDEN_BYTES = 2**20

# Without a pass that changes answers, the two differ by float32's rounding only.
ROUNDING = Limits(difference=1e-3, agreement=0.999)
# A predicted number has no border between classes near which it may move far: measured 6e-3 of the largest for int8.
LARGEST_FOR_NUMBERS = 0.05
FAR_FROM_ZERO = (
    "its answers vary little for how large they are, and float32 has seven digits: train with the mean taken off the "
    "targets (in scikit-learn TransformedTargetRegressor with StandardScaler does it, and converts)"
)


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
    if comparison.settled:
        return proven.noting(f"{comparison.settled} of {figures.rows} rows: {artifact.open_because}")
    return proven


def replace_figures(figures: Parity, **changes: Any) -> Parity:
    """The figures with some of them changed."""
    return msgspec.structs.replace(figures, **changes)


def compare(artifact: Artifact, engine: Engine, options: Options, *, timed: bool = True) -> Comparison:
    """Runs both models on the artifact's rows, and on its challenges, and measures how far they are apart."""
    rows, manifest = artifact.rows, artifact.manifest
    before = _original(artifact, rows)
    after = run(engine, feed(rows, manifest.inputs), singly=not manifest.batch_independent)
    check_labels(manifest, after)
    _check_rows(manifest, after, len(rows))
    allowed = limits(artifact, options)
    original = before
    before, settled = _settled(before, after, artifact, rows, allowed)
    measured = _measured(before, after, artifact)
    largest = float(np.max(measured.differences))
    reasons = [*measured.reasons, *measured.over(allowed, rows)]
    if reasons and manifest.task == "regress" and any(far_from_zero(before[n]) for n in roles(manifest, "value")):
        reasons.append(FAR_FROM_ZERO)
    figures = Parity(
        rows=len(rows), source=rows.source, tolerance=allowed.difference, max_difference=largest,
        mean_difference=float(np.mean(measured.differences)),
    )  # fmt: skip
    old, new = classes_of(before, manifest), classes_of(after, manifest)
    if old is not None and new is not None:
        figures = replace_figures(figures, agreement=float(np.mean(old == new)))
        reasons += _other_classes(before, after, artifact, rows, allowed)
    if rows.expected is not None:
        own = classes_of(original, manifest)
        require_known_answers(rows.expected, own, original, manifest)
        figures = replace_figures(
            figures, accuracy_before=accuracy(original, own, rows.expected, manifest),
            accuracy_after=accuracy(after, new, rows.expected, manifest),
        )  # fmt: skip
    reasons += _dropped(figures, _allowed_drop(artifact, options))
    if quantization(artifact) is None:
        reasons += [r for c in artifact.challenges for r in _challenged(c, before, artifact, engine, allowed)]
    if timed:
        reasons = _unsteady(artifact, allowed) or reasons
    times = latencies(artifact, engine) if timed else (0.0, 0.0)
    return Comparison(
        figures=replace_figures(figures, passed=not reasons), differences=measured.differences, before=old, after=new,
        expected=rows.expected, before_ms=times[0], after_ms=times[1], reasons=tuple(reasons),
        settled=settled,
    )  # fmt: skip


def _unsteady(artifact: Artifact, allowed: Limits) -> list[str]:
    """That the original's answer to a row is not that row's alone, so that no file could give it; empty where it is."""
    if not artifact.manifest.batch_independent:
        return []
    rows = artifact.rows.take(golden.choose(range(len(artifact.rows)), ASKED_AGAIN))
    first, again = _original(artifact, rows), _original(artifact, rows)
    if _measured(first, again, artifact).over(allowed, rows):
        return [
            "the original answers the same rows otherwise each time it is asked (it keeps something from row to row, "
            "or has random numbers at prediction, such as dropout that is always on)"
        ]
    each = [_original(artifact, rows.take([i])) for i in range(len(rows))]
    alone = {n: np.concatenate([one[n] for one in each]) for n in first}
    if _measured(first, alone, artifact).over(allowed, rows):
        return [
            "the original's answer to a row depends on the rows that come with it, and a device has one row at a time: "
            "it uses statistics of the batch, or trees compare sums whose last digit differs (behind a PCA, for "
            "instance: there, give --sample rows that it was not trained on)"
        ]
    return []


@dataclass(frozen=True, slots=True)
class _Measured:
    """The largest difference of each row, [rows], what else is wrong, and the answers that were compared."""

    differences: Array
    reasons: tuple[str, ...]
    before: Tensors
    after: Tensors

    def over(self, allowed: Limits, rows: Rows) -> list[str]:
        """That rows differ by more than is allowed, and where the most; empty where none does."""
        over = int(np.sum(self.differences > allowed.difference))
        if not over:
            return []
        worst = int(np.argmax(self.differences))
        numbers = numbers_apart(self.before, self.after, worst)
        where = f" ({row_of(rows, worst)}: {numbers})" if numbers else ""
        return [
            f"{over} of {len(self.differences)} rows differ, by up to {self.differences[worst]:.3g}{where}; allowed is "
            f"{allowed.difference:.3g}"
        ]


def _measured(before: Tensors, after: Tensors, artifact: Artifact, spans: Tensors | None = None) -> _Measured:
    """How far the answers are apart. `spans`: answers whose span counts, where it is not that of `before`."""
    manifest = artifact.manifest
    if quantization(artifact) is not None:
        before, after = published(before, manifest), published(after, manifest)
    return _Measured(*differences(before, after, manifest, spans or before), before, after)


def _settled(
    before: Tensors, after: Tensors, artifact: Artifact, rows: Rows, allowed: Limits, spans: Tensors | None = None
) -> tuple[dict[str, Array], int]:
    """The original's answers, with the file's where the model holds those for right, too; and how many those are."""
    if artifact.also_right is None:
        return dict(before), 0
    differ = _measured(before, after, artifact, spans).differences > allowed.difference
    old, new = classes_of(before, artifact.manifest), classes_of(after, artifact.manifest)
    if old is not None and new is not None:
        differ |= old != new
    at = np.flatnonzero(differ)
    if len(at):
        at = at[artifact.also_right(rows.take(at), {n: a[at] for n, a in after.items()})]
    taken = {n: a.copy() for n, a in before.items()}
    for name, values in taken.items():
        values[at] = after[name][at].reshape(values[at].shape)
    return taken, len(at)


def _other_classes(before: Tensors, after: Tensors, artifact: Artifact, rows: Rows, allowed: Limits) -> list[str]:
    """That rows get another class than the original gives; empty where few enough do."""
    manifest = artifact.manifest
    old, new = classes_of(before, manifest), classes_of(after, manifest)
    if old is None or new is None:
        return []
    wrong = np.flatnonzero((old != new) & ~ties(before, after, manifest, allowed.difference))
    if len(wrong) <= (1 - allowed.agreement) * len(old):
        return []
    first = int(wrong[0])
    where = f"{row_of(rows, first)}: {class_apart(old, new, first)}"
    return [f"{len(wrong)} of {len(old)} rows get another class ({where})"]


def _challenged(
    challenge: Challenge, answers: Tensors, artifact: Artifact, engine: Engine, allowed: Limits
) -> list[str]:
    """What the file answers wrongly to made-up rows; empty where the original itself takes none of them.

    Numbers far from those of the sample are measured against themselves, others against the span of the `answers` to
    the sample.
    """
    rows, manifest = challenge.rows, artifact.manifest
    try:
        before = artifact.reference(rows)
    except (*REFUSES_ROWS, SampleFileError):
        return []
    finite = np.ones(len(rows), dtype=bool)
    for values in (a for a in before.values() if a.dtype.kind in "biuf"):
        finite &= np.isfinite(flat(values)).all(axis=1)
    keep = np.flatnonzero(finite)
    if not len(keep):
        return []
    rows = rows.take(keep)
    after = run(engine, feed(rows, manifest.inputs), singly=not manifest.batch_independent)
    before = {n: a[keep] for n, a in before.items()}
    before, _ = _settled(before, after, artifact, rows, allowed, answers)
    measured = _measured(before, after, artifact, answers)
    apart = [*measured.over(allowed, rows), *_other_classes(before, after, artifact, rows, allowed)]
    hint = f" ({challenge.way_out})" if challenge.way_out else ""
    return [f"{challenge.what}: {reason}{hint}" for reason in (*measured.reasons, *apart)]


def _allowed_drop(artifact: Artifact, options: Options) -> float | None:
    """How much accuracy may be lost; for numbers that were quantised there is a limit also where none was asked for."""
    allowed = options.max_accuracy_drop
    quantized = quantization(artifact) is not None and artifact.manifest.task == "regress"
    return LARGEST_FOR_NUMBERS if allowed is None and quantized else allowed


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
    return next((limits for p in reversed(artifact.passes) if (limits := plugins.limits_of(p)) is not None), None)


def limits(artifact: Artifact, options: Options) -> Limits:
    """What passes for the artifact's precision and task."""
    allowed = quantization(artifact) or ROUNDING
    difference = allowed.difference
    if artifact.manifest.task == "regress":
        difference = min(difference, LARGEST_FOR_NUMBERS)
    return msgspec.structs.replace(allowed, difference=difference if options.tolerance is None else options.tolerance)


def _original(artifact: Artifact, rows: Rows) -> dict[str, Array]:
    try:
        return artifact.reference(rows)
    except REFUSES_ROWS as exc:
        raise rows_refused(exc) from exc


def require_known_answers(expected: Array, given: Array | None, outputs: Tensors, manifest: Manifest) -> None:
    """Raises SampleFileError where the model is a classifier and none of the answers is a class of it."""
    known = {*class_values(manifest), *manifest.labels, *(() if given is None else given)}
    scores = next((outputs[n] for n in roles(manifest, "scores") if n in outputs), None)
    if not known and scores is not None:
        known = {str(i) for i in range(max(2, int(np.prod(scores.shape[1:]))))}
    if manifest.task != "classify" or not known or any(plain(e) in known for e in expected):
        return
    shown = ", ".join(dict.fromkeys(plain(e) for e in expected[:200]))
    raise SampleFileError(
        f"--expect: none of the answers ({shown[:80]}) is a class of the model; its classes are "
        f"{', '.join(sorted(known)[:12])}"
    )


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
    samples: list[Golden] = []
    size = 0
    for row in chosen:
        tensors = feed(artifact.rows.take([row]), artifact.manifest.inputs)
        outputs = {n: np.asarray(v) for n, v in engine.infer(tensors).items()}
        sample = golden.make({**tensors, **initial_state.supplied(engine)}, outputs)
        size += sum(len(t.data) for t in (*sample.inputs.values(), *sample.outputs.values()))
        if samples and size > GOLDEN_BYTES:
            break
        samples.append(sample)
    return tuple(samples)
