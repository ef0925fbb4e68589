"""An exporter leaves shape arithmetic, identities and repeated constants in a graph. onnxslim takes them out.

Requires an ONNX graph of standard operators (trees and pipelines are left alone). Ensures the same inputs and outputs
and no operator outside the standard set; what does not load or answers otherwise is dropped, and the graph stays.
"""

from __future__ import annotations

from converter.artifact import Artifact
from converter.graph import graph
from converter.options import Options
from converter.plugins import PassInfo
from converter.proof.parity import answers_alike
from converter.quiet import quiet
from edge.errors import ModelError


def simplify(artifact: Artifact, options: Options) -> Artifact:
    """The artifact with a simpler graph; as it is where onnxslim is not installed."""
    if not graph.is_network(graph.parse(artifact.model)):
        return artifact
    try:
        with quiet():
            import onnxslim
    except ImportError:
        return artifact  # an improvement, not a need
    try:
        with quiet():
            slim = onnxslim.slim(graph.parse(artifact.model))
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError, AssertionError, OSError):
        return artifact
    return _accepted(artifact, slim, options)


def _accepted(artifact: Artifact, slim: object, options: Options) -> Artifact:
    if slim is None or not graph.is_network(slim) or not graph.same_signature(slim, graph.parse(artifact.model)):
        return artifact
    changed = artifact.with_model(slim.SerializeToString(), after="simplify")  # type: ignore[attr-defined]
    try:
        return changed if answers_alike(changed, options) else artifact
    except ModelError:
        return artifact


PASS = PassInfo(edge_api=1, run=simplify, stage="tidy", place=30, targets=("onnx",))
