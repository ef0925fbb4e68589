"""ONNX and TFLite as they are: a manifest is added, nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import skl2onnx
from onnx.external_data_helper import convert_model_to_external_data
from sklearn.ensemble import RandomForestClassifier
from support.tables import Split, run, table

import converter
import edge
from converter.errors import UnrecognisedError, UnsupportedError
from edge.errors import ConfigError
from edge.model.manifest import ONNX_KEY, Input, Manifest, Output, encode


@pytest.fixture(scope="module")
def foreign(forest: RandomForestClassifier, wine: Split) -> onnx.ModelProto:
    """A model that somebody else converted: it ends in ZipMap and brings no manifest."""
    return skl2onnx.to_onnx(forest, wine.train.to_numpy().astype(np.float32)[:1])


def test_a_foreign_model_gets_a_manifest(
    foreign: onnx.ModelProto, forest: RandomForestClassifier, wine: Split, tmp_path: Path
) -> None:
    (tmp_path / "in.onnx").write_bytes(foreign.SerializeToString())

    artifact = converter.convert(tmp_path / "in.onnx", sample=wine.held, expect=wine.true_names)

    manifest = artifact.manifest
    assert manifest.task == "classify"
    assert [f.name for f in manifest.features] == list(wine.held.columns)
    assert manifest.parity.accuracy_after == forest.score(wine.held, wine.true_names)
    path = artifact.save(tmp_path / "out.onnx")
    scores = run(path, table(path, wine.held))["output_probability"]
    np.testing.assert_allclose(scores, forest.predict_proba(wine.held), atol=2e-6)


def test_our_own_manifest_is_kept(forest: RandomForestClassifier, wine: Split, tmp_path: Path) -> None:
    first = converter.convert(forest, sample=wine.held, name="wine", labels=("x", "y", "z"))
    first.save(tmp_path / "first.onnx")

    second = converter.convert(tmp_path / "first.onnx", sample=wine.held).manifest

    assert (second.name, second.labels, second.outputs) == ("wine", ("x", "y", "z"), first.manifest.outputs)
    assert second.features == first.manifest.features


def test_weights_in_another_file_come_in(tmp_path: Path) -> None:
    weights = onnx.numpy_helper.from_array(np.eye(64, dtype=np.float32), "w")
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    x, y = (onnx.helper.make_tensor_value_info(n, 1, [None, 64]) for n in "xy")
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "g", [x], [y], [weights]), opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )  # fmt: skip
    convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    onnx.save(model, tmp_path / "split.onnx")

    path = converter.convert(tmp_path / "split.onnx").save(tmp_path / "whole.onnx")

    (tmp_path / "weights.bin").unlink()
    rows = np.random.default_rng(0).random((2, 64), np.float32)
    np.testing.assert_array_equal(run(path, {"x": rows})["y"], rows)


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    test_weights_in_another_file_come_in(tmp_path)

    with pytest.raises(UnrecognisedError, match=r"split\.onnx: weights in another file"):
        converter.convert(tmp_path / "split.onnx")


def test_onnx_does_not_become_tflite(foreign: onnx.ModelProto, tmp_path: Path) -> None:
    (tmp_path / "in.onnx").write_bytes(foreign.SerializeToString())

    with pytest.raises(UnsupportedError, match="no honest way from ONNX to TFLite"):
        converter.convert(tmp_path / "in.onnx", target="tflite")


def test_a_sample_of_another_width_is_named(foreign: onnx.ModelProto, wine: Split, tmp_path: Path) -> None:
    (tmp_path / "in.onnx").write_bytes(foreign.SerializeToString())

    with pytest.raises(converter.errors.SampleFileError, match="12 columns, input 'X' takes 13 features"):
        converter.convert(tmp_path / "in.onnx", sample=wine.held.drop(columns="hue"))


@pytest.mark.parametrize("sample", [np.ones((5, 3), dtype=np.float32), None], ids=["with a sample", "without"])
def test_a_model_with_a_state_and_a_constant_is_judged_by_its_first_step(
    sample: np.ndarray | None, tmp_path: Path
) -> None:
    nodes = [
        onnx.helper.make_node("Add", ["x", "state"], ["sum"]),
        onnx.helper.make_node("Mul", ["sum", "gain"], ["y"]),
        onnx.helper.make_node("Identity", ["sum"], ["next"]),
    ]
    shapes = {"x": [1, 3], "state": [1, 3], "gain": [1], "y": [1, 3], "next": [1, 3]}
    values = {n: onnx.helper.make_tensor_value_info(n, 1, s) for n, s in shapes.items()}
    graph = onnx.helper.make_graph(
        nodes, "g", [values[n] for n in ("x", "state", "gain")], [values["y"], values["next"]]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    known = Manifest(
        name="sums", task="raw",
        inputs=(
            Input(name="x", shape=(1, 3)), Input(name="state", shape=(1, 3), state_from="next"),
            Input(name="gain", kind="constant", shape=(1,), value=[2.0]),
        ),
        outputs=(Output(name="y"),),
    )  # fmt: skip
    onnx.helper.set_model_props(model, {ONNX_KEY: encode(known).decode()})
    onnx.save(model, tmp_path / "sums.onnx")

    artifact = converter.convert(tmp_path / "sums.onnx", sample=sample)
    served = edge.load(artifact.save(tmp_path / "out.onnx"))

    assert set(artifact.manifest.golden[0].inputs) == {"x", "state", "gain"}
    steps = [served.predict([1.0, 2.0, 3.0]).predictions[0].data for _ in range(2)]
    assert steps == [[2.0, 4.0, 6.0], [4.0, 8.0, 12.0]]


@pytest.mark.parametrize("quantize", ["int8", "dynamic"])
def test_what_the_quantiser_cannot_read_is_refused_in_a_line(quantize: str, tmp_path: Path) -> None:
    """Operators as old as these: onnx's own version converter, which the quantiser calls, has no way for them."""
    x, y = onnx.helper.make_tensor_value_info("x", 1, [1, 4]), onnx.helper.make_tensor_value_info("y", 1, [1, 4])
    weights = onnx.numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "g", [x], [y], [weights]), opset_imports=[onnx.helper.make_opsetid("", 8)],
        ir_version=3,
    )  # fmt: skip
    onnx.save(model, tmp_path / "old.onnx")

    with pytest.raises(UnsupportedError, match="ONNX Runtime cannot quantise this model: "):
        converter.convert(tmp_path / "old.onnx", quantize=quantize, sample=np.eye(4, dtype=np.float32))


def test_a_model_in_memory_is_taken_as_a_file_is(
    foreign: onnx.ModelProto, forest: RandomForestClassifier, wine: Split, tmp_path: Path
) -> None:
    path = converter.convert(foreign, sample=wine.held).save(tmp_path / "out.onnx")

    scores = run(path, table(path, wine.held))["output_probability"]
    np.testing.assert_allclose(scores, forest.predict_proba(wine.held), atol=2e-6)


def saved(path: Path, nodes: list[onnx.NodeProto], taken: dict[str, tuple[int, list[object]]], made: str) -> Path:
    """A model of somebody else's: inputs as (type, shape), and one output of float32."""
    inputs = [onnx.helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in taken.items()]
    output = onnx.helper.make_tensor_value_info(made, onnx.TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph(nodes, "g", inputs, [output])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("dtype", [onnx.TensorProto.INT64, onnx.TensorProto.BOOL, onnx.TensorProto.UINT8])
def test_inputs_of_whole_numbers_are_proven_on_made_up_ones(dtype: int, tmp_path: Path) -> None:
    node = onnx.helper.make_node("Cast", ["x"], ["y"], to=onnx.TensorProto.FLOAT)

    artifact = converter.convert(saved(tmp_path / "in.onnx", [node], {"x": (dtype, [None, 3])}, "y"), task="raw")

    assert artifact.manifest.parity.source == "generated"
    assert artifact.manifest.parity.max_difference == 0


def test_an_input_of_any_width_is_as_wide_as_the_sample(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Neg", ["x"], ["y"])
    path = saved(tmp_path / "in.onnx", [node], {"x": (onnx.TensorProto.FLOAT, [None, None])}, "y")

    artifact = converter.convert(path, sample=np.ones((5, 4), dtype=np.float32), task="raw")

    assert artifact.manifest.parity.rows == 5
    assert edge.load(artifact.save(tmp_path / "out.onnx")).predict([1.0, 2.0, 3.0, 4.0]).predictions[0].data == [
        -1.0, -2.0, -3.0, -4.0,
    ]  # fmt: skip


def test_a_model_that_finds_its_scale_over_all_rows_takes_one_at_a_time(tmp_path: Path) -> None:
    """Else the neighbours of a row in a batch would change its answer."""
    nodes = [
        onnx.helper.make_node("DynamicQuantizeLinear", ["x"], ["small", "scale", "zero"]),
        onnx.helper.make_node("DequantizeLinear", ["small", "scale", "zero"], ["y"]),
    ]
    path = saved(tmp_path / "in.onnx", nodes, {"x": (onnx.TensorProto.FLOAT, [None, 3])}, "y")

    assert not converter.convert(path, task="raw").manifest.batch_independent


def test_a_network_without_anything_to_quantise_says_so(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Neg", ["x"], ["y"])
    path = saved(tmp_path / "in.onnx", [node], {"x": (onnx.TensorProto.FLOAT, [None, 3])}, "y")

    with pytest.raises(ConfigError, match=r"--quantize int8: this network has none of .*; leave --quantize out"):
        converter.convert(path, task="raw", quantize="int8", sample=np.eye(3, dtype=np.float32))


def test_inputs_of_text_are_proven_on_made_up_ones(tmp_path: Path) -> None:
    node = onnx.helper.make_node(
        "LabelEncoder", ["x"], ["y"], domain="ai.onnx.ml", keys_strings=["text"], values_floats=[2.0]
    )
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.STRING, [None, 1])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, 1])
    known = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("ai.onnx.ml", 2)]
    graph = onnx.helper.make_graph([node], "g", [x], [y])
    onnx.save(onnx.helper.make_model(graph, opset_imports=known, ir_version=8), tmp_path / "in.onnx")

    artifact = converter.convert(tmp_path / "in.onnx", task="raw")

    assert artifact.manifest.parity.source == "generated"
    assert edge.load(artifact.save(tmp_path / "out.onnx")).predict(["text"]).predictions[0].data == [2.0]


def test_trees_have_one_precision_and_auto_says_so(forest: RandomForestClassifier, wine: Split) -> None:
    artifact = converter.convert(forest, sample=wine.held, quantize="auto")

    assert any("a model of trees or a pipeline has one precision" in note for note in artifact.notes)
