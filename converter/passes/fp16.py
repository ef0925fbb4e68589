"""Half the size: weights (and in ONNX the arithmetic) in float16. Inputs and outputs stay float32.

On most CPUs it is not faster: ONNX Runtime turns numbers back to float32 where a kernel has no float16, as on x86 and
on a Cortex-A72; a Cortex-A76 (Raspberry Pi 5) has the instructions.

Requires an ONNX graph of standard operators, or TFLite. Ensures float32 inputs and outputs.
"""

from __future__ import annotations

from converter.artifact import Artifact
from converter.graph import graph
from converter.options import Options
from converter.plugins import Limits, PassInfo
from converter.quantization import tflite
from converter.quiet import quiet


def fp16(artifact: Artifact, options: Options) -> Artifact:
    """The artifact in float16. Raises ConfigError where there is nothing to make smaller."""
    if artifact.target == "tflite":
        return tflite.quantized(artifact, options, "fp16")
    model = graph.parse(artifact.model)
    graph.require_network(model, "fp16")
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with quiet(), graph.refusing("fp16"):
        halved = convert_float_to_float16(model, keep_io_types=True)
    return artifact.with_model(halved.SerializeToString(), after="fp16")


# 11 bits: measured 1.6e-2 on logits, 8e-4 on probabilities.
PASS = PassInfo(edge_api=1, run=fp16, limits=Limits(difference=2e-2, agreement=0.99), tried=True)
