"""ONNX Runtime's own clean-up, done once here instead of at every start on the device: constants are folded, batch
normalisation goes into the convolution before it.

Level "basic" only. The higher levels put kernels and memory layouts of the machine that runs them into the file, and
the machine that converts is not the one that infers.

Requires an ONNX graph of standard operators. Ensures that it still is one.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime as ort

from converter.artifact import Artifact
from converter.graph import graph
from converter.options import Options
from converter.plugins import PassInfo
from converter.proof.parity import answers_alike
from converter.quiet import quiet
from edge.errors import ModelError

# ONNX Runtime's own exceptions live in its C++ module and share no base but Exception.
_OWN: tuple[type[Exception], ...] = tuple(
    e for e in vars(ort.capi.onnxruntime_pybind11_state).values() if isinstance(e, type) and issubclass(e, Exception)
)
_REFUSALS: tuple[type[Exception], ...] = (RuntimeError, ValueError, OSError, *_OWN)


def optimize(artifact: Artifact, options: Options) -> Artifact:
    """The artifact after the optimisations that hold on every machine."""
    before = graph.parse(artifact.model)
    if not graph.is_network(before):
        return artifact
    with TemporaryDirectory(prefix="edge-convert-") as folder:
        path = Path(folder) / "optimized.onnx"
        settings = ort.SessionOptions()
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        settings.optimized_model_filepath = str(path)
        settings.log_severity_level = 4
        try:
            with quiet():
                ort.InferenceSession(artifact.model, settings, providers=["CPUExecutionProvider"])
            optimized = graph.parse(path.read_bytes())
        except _REFUSALS:
            return artifact  # parity tells of a graph that does not load
    if not graph.is_network(optimized) or not graph.same_signature(optimized, before):
        return artifact
    # It notes how it was made; the manifest does that.
    del optimized.metadata_props[:]
    optimized.metadata_props.extend(before.metadata_props)
    changed = artifact.with_model(optimized.SerializeToString(), after="optimize")
    try:
        return changed if answers_alike(changed, options) else artifact
    except ModelError:
        return artifact


PASS = PassInfo(edge_api=1, run=optimize, stage="tidy", place=40, targets=("onnx",))
