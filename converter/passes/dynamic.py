"""Weights in int8, activations scaled anew for each inference: it needs no calibration and pays for large matrices.

It does not pay for convolutions: measured 3 to 11 times slower than float32. So only matrix products and recurrent
layers are changed, and a network that is mostly convolutions is refused.

Requires an ONNX graph of standard operators, or TFLite. Ensures float32 inputs and outputs.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from converter.artifact import Artifact
from converter.graph import graph
from converter.options import Options
from converter.plugins import Limits, PassInfo
from converter.quantization import tflite
from converter.quiet import quiet
from edge.errors import ConfigError

PAYS = ("MatMul", "Gemm", "LSTM", "Attention")


def dynamic(artifact: Artifact, options: Options) -> Artifact:
    """The artifact with int8 weights. Raises ConfigError where that would make it slower."""
    if artifact.target == "tflite":
        return tflite.quantized(artifact, options, "dynamic")
    model = graph.parse(artifact.model)
    graph.require_network(model, "dynamic")
    gains, losses = _weights(model, PAYS), _weights(model, ("Conv", "ConvTranspose"))
    if gains <= losses:
        why = "mostly convolutions, which dynamic int8 makes several times slower" if losses else "no matrix products"
        raise ConfigError(f"--quantize dynamic: this network has {why}; use --quantize int8 or fp16")
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with TemporaryDirectory(prefix="edge-convert-") as folder, quiet(), graph.refusing("dynamic"):
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        before.write_bytes(artifact.model)
        # Seven bits for the weights: with eight, sums overflow on x86 without VNNI and not on ARM, so that the file
        # would answer otherwise here than there (measured, one row at a time: 16 % of a transformer's classes).
        quantize_dynamic(
            before, after, op_types_to_quantize=list(PAYS), per_channel=True, reduce_range=True,
            weight_type=QuantType.QInt8,
        )  # fmt: skip
        quantized = artifact.with_model(after.read_bytes(), after="dynamic")
    # The scale of the activations is found over the whole tensor: one outlying row moves those beside it.
    return quantized.with_manifest(batch_independent=False)


def _weights(model: Any, operators: tuple[str, ...]) -> int:
    """How many numbers the constants hold that go into these operators."""
    sizes = graph.constant_sizes(model)
    return sum(sizes.get(name, 0) for n in model.graph.node if n.op_type in operators for name in n.input)


# As static int8: 256 steps.
PASS = PassInfo(edge_api=1, run=dynamic, limits=Limits(difference=0.3, agreement=0.95), tried=True)
