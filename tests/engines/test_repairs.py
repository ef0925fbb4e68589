"""A model whose file is written in a way that makes it slow is mended where it is loaded, and answers as before."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import onnxmodels

from converter.graph import graph
from edge.engines import onnxruntime as engine
from edge.engines.onnx_file import without_listed_weights
from edge.plugins.protocols import EngineOptions

SAID = ("5 weights that the file lists as inputs are constants now",)


def answer(loaded):
    (one,) = loaded.inputs
    return loaded.infer({one.name: np.random.default_rng(1).random(one.fixed(), np.float32)})["y"]


@pytest.fixture
def listed(tmp_path):
    return onnxmodels.listed(tmp_path / "listed.onnx")


@pytest.mark.parametrize("ir_version", [3, 8])
def test_weights_that_are_listed_as_inputs_become_constants(tmp_path, ir_version):
    path = onnxmodels.listed(tmp_path / "m.onnx", ir_version=ir_version)
    loaded = engine.load(path, EngineOptions())
    plain = ort.InferenceSession(str(path))
    (expected,) = plain.run(None, {"x": np.random.default_rng(1).random((1, 64, 8, 8), np.float32)})
    assert loaded.repairs == SAID
    assert [i.name for i in loaded.inputs] == ["x"]
    assert loaded.metadata["note"] == "kept"
    np.testing.assert_allclose(answer(loaded), expected, atol=1e-5)


def test_the_kept_graph_is_the_mended_one_and_says_so(listed, tmp_path):
    options = EngineOptions(cache_dir=tmp_path / "state")
    first = engine.load(listed, options)
    (kept,) = (tmp_path / "state" / "graphs").glob("*.onnx")
    second = engine.load(listed, options)
    assert "BatchNormalization" not in {node.op_type for node in onnx.load(kept).graph.node}
    assert first.repairs == second.repairs == SAID
    assert (answer(first) == answer(second)).all()


def test_a_model_that_needs_no_mending_is_left_alone(tmp_path):
    assert engine.load(onnxmodels.scores(tmp_path / "m.onnx"), EngineOptions()).repairs == ()


def test_a_mended_model_that_would_answer_otherwise_runs_as_it_came(listed, tmp_path, monkeypatch, caplog):
    other = without_listed_weights(onnxmodels.listed(tmp_path / "other.onnx", scale=0.7))
    monkeypatch.setattr(engine, "without_listed_weights", lambda path: other)
    loaded = engine.load(listed, EngineOptions())
    (expected,) = ort.InferenceSession(str(listed)).run(
        None, {"x": np.random.default_rng(1).random((1, 64, 8, 8), np.float32)}
    )
    assert loaded.repairs == ()
    assert "it runs as it came" in caplog.text
    np.testing.assert_allclose(answer(loaded), expected, atol=1e-5)


def test_what_is_taken_out_is_what_the_onnx_library_would_take_out(listed):
    mended = without_listed_weights(listed)
    expected = onnx.load(listed)
    version = expected.ir_version
    graph.without_listed_weights(expected)
    expected.ir_version = version
    assert onnx.load_model_from_string(mended.content) == expected


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = onnxmodels.listed(tmp_path_factory.mktemp("whole") / "m.onnx")
    return path, path.read_bytes()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**31), st.lists(st.tuples(st.integers(0, 2**31), st.integers(1, 255)), max_size=8))
def test_a_damaged_file_is_left_to_the_engine(whole, cut, flips):
    path, content = whole
    damaged = bytearray(content[: cut % len(content)])
    for place, bits in flips if damaged else []:
        damaged[place % len(damaged)] ^= bits
    file = path.with_name("damaged.onnx")
    file.write_bytes(damaged)
    mended = without_listed_weights(file)
    assert mended is None or len(mended.content) < len(damaged)
