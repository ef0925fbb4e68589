"""`--quantize coarse`: weights with 8 significant bits, which compress well and lose little."""

from __future__ import annotations

import numpy as np

from converter.artifact import Artifact
from converter.options import Options
from converter.plugins import Limits, PassInfo
from edge.data.tensor import Array
from edge.errors import ConfigError

BITS = 8


def coarse(artifact: Artifact, options: Options) -> Artifact:
    if artifact.target != "onnx":
        raise ConfigError("--quantize coarse: for ONNX only; say -o FILE.onnx, or leave it out")
    import onnx
    from onnx import numpy_helper

    model = onnx.load_model_from_string(artifact.model)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(rounded(values), tensor.name))
    return artifact.with_model(model.SerializeToString(), after="coarse")


def rounded(values: Array) -> Array:
    """With BITS significant bits."""
    fraction, exponent = np.frexp(values)
    return np.ldexp(np.rint(fraction * 2**BITS) / 2**BITS, exponent).astype(values.dtype)


PASS = PassInfo(edge_api=1, run=coarse, limits=Limits(difference=2e-2, agreement=0.99), targets=("onnx",))
