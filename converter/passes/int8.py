"""Weights and activations in int8, with ranges learned from the sample (static quantisation).

Requires an ONNX graph of standard operators, or TFLite, with operators that have int8 kernels. Ensures float32 inputs
and outputs. With `max_accuracy_drop` the nodes that hurt most stay in float (see `static_int8`).
"""

from __future__ import annotations

from converter.artifact import Artifact
from converter.graph import graph
from converter.options import Options
from converter.plugins import Limits, PassInfo
from converter.quantization import static_int8, tflite


def int8(artifact: Artifact, options: Options) -> Artifact:
    """The artifact in int8. Raises ConfigError where there is nothing to quantise, or the drop cannot be kept."""
    if artifact.rows.source != "sample":
        artifact = artifact.noting("int8 ranges come from made-up rows: weaker, give --sample")
    if artifact.target == "tflite":
        return tflite.quantized(artifact, options, "int8")
    graph.require_network(graph.parse(artifact.model), "int8")
    return static_int8.quantized(artifact, options)


# 256 steps: a row near the border between two classes may move far (measured: up to 0.15), so the share of rows that
# keep their class is the stricter of the two.
PASS = PassInfo(edge_api=1, run=int8, limits=Limits(difference=0.3, agreement=0.95), tried=True)
