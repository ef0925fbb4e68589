"""The model under the faults: a table of two features, `a + 2 b`. It describes itself, as edge-convert has it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge.model.manifest import ONNX_KEY, Feature, Input, Manifest, Output


def write_model(path: Path) -> None:
    weights = numpy_helper.from_array(np.array([[1.0], [2.0]], dtype=np.float32), "weights")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["row", "weights"], ["value"])],
        "sum",
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("value", TensorProto.FLOAT, ["n", 1])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    manifest = Manifest(
        name="m",
        task="regress",
        inputs=(Input(name="row", kind="table", shape=("n", 2), features=(Feature(name="a"), Feature(name="b"))),),
        outputs=(Output(name="value", names=("sum",)),),
    )
    helper.set_model_props(model, {ONNX_KEY: msgspec.json.encode(manifest).decode()})
    onnx.save(model, path)
