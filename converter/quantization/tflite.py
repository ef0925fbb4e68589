"""TFLite in float16, dynamic int8 and static int8, by ai-edge-quantizer: it works on the file, whatever made it.

Inputs and outputs stay float32. What it writes needs ai-edge-litert on the device: tflite-runtime 2.14 loads its
dynamic int8 and answers wrongly (measured: 8 % of the classes right).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from msgspec import structs

from converter.artifact import Artifact
from converter.errors import UnsupportedError
from converter.graph import litert_names
from converter.options import Options
from converter.quiet import quiet
from converter.rows.rows import Rows
from converter.rows.tensors import batches, feed
from edge.data.tensor import Array
from edge.errors import ConfigError, needs, one_line
from edge.model.golden import choose

# As many as for ONNX: what a row outside of them holds may saturate (measured: a number off by 12 % with 128 of 300).
CALIBRATION_ROWS = 512
NEEDS_LITERT = "needs ai-edge-litert on the device; tflite-runtime 2.14 answers wrongly"
_REFUSALS = (RuntimeError, ValueError, TypeError, KeyError, NotImplementedError, AttributeError, IndexError)


def quantized(artifact: Artifact, options: Options, kind: str) -> Artifact:
    """The artifact as `kind`: "fp16", "dynamic" or "int8".

    Raises ConfigError where the library is missing or the choice has no meaning here, UnsupportedError where the
    model cannot be quantised.
    """
    if options.calibration != "minmax" and kind == "int8":
        raise ConfigError(f"--calibration {options.calibration} works on ONNX files; TFLite has minmax")
    try:
        with quiet():
            from ai_edge_quantizer import quantizer
    except ImportError:
        raise needs("quantising TFLite", "ai-edge-quantizer", "convert-tflite") from None
    try:
        with quiet():
            work = quantizer.Quantizer(bytearray(artifact.model), _recipe(kind))
            ranges = _ranges(artifact) if kind == "int8" else None
            model = work.quantize(ranges, enable_progress_report=False).quantized_model
    except _REFUSALS as exc:
        raise UnsupportedError(
            f"ai-edge-quantizer cannot make this model {kind}: {one_line(exc)}; try another --quantize"
        ) from exc
    if model is None:
        raise UnsupportedError(f"ai-edge-quantizer found nothing to make {kind} in this model; leave --quantize out")
    changed = _renamed(artifact, bytes(model)).with_model(bytes(model), after=kind)
    return changed.noting(NEEDS_LITERT) if kind == "dynamic" else changed


def _recipe(kind: str) -> Any:
    from ai_edge_quantizer import recipe

    if kind == "dynamic":
        return recipe.dynamic_wi8_afp32()
    if kind == "int8":
        # Numbers go in and come out as they did before: the preparation of samples stays the same.
        edges: list[Any] = [
            {"regex": ".*", "operation": operation, "algorithm_key": "no_quantize", "op_config": {}}
            for operation in ("INPUT", "OUTPUT")
        ]
        return [*recipe.static_wi8_ai8(), *edges]
    halves = {"num_bits": 16, "symmetric": True, "granularity": "TENSORWISE", "dtype": "FLOAT", "block_size": 0}
    config = {"weight_tensor_config": halves, "compute_precision": "FLOAT", "explicit_dequantize": True}
    return [{"regex": ".*", "operation": "*", "algorithm_key": "float_casting", "op_config": config}]


def _renamed(artifact: Artifact, model: bytes) -> Artifact:
    """The artifact under the output names of the new file: what is scaled back to float has another name."""
    before, after = litert_names.read(artifact.model).outputs, litert_names.read(model).outputs
    names = {before[n]: after[n] for n in before if n in after and before[n] != after[n]}
    if not names:
        return artifact
    outputs = tuple(
        structs.replace(o, name=names[o.name], key=o.key or o.name) if o.name in names else o
        for o in artifact.manifest.outputs
    )
    answers = artifact.reference

    def reference(rows: Rows) -> dict[str, Array]:
        return {names.get(n, n): a for n, a in answers(rows).items()}

    return replace(artifact.with_manifest(outputs=outputs), reference=reference)


def _ranges(artifact: Artifact) -> Any:
    """The range of every tensor over all calibration rows.

    The library's own calibration keeps a moving average of the ranges of single rows: narrower than the ranges are,
    and what lies beyond saturates (measured: a third of the rows off by more than 0.3).
    """
    from ai_edge_quantizer import calibrator, recipe_manager
    from ai_edge_quantizer.utils import qsv_utils

    recipes = recipe_manager.RecipeManager()
    recipes.load_quantization_recipe(_recipe("int8"))
    work = calibrator.Calibrator(artifact.model, num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    work.calibrate(_calibration(artifact), recipes)
    return work.get_model_qsvs()


def _calibration(artifact: Artifact) -> dict[str, list[dict[str, Array]]]:
    names = litert_names.read(artifact.model)
    rows = artifact.rows.take(choose(range(len(artifact.rows)), CALIBRATION_ROWS))
    tensors = feed(rows, artifact.manifest.inputs)
    by_signature = {given: tensors[own] for given, own in names.inputs.items()}
    return {names.signature: list(batches(by_signature, 1))}
