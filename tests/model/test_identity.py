"""What tells two models apart: their weights too, wherever these lie."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edge.app.assembly import load_file
from edge.model.identity import external_files, identity, sha256


@pytest.fixture
def model(tmp_path):
    """A model of two weights, kept in the given files, in a subgraph too where it is asked for."""

    def make(*files: str, scale: float = 1.0):
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        weights = [numpy_helper.from_array(np.full((400, 1), scale * (i + 1), np.float32), f"w{i}") for i in range(2)]
        nodes = [
            helper.make_node("MatMul", ["x", "w0"], ["a"]),
            helper.make_node("MatMul", ["x", "w1"], ["b"]),
            helper.make_node("Add", ["a", "b"], ["y"]),
        ]
        ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ("n", d)) for n, d in (("x", 400), ("y", 1))]
        graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], weights)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        for tensor, file in zip(made.graph.initializer, files, strict=False):
            onnx.external_data_helper.set_external_data(tensor, file)
            (folder / file).parent.mkdir(exist_ok=True)
        onnx.save(made, folder / "m.onnx")
        return folder / "m.onnx"

    return make


@pytest.mark.parametrize("files", [("w.data",), ("a.bin", "b.bin"), ("one", "one"), ("weights of 2026/" + "x" * 150,)])
def test_weights_beside_the_file_belong_to_it(model, files):
    one, other = model(*files), model(*files, scale=2.0)
    assert external_files(one) == tuple(sorted(set(files)))
    assert load_file(one).sha256 == identity(one)
    assert identity(one) != identity(other)
    for file in set(files):
        (one.parent / file).write_bytes((other.parent / file).read_bytes())
    one.write_bytes(other.read_bytes())
    assert identity(one) == identity(other)


def test_a_file_that_holds_its_weights_is_known_by_its_own_hash(model):
    path = model()
    assert identity(path) == sha256(path)


def test_a_name_that_leads_out_of_the_folder_is_not_followed(tmp_path):
    tensor = numpy_helper.from_array(np.ones((400,), np.float32), "w")
    onnx.external_data_helper.set_external_data(tensor, "../secret")
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08" + tensor.SerializeToString())
    assert external_files(tmp_path / "m.onnx") == ()


@given(st.binary(max_size=40))
def test_any_bytes_behind_the_mark_are_read_without_a_fault(tmp_path_factory, rest):
    path = tmp_path_factory.mktemp("m") / "m.onnx"
    path.write_bytes(b"\x08\x08\x12\x00" + bytes(8) + b"\n\x08location\x12" + rest)
    assert len(identity(path)) == 64
