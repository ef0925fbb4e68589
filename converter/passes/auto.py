"""Tries the precisions and keeps the fastest whose answers stay within the tolerance of its kind.

Measured here, by the engine that the device has, one row at a time; a variant at most `TIE` slower than the fastest
and smaller is preferred. Processors differ: for a close call the report's table says what to try on the device.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from converter import plugins
from converter.artifact import Artifact, Variant
from converter.graph import graph
from converter.options import Options
from converter.plugins import PassInfo
from converter.proof import device, parity
from edge.errors import ConfigError, ModelError, one_line
from edge.plugins.protocols import Engine
from edge.progress import steps

TIE = 1.05
ROUNDS = 5
ROUND_S = 0.08


def auto(artifact: Artifact, options: Options) -> Artifact:
    """The artifact in the precision that is fastest, with the table it was chosen from in `variants`."""
    if artifact.target == "onnx" and not graph.is_network(graph.parse(artifact.model)):
        return artifact.noting("--quantize auto: a model of trees or a pipeline has one precision; it stays as it is")
    kinds = ["none", *(n for n, p in plugins.passes("quantize") if p.tried and artifact.target in p.targets)]
    artifacts: dict[str, Artifact] = {}
    tried: list[Variant] = []
    with steps(len(kinds) + 1, "trying precisions") as step:
        for kind in kinds:
            step(kind)
            variant, changed = _try(artifact, replace(options, quantize=kind))
            tried.append(variant)
            if changed is not None:
                artifacts[kind] = changed
        step("timing")
        tried = _timed(tried, artifacts)
    good = [v for v in tried if v.passed]
    if not good:
        return replace(artifact, variants=tuple(tried))  # parity says why
    limit = min(v.latency_ms for v in good) * TIE
    best = min((v for v in good if v.latency_ms <= limit), key=lambda v: v.size)
    table = tuple(replace(v, chosen=v is best) for v in tried)
    return replace(artifacts[best.name], variants=table)


def _timed(tried: list[Variant], artifacts: dict[str, Artifact]) -> list[Variant]:
    """The variants with their latencies: turn by turn, the best of each: what else the machine does is shared."""
    best: dict[str, float] = {}
    with TemporaryDirectory(prefix="edge-convert-") as folder:
        engines: dict[str, Engine] = {}
        for kind, artifact in artifacts.items():
            place = Path(folder) / kind
            place.mkdir()
            engines[kind] = device.load(artifact, place)
        for _ in range(ROUNDS):
            for kind, engine in engines.items():
                best[kind] = min(best.get(kind, float("inf")), device.latency_ms(artifacts[kind], engine, ROUND_S))
        for engine in engines.values():
            engine.close()
    return [replace(v, latency_ms=best.get(v.name, 0.0)) for v in tried]


def _try(artifact: Artifact, options: Options) -> tuple[Variant, Artifact | None]:
    kind = options.quantize
    try:
        changed = artifact if kind == "none" else plugins.quantizer(kind).run(artifact, options)
        with TemporaryDirectory(prefix="edge-convert-") as folder:
            engine = device.load(changed, Path(folder))
            try:
                comparison = parity.compare(changed, engine, options, timed=False)
            finally:
                engine.close()
    except (ConfigError, ModelError) as exc:
        return Variant(kind, passed=False, reason=one_line(exc, None)), None
    figures = comparison.figures
    reasons = comparison.reasons
    return Variant(
        kind, size=len(changed.model), max_difference=figures.max_difference,
        agreement=figures.agreement, accuracy=figures.accuracy_after, passed=not reasons, reason="; ".join(reasons),
    ), changed  # fmt: skip


PASS = PassInfo(edge_api=1, run=auto)
