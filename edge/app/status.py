"""What the service says of itself on `info` and `stats`."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edge import __version__
from edge.app.loading import Loaded
from edge.data import result
from edge.data.tensor import TensorSpec
from edge.delivery.outbox import Outbox
from edge.model.manifest import Parity
from edge.settings.settings import Settings
from edge.telemetry import board as telemetry

FEATURES_MOST = 100
NOW = 0xF
"""Of the firmware's bits those that say what is so now."""


def info(loaded: Loaded, settings: Settings, *, boot: str, source: str) -> dict[str, Any]:
    """The retained `info`: the model in short, engine, versions."""
    return {
        "schema": result.SCHEMA,
        "device": settings.topics.device,
        "boot": boot,
        "model": _model(loaded),
        "engine": {
            "name": loaded.engine.name,
            "version": loaded.engine.version,
            "provider": settings.model.provider,
            "threads": settings.model.threads or 1,
            **({"profile": settings.model.tuned_for} if settings.model.tuned_for else {}),
        },
        "source": source,
        "batch": settings.publishing.batch,
        "versions": {"edge-run": __version__, "python": platform.python_version(), "numpy": np.__version__},
        "platform": platform.machine(),
    }


def _model(loaded: Loaded) -> dict[str, Any]:
    manifest = loaded.manifest
    return {
        "name": manifest.name,
        "version": manifest.version,
        "sha256": loaded.sha256,
        "file": loaded.path.name,
        "task": manifest.task,
        "decoder": manifest.decoder or manifest.task,
        "labels": len(manifest.labels),
        "inputs": [_brief(s) for s in loaded.engine.inputs],
        "outputs": [_brief(s) for s in loaded.engine.outputs],
        "features": [f.name for f in manifest.features if f.name][:FEATURES_MOST],
        "golden_samples": len(manifest.golden),
        "guessed": list(loaded.guesses),
        **({"parity": _parity(manifest.parity)} if manifest.parity is not None else {}),
    }


def counts(counted: Mapping[str, float], outboxes: Sequence[Outbox]) -> dict[str, Any]:
    """Counters since the start, and what waits now by outbox. `counted` is a snapshot of the metrics."""
    results = counted.get("results", 0)
    return {
        "read": int(counted.get("samples_read", 0)),
        "results": int(results),
        "skipped": int(counted.get("samples_skipped", 0)),
        "safe": int(counted.get("samples_safe", 0)),
        "infer_ms_mean": round(counted.get("infer_ms", 0) / results, 3) if results else None,
        "dropped": {k.removeprefix("dropped:"): int(v) for k, v in counted.items() if k.startswith("dropped:")},
        "held_back": {k.removeprefix("held:"): int(v) for k, v in counted.items() if k.startswith("held:")},
        "lanes": {outbox.name: _outbox(outbox, counted) for outbox in outboxes},
    }


def board() -> dict[str, Any]:
    """What the board tells of its heat and its power; empty where it does not."""
    celsius, bits = telemetry.temperature_celsius(), telemetry.throttled()
    return {
        **({} if celsius is None else {"temperature_celsius": round(celsius, 1)}),
        **({} if bits is None else {"throttled": telemetry.problems(bits & NOW)}),
    }


def _outbox(outbox: Outbox, counted: Mapping[str, float]) -> dict[str, Any]:
    names = ("sent", "confirmed", "reconnects", "spool_errors")
    return {**outbox.waiting(), **{n: int(counted.get(f"{n}:{outbox.name}", 0)) for n in names}}


def _brief(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype, "shape": spec.shape}


def _parity(parity: Parity) -> dict[str, Any]:
    return {"rows": parity.rows, "max_difference": parity.max_difference, "agreement": parity.agreement}
