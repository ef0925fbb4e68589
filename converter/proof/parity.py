"""Does the converted file give the original's answers? Run by the engine that the device has, on real rows.

A difference is |after - before| / max(1, |before|) for scores (of a quantised model as the probabilities that the
device will publish), and for values |after - before| over the
largest |before| of that output, so that targets of 1e-4 and of 1e6 are measured alike. The class agrees where
label or argmax is the same. It may differ in `1 - agreement` of the rows; a tie (the original's own scores for
both classes lie within the tolerance) does not count against the file, but is not called agreement either.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from converter.artifact import Artifact
from converter.errors import REFUSES_ROWS, OutputError, ParityError, SampleFileError, rows_refused
from converter.options import Options
from converter.proof import initial_state
from converter.report.quiet import quiet
from converter.rows.rows import Rows
from converter.rows.tensors import BATCH, batches, feed
from edge.data.tensor import Array, Tensors
from edge.errors import ModelError, SampleError
from edge.model import golden
from edge.model.manifest import Golden, Manifest, Parity
from edge.plugins import registry
from edge.plugins.protocols import Engine, EngineOptions

ENGINES = {"onnx": "onnxruntime", "tflite": "litert"}
GOLDEN_SAMPLES = 4
GOLDEN_BYTES = 2**20
LATENCY_BUDGET_S = 0.3

# By precision, the largest difference and the least share of rows with the same class. float32 differs by rounding
# only. float16 has 11 bits: measured 1.6e-2 on logits, 8e-4 on probabilities. int8 has 256 steps: a row near the
# border between two classes may move far (measured: up to 0.15), so the share of rows that keep their class is the
# stricter of the two. A predicted number has no such border: measured 6e-3 of the largest.
LIMITS = {"none": (1e-3, 0.999), "fp16": (2e-2, 0.99), "int8": (0.3, 0.95), "dynamic": (0.3, 0.95)}
LARGEST_FOR_NUMBERS = 0.05


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
    import msgspec

    return msgspec.structs.replace(figures, **changes)


def load(artifact: Artifact, folder: Path) -> Engine:
    """The artifact's model in the engine that runs its format, from a file in `folder`."""
    path = folder / f"{artifact.manifest.name or 'model'}.{artifact.target}"
    try:
        path.write_bytes(artifact.model)
    except OSError as exc:
        raise OutputError(f"{folder}: no room for the model while it is checked: {exc.strerror}; set TMPDIR") from exc
    # Trying a file in a forked child is for files of strangers; beside a framework's threads a fork may hang.
    options = EngineOptions(own_file=artifact.framework != artifact.target)
    with quiet():
        engine: Engine = registry.find("edge.engines", ENGINES[artifact.target])(path, options)
    return initial_state.of(engine, artifact.manifest)


def run(engine: Engine, tensors: Tensors) -> dict[str, Array]:
    """Every output, [rows, ...]. Raises ModelError where the engine refuses the rows."""
    free = all(spec.free_batch for spec in engine.inputs if spec.name in tensors)
    parts: dict[str, list[Array]] = {}
    try:
        for part in batches(tensors, BATCH if free else 1):
            for name, value in engine.infer(part).items():
                parts.setdefault(name, []).append(np.asarray(value))
    except SampleError as exc:
        raise ModelError(f"the converted model does not run: {exc}") from exc
    return {name: np.concatenate([np.atleast_1d(v) for v in values]) for name, values in parts.items()}


def compare(artifact: Artifact, engine: Engine, options: Options, *, timed: bool = True) -> Comparison:
    """Runs both models on the artifact's rows and measures how far they are apart."""
    rows, manifest = artifact.rows, artifact.manifest
    before = _original(artifact, rows)
    after = run(engine, feed(rows, manifest.inputs))
    check_labels(manifest, after)
    _check_rows(manifest, after, len(rows))
    tolerance, least = limits(artifact, options)
    published = precision(artifact) != "none"
    differences, reasons = _differences(
        *((_published(before, manifest), _published(after, manifest)) if published else (before, after)),
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
        wrong = int(np.sum((old != new) & ~_ties(before, after, manifest, tolerance)))
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


def precision(artifact: Artifact) -> str:
    """ "none" for the original's own precision, else the last quantisation that the artifact went through."""
    return next((p for p in reversed(artifact.passes) if p in LIMITS), "none")


def limits(artifact: Artifact, options: Options) -> tuple[float, float]:
    """The largest difference and the least share of rows with the same class that pass, for its precision."""
    tolerance, least = LIMITS[precision(artifact)]
    if artifact.manifest.task == "regress":
        tolerance = min(tolerance, LARGEST_FOR_NUMBERS)
    return (tolerance if options.tolerance is None else options.tolerance), least


def _published(outputs: Tensors, manifest: Manifest) -> dict[str, Array]:
    """The outputs with scores as probabilities: what the device will say."""
    made = dict(outputs)
    for name in roles(manifest, "scores"):
        if name not in made or not manifest.activation:
            continue
        scores = made[name].astype(np.float64)
        if manifest.activation == "sigmoid":
            made[name] = 1.0 / (1.0 + np.exp(-scores))
        else:
            flat = scores.reshape(len(scores), -1)
            powers = np.exp(flat - flat.max(axis=1, keepdims=True))
            made[name] = (powers / powers.sum(axis=1, keepdims=True)).reshape(scores.shape)
    return made


def _original(artifact: Artifact, rows: Rows) -> dict[str, Array]:
    try:
        return artifact.reference(rows)
    except REFUSES_ROWS as exc:
        raise rows_refused(exc) from exc


def latency_ms(artifact: Artifact, engine: Engine, budget_s: float) -> float:
    """Median milliseconds of the engine for one row."""
    tensors = feed(artifact.rows.take([0]), artifact.manifest.inputs)
    return _latency_ms(lambda: engine.infer(tensors), budget_s)


def latencies(artifact: Artifact, engine: Engine) -> tuple[float, float]:
    """Median milliseconds for one row: the original (with its own preparation), the engine."""
    first = artifact.rows.take([0])
    tensors = feed(first, artifact.manifest.inputs)
    return _latency_ms(lambda: artifact.reference(first)), _latency_ms(lambda: engine.infer(tensors))


def roles(manifest: Manifest, role: str) -> list[str]:
    """The names of the outputs that have a role."""
    return [o.name for o in manifest.outputs if o.role == role]


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


def classes_of(outputs: Tensors, manifest: Manifest) -> Array | None:
    """The class of each row as text: the label output, the argmax of the scores, or the side of the threshold."""
    if manifest.task == "anomaly":
        score = next((outputs[n] for n in roles(manifest, "score")), None)
        if score is None or manifest.threshold is None:
            return None
        return np.where(score.reshape(-1) > manifest.threshold, "anomaly", "normal").astype(object)
    if manifest.task != "classify":
        return None
    for name in roles(manifest, "label"):
        if name in outputs:
            return np.array([plain(v) for v in outputs[name].reshape(-1)], dtype=object)
    for name in roles(manifest, "scores"):
        if name in outputs and outputs[name].ndim >= 2:
            scores = outputs[name].reshape(len(outputs[name]), -1)
            names = class_values(manifest) or tuple(str(i) for i in range(max(2, scores.shape[1])))
            if scores.shape[1] == 1:  # of the second of two classes
                return np.array([names[int(s > _border(manifest))] for s in scores[:, 0]], dtype=object)
            return np.array([names[i] for i in np.argmax(scores, axis=1)], dtype=object)
    return None


def _border(manifest: Manifest) -> float:
    """The score of the second of two classes above which it is that one."""
    return 0.0 if manifest.activation == "sigmoid" else 0.5


def class_values(manifest: Manifest) -> tuple[str, ...]:
    """The classes in order, as the label output gives them."""
    given = next((o.values for o in manifest.outputs if o.role == "label" and o.values), ())
    return given or manifest.labels


def plain(value: Any) -> str:
    """A class as text; 3, 3.0 and "3" are the same one."""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _ties(before: Tensors, after: Tensors, manifest: Manifest, tolerance: float) -> Array:
    """[rows] True where the original's own scores hardly prefer its class to the one the file chose."""
    rows = len(next(iter(after.values())))
    if manifest.task == "anomaly":
        score = before[roles(manifest, "score")[0]].reshape(-1).astype(np.float64)
        return np.abs(score - (manifest.threshold or 0.0)) <= tolerance * max(1e-12, float(np.max(np.abs(score))))
    scores = next((before[n] for n in roles(manifest, "scores") if n in before and before[n].ndim == 2), None)
    values, old, new = class_values(manifest), classes_of(before, manifest), classes_of(after, manifest)
    if scores is not None and scores.shape[1] == 1:
        return np.asarray(np.abs(scores[:, 0] - _border(manifest)) <= tolerance)
    if scores is None or old is None or new is None or scores.shape[1] != len(values):
        return np.zeros(rows, dtype=bool)
    known = np.array([a in values and b in values for a, b in zip(old, new, strict=True)])
    places = [[values.index(c) if c in values else 0 for c in classes] for classes in (old, new)]
    each = np.arange(rows)
    return np.asarray(known & (np.abs(scores[each, places[0]] - scores[each, places[1]]) <= tolerance))


def accuracy(outputs: Tensors, classes: Array | None, expected: Array, manifest: Manifest) -> float | None:
    """The share of right classes; of a regression R squared (1 is perfect, 0 no better than the mean)."""
    if classes is not None:
        shown = dict(zip(class_values(manifest), manifest.labels, strict=False))
        right = [plain(e) in (c, shown.get(c)) for c, e in zip(classes, expected, strict=True)]
        return float(np.mean(right))
    names = roles(manifest, "value")
    if manifest.task != "regress" or not names:
        return None
    try:
        truth = expected.astype(np.float64).reshape(len(expected), -1)
    except ValueError:
        raise SampleFileError("--expect: the model predicts numbers, the expected answers are text") from None
    guess = outputs[names[0]].astype(np.float64).reshape(len(truth), -1)
    spread = float(np.sum((truth - truth.mean(axis=0)) ** 2))
    return 1.0 - float(np.sum((truth - guess) ** 2)) / spread if spread else None


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


def _latency_ms(call: Callable[[], Any], budget_s: float = LATENCY_BUDGET_S) -> float:
    """The median time of a call, in milliseconds, after one to warm up."""
    call()
    taken: list[float] = []
    until = time.perf_counter() + budget_s
    while len(taken) < 3 or (time.perf_counter() < until and len(taken) < 200):
        start = time.perf_counter()
        call()
        taken.append((time.perf_counter() - start) * 1e3)
    return float(np.median(taken))
