"""`edge-convert card.json -o card.onnx`: a scorecard, {"scorecard": {feature: points}, "offset": points}, as ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np

from converter.artifact import Artifact
from converter.errors import UnsupportedError
from converter.options import Options
from converter.plugins import ExporterInfo
from converter.rows.rows import Rows
from converter.source import Probe, Source
from edge.data.tensor import Array
from edge.model.manifest import Feature, Input, Manifest, Output

ROWS = 200


def recognise(probe: Probe) -> str:
    return "scorecard" if isinstance(probe.json, dict) and "scorecard" in probe.json else ""


def export(source: Source, rows: Rows | None, options: Options) -> Artifact:
    if options.target != "onnx":
        raise UnsupportedError(f"{source.name}: a scorecard becomes ONNX; say -o FILE.onnx")
    card = Probe(source.file).json
    points, offset = card["scorecard"], card.get("offset", 0.0)
    features = tuple(Feature(name=name) for name in points)

    def original(rows: Rows) -> dict[str, Array]:
        total = sum(rows.numbers(name) * points[name] for name in points)
        return {"score": np.asarray(total + offset, np.float64).reshape(-1, 1)}

    manifest = Manifest(
        name="",
        task="regress",
        inputs=(Input(name="x", kind="table", shape=(None, len(features)), features=features),),
        outputs=(Output(name="score", role="value"),),
    )
    return Artifact(
        framework=source.framework,
        target="onnx",
        model=_graph(list(points.values()), offset),
        manifest=manifest,
        reference=original,
        rows=rows or _made_up(list(points)),
        source_bytes=source.size,
    )


def _made_up(names: list[str]) -> Rows:
    rng = np.random.default_rng(0)
    return Rows({name: rng.normal(size=ROWS) for name in names}, table=True, source="generated")


def _graph(weights: list[float], offset: float) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", len(weights)])
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n", 1])
    constants = [
        numpy_helper.from_array(np.array(weights, np.float32).reshape(-1, 1), "weights"),
        numpy_helper.from_array(np.array([offset], np.float32), "offset"),
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "weights"], ["product"]),
        helper.make_node("Add", ["product", "offset"], ["score"]),
    ]
    graph = helper.make_graph(nodes, "scorecard", [x], [score], constants)
    made: Any = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(made.SerializeToString())


EXPORTER = ExporterInfo(
    edge_api=1, export=export, recognise=recognise, suffixes=(".json",), distributions=("edge-run-example",)
)
