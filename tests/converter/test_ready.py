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
from converter.errors import UnrecognisedError, UnsupportedError


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
