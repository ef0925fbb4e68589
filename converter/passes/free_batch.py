"""Some converters declare an output for one row ([1]) though the graph takes any number. Free that dimension.

Requires an ONNX graph. Ensures that the first dimension of every output is free where that of every input is:
ONNX Runtime warns on each call otherwise, and edge-run would not run several rows at once.
"""

from __future__ import annotations

from converter.artifact import Artifact
from converter.graph import graph
from converter.options import Options
from converter.plugins import PassInfo


def free_batch(artifact: Artifact, options: Options) -> Artifact:
    """The artifact with a free first dimension in its outputs."""
    model = graph.parse(artifact.model)
    shapes = [graph.dims(i) for i in model.graph.input]
    if not shapes or any(not s or isinstance(s[0], int) for s in shapes):
        return artifact
    fixed = [o for o in model.graph.output if (s := graph.dims(o)) and isinstance(s[0], int)]
    if not fixed:
        return artifact
    for output in fixed:
        output.type.tensor_type.shape.dim[0].Clear()
    return artifact.with_model(model.SerializeToString(), after="free-batch")


PASS = PassInfo(edge_api=1, run=free_batch, stage="tidy", place=20, targets=("onnx",))
