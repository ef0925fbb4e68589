"""Static int8 for ONNX: QuantizeLinear and DequantizeLinear around each operator (QDQ), int8 on both sides.

Symmetric int8 weights, a scale for each channel, and int8 activations: what the kernels for ARM take best. The ranges
of the activations are learned in one run of all calibration rows; one row at a time gave ranges that saturate.

Where an accuracy is to be kept (`max_accuracy_drop`) every node is first quantised alone, which shows how much it
hurts; then the worst 1, 2, 4, ... stay in float until the drop is kept, and as many as possible go back.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from converter.artifact import Artifact
from converter.graph import graph
from converter.options import Options
from converter.proof import answers, device, initial_state
from converter.quiet import quiet
from converter.rows.tensors import batches, feed
from edge.data.tensor import Array, Tensors
from edge.errors import ConfigError
from edge.progress import track

OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
CALIBRATION_ROWS = 512
# Beyond this many nodes they are judged in neighbouring groups: each judgement is a run of the whole model.
JUDGED = 48


def quantized(artifact: Artifact, options: Options) -> Artifact:
    """The artifact in int8. Raises ConfigError where there is nothing to quantise, or the drop cannot be kept."""
    model = graph.named_nodes(graph.parse(artifact.model))
    nodes = [n.name for n in model.graph.node if n.op_type in OPERATORS]
    if not nodes:
        raise ConfigError(
            f"--quantize int8: this network has none of {', '.join(OPERATORS)}; leave --quantize out, or use fp16"
        )
    with TemporaryDirectory(prefix="edge-convert-") as folder:
        workshop = _Workshop(artifact, model, Path(folder), options.calibration)
        if options.max_accuracy_drop is None:
            return artifact.with_model(workshop.make(without=()), after="int8")
        floats = _search(workshop, nodes, options.max_accuracy_drop)
        quantized_artifact = artifact.with_model(workshop.make(without=floats), after="int8")
    if not floats:
        return quantized_artifact
    shown = ", ".join(floats[:5]) + (f" and {len(floats) - 5} more" if len(floats) > 5 else "")
    return quantized_artifact.noting(f"{len(floats)} of {len(nodes)} nodes stay in float to keep the accuracy: {shown}")


@dataclass
class _Workshop:
    """Makes and measures variants of one model; the calibration runs once and is kept in `folder`."""

    artifact: Artifact
    model: Any
    folder: Path
    method: str

    def __post_init__(self) -> None:
        self._source = self.folder / "float.onnx"
        self._source.write_bytes(self.model.SerializeToString())
        engine = device.load(self.artifact, self.folder)
        self._supplied = initial_state.supplied(engine)
        engine.close()
        self._before = self.artifact.reference(self.artifact.rows)
        # Before the outputs are known by class, accuracy is what is expected, else what the original says.
        classes = answers.classes_of(self._before, self.artifact.manifest)
        expected = self.artifact.rows.expected
        self._truth = expected if expected is not None else classes
        self._best = self._accuracy(self._before)

    def make(self, *, without: Sequence[str] = (), only: Sequence[str] | None = None) -> bytes:
        """The model in int8, without some nodes, or with some only."""
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

        methods = {
            "minmax": CalibrationMethod.MinMax, "entropy": CalibrationMethod.Entropy,
            "percentile": CalibrationMethod.Percentile,
        }  # fmt: skip
        cached: dict[str, Any] = {}
        if "calibration_cache_path" in inspect.signature(quantize_static).parameters:
            cached["calibration_cache_path"] = self.folder / "ranges.json"
        target = self.folder / "int8.onnx"
        with quiet(), graph.refusing("int8"):
            quantize_static(
                self._source, target, calibration_reader(self.artifact, self._supplied), quant_format=QuantFormat.QDQ,
                per_channel=True, op_types_to_quantize=list(OPERATORS), activation_type=QuantType.QInt8,
                # Weights of seven bits: x86 without VNNI adds products of eight in sixteen and saturates, ARM does not.
                weight_type=QuantType.QInt8, reduce_range=True, nodes_to_quantize=list(only or ()),
                nodes_to_exclude=list(without), calibrate_method=methods[self.method], **cached,
            )  # fmt: skip
        return target.read_bytes()

    def drop(self, model: bytes) -> float:
        """How much accuracy (of a regression: R squared) a variant costs."""
        return self._best - self._accuracy(self._answers(model))

    def distance(self, model: bytes) -> float:
        """How far the answers of a variant are from the original's, on average."""
        after = self._answers(model)
        return float(np.mean([np.mean(np.abs(a - after[n])) for n, a in self._before.items() if a.dtype.kind == "f"]))

    def _answers(self, model: bytes) -> dict[str, Array]:
        variant = replace(self.artifact, model=model)
        engine = device.load(variant, self.folder)
        try:
            return device.run(engine, feed(self.artifact.rows, self.artifact.manifest.inputs))
        finally:
            engine.close()

    def _accuracy(self, outputs: dict[str, Array]) -> float:
        manifest = self.artifact.manifest
        if self._truth is not None:
            accuracy = answers.accuracy(outputs, answers.classes_of(outputs, manifest), self._truth, manifest)
            if accuracy is not None:
                return accuracy
        # Nothing to be right about: the share of the answers' spread that is kept.
        shares = []
        for name, wanted in self._before.items():
            spread = float(np.sum((wanted - wanted.mean(axis=0)) ** 2)) or 1.0
            shares.append(1.0 - float(np.sum((wanted - outputs[name].reshape(wanted.shape)) ** 2)) / spread)
        return float(np.min(shares))


def _search(workshop: _Workshop, nodes: Sequence[str], allowed: float) -> list[str]:
    """The nodes that stay in float; as few as keep the drop within `allowed`."""
    if workshop.drop(workshop.make()) <= allowed:
        return []
    groups = [list(g) for g in np.array_split(np.array(nodes, dtype=object), min(len(nodes), JUDGED))]
    hurts = [workshop.distance(workshop.make(only=g)) for g in track(groups, "judging nodes")]
    worst = [groups[i] for i in np.argsort(hurts)[::-1]]

    def floats(count: int) -> list[str]:
        return [n for group in worst[:count] for n in group]

    def kept(count: int) -> bool:
        return count >= len(worst) or workshop.drop(workshop.make(without=floats(count))) <= allowed

    low, high = 0, 1  # `low` does not keep it, `high` may
    while not kept(high):
        low, high = high, high * 2
    high = min(high, len(worst))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if kept(middle) else (middle, high)
    if high >= len(worst):
        raise ConfigError(
            f"--max-accuracy-drop {allowed:g}: int8 keeps it with every node in float only; "
            "allow more, give more --sample rows, or use --quantize fp16"
        )
    return floats(high)


def calibration_reader(artifact: Artifact, more: Tensors) -> Any:
    """The calibration rows as ONNX Runtime's quantiser reads them, in as few calls as the model takes."""
    from onnxruntime.quantization import CalibrationDataReader

    from edge.model.golden import choose

    rows = artifact.rows.take(choose(range(len(artifact.rows)), CALIBRATION_ROWS))
    tensors = feed(rows, artifact.manifest.inputs)
    free = all(not i.shape or not isinstance(i.shape[0], int) for i in artifact.manifest.inputs)
    parts = iter({**p, **more} for p in batches(tensors, CALIBRATION_ROWS if free and not more else 1))

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Array] | None:
            return next(parts, None)

    return Reader()
