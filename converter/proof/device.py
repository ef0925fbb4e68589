"""A converted model in the engine that the device has: loaded, run on rows, timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from converter.artifact import Artifact
from converter.errors import OutputError
from converter.proof import initial_state
from converter.quiet import quiet
from converter.rows.tensors import BATCH, batches, feed
from edge.data.tensor import Array, Tensors
from edge.engines import choose
from edge.errors import ModelError, SampleError
from edge.plugins.protocols import Engine, EngineOptions

LATENCY_BUDGET_S = 0.05
FEWEST_CALLS, MOST_CALLS = 5, 200


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
        engine = choose.load(path, options)
    return initial_state.of(engine, artifact.manifest)


def run(engine: Engine, tensors: Tensors, *, singly: bool = False) -> dict[str, Array]:
    """Every output, [rows, ...]; `singly` one row at a time. Raises ModelError where the engine refuses the rows."""
    free = not singly and all(spec.free_batch for spec in engine.inputs if spec.name in tensors)
    parts: dict[str, list[Array]] = {}
    try:
        for part in batches(tensors, BATCH if free else 1):
            for name, value in engine.infer(part).items():
                parts.setdefault(name, []).append(np.asarray(value))
    except SampleError as exc:
        raise ModelError(f"the converted model does not run: {exc}") from exc
    try:
        return {name: np.concatenate([np.atleast_1d(v) for v in values]) for name, values in parts.items()}
    except ValueError as exc:
        raise ModelError(f"the converted model gives no answer for each row: {exc}") from exc


def latency_ms(artifact: Artifact, engine: Engine, budget_s: float) -> float:
    """Median milliseconds of the engine for one row."""
    tensors = feed(artifact.rows.take([0]), artifact.manifest.inputs)
    return _latency_ms(lambda: engine.infer(tensors), budget_s)


def latencies(artifact: Artifact, engine: Engine) -> tuple[float, float]:
    """Median milliseconds for one row: the original (with its own preparation), the engine."""
    first = artifact.rows.take([0])
    tensors = feed(first, artifact.manifest.inputs)
    original = _latency_ms(lambda: artifact.reference(first), LATENCY_BUDGET_S)
    return original, _latency_ms(lambda: engine.infer(tensors), LATENCY_BUDGET_S)


def _latency_ms(call: Callable[[], Any], budget_s: float) -> float:
    """The median time of a call, in milliseconds, after one to warm up."""
    call()
    taken: list[float] = []
    until = time.perf_counter() + budget_s
    while len(taken) < FEWEST_CALLS or (time.perf_counter() < until and len(taken) < MOST_CALLS):
        start = time.perf_counter()
        call()
        taken.append((time.perf_counter() - start) * 1e3)
    return float(np.median(taken))
