from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from support import onnxmodels
from support.onnxmodels import info, save

import edge
from edge.engines.onnxruntime import load
from edge.errors import ConfigError, ModelError, SampleError
from edge.plugins.protocols import EngineOptions
from edge.testing.checks import check_engine


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "m.onnx"


def first(model: edge.Model, x) -> object:
    return model.predict(x).predictions[0]


def test_it_is_an_engine(file):
    check_engine(load(onnxmodels.identity(file), EngineOptions()), {"x": np.ones((1, 3), np.float32)})


@pytest.mark.parametrize(
    ("dtype", "row"),
    [
        ("float16", [0.5, 1, 2]), ("float64", [0.5, 1, 2]), ("uint8", [0, 1, 255]), ("int8", [-128, 0, 127]),
        ("int64", [-1, 0, 2**40]), ("uint64", [0, 1, 2**40]), ("bool", [True, False, True]), ("string", ["a", "", "ü"]),
    ],
)  # fmt: skip
def test_every_dtype_goes_in_and_out(file, dtype, row):
    onnxmodels.identity(file, dtype)
    engine = load(file, EngineOptions())
    (x,) = engine.inputs
    assert x.dtype == dtype
    found = edge.load(file).predict(row).predictions
    values = [p.value for p in found] if dtype.startswith("float") else found[0].data
    assert values == row


@pytest.mark.parametrize("x", [3, [3], {"a": 3}])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_a_scalar_is_fed_by_a_number(file, dtype, x):
    node = helper.make_node("Add", ["a", "a"], ["y"])
    found = first(edge.load(save(file, [node], [info("a", dtype, ())], [info("y", dtype, ())])), x)
    assert (found.value if dtype == "float32" else found.data[0]) == 6


def test_free_dimensions_take_any_size(file):
    node = helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)
    model = edge.load(save(file, [node], [info("x", "float32", ("a", "b", "c"))], [info("y", "float32", ())]))
    assert first(model, [[[1, 2], [3, 4]]]).value == 10
    assert first(model, [[1, 2, 3]]).value == 6


def test_several_inputs_and_outputs_go_by_name_and_are_no_states(file):
    model = edge.load(onnxmodels.two_and_two(file))
    found = model.predict({"a": [1, 2], "b": [3, 5]}).predictions
    assert [(p.name, p.data) for p in found] == [("sum", [4, 7]), ("difference", [-2, -3])]


def test_names_may_hold_spaces(file):
    node = helper.make_node("Add", ["my input", "my input"], ["the out put"])
    model = edge.load(
        save(file, [node], [info("my input", "float32", ("n", 1))], [info("the out put", "float32", ("n", 1))])
    )
    assert first(model, {"my input": [2]}).value == 4


def test_a_sequence_of_tensors_is_told_as_lists(file):
    node = helper.make_node("SplitToSequence", ["x"], ["s"], axis=1, keepdims=1)
    out = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)
    found = first(edge.load(save(file, [node], [info("x", "float32", (1, 2))], [out])), [1, 2])
    assert (found.dtype, found.shape, found.data) == ("sequence", [2], [[[1]], [[2]]])


def external(file: Path, location: str) -> bytes:
    """A model whose weights lie elsewhere; returns what belongs there."""
    weights = np.arange(6, dtype=np.float32).reshape(3, 2)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    tensor = onnx.numpy_helper.from_array(weights, "w")
    graph = helper.make_graph([node], "g", [info("x", "float32", ("n", 3))], [info("y", "float32", ("n", 2))], [tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    kept = model.graph.initializer[0]
    kept.ClearField("raw_data")
    kept.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(weights.nbytes))):
        entry = kept.external_data.add()
        entry.key, entry.value = key, value
    file.write_bytes(model.SerializeToString())
    return weights.tobytes()


def test_weights_beside_the_model_are_read(file):
    (file.parent / "w.bin").write_bytes(external(file, "w.bin"))
    assert [p.value for p in edge.load(file).predict([0, 0, 1]).predictions] == [4, 5]


@pytest.mark.parametrize("how", ["above", "absolute", "a link", "not there"])
def test_weights_may_not_leave_the_models_folder(tmp_path, how):
    inside = tmp_path / "inside"
    inside.mkdir()
    location = {"above": "../w.bin", "absolute": str(tmp_path / "w.bin"), "a link": "link.bin"}.get(how, "gone.bin")
    (tmp_path / "w.bin").write_bytes(external(inside / "m.onnx", location))
    (inside / "link.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(ModelError, match=r"m\.onnx: its weights are in another file, which must lie beside it"):
        load(inside / "m.onnx", EngineOptions())


def test_types_that_numpy_has_not_are_told_at_load(file):
    node = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16)
    out = helper.make_tensor_value_info("y", TensorProto.BFLOAT16, [1, 2])
    with pytest.raises(ModelError, match=r"the output 'y' is a tensor\(bfloat16\)"):
        load(save(file, [node], [info("x", "float32", (1, 2))], [out]), EngineOptions())


def test_a_sequence_cannot_be_fed(file):
    node = helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=0)
    given = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)
    with pytest.raises(ModelError, match="the input 's' is a seq"):
        load(save(file, [node], [given], [info("y", "float32", ("n", 2))]), EngineOptions())


def test_a_damaged_name_in_the_librarys_own_message_is_a_model_error(file, capfd):
    data = onnxmodels.scores(file).read_bytes()
    at = data.index(b"\x01z", data.index(b"\x01z") + 2)  # what the second node takes
    file.write_bytes(data[: at + 1] + b"\xff" + data[at + 2 :])
    with pytest.raises(ModelError, match=r"m\.onnx"):
        load(file, EngineOptions())
    assert capfd.readouterr().out == ""


def test_any_damage_is_a_model_or_a_model_error(file, capfd):
    whole = onnxmodels.scores(file, classes=3, features=4).read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(whole)
        for at in rng.integers(8, len(data), 3):
            data[at] = rng.integers(0, 256)
        file.write_bytes(bytes(data[: rng.integers(len(data) // 2, len(data) * 2)]))
        with contextlib.suppress(ModelError):
            load(file, EngineOptions(cache_dir=file.parent / "state"))
    assert capfd.readouterr().out == ""


def test_a_provider_that_this_wheel_has_not_is_told_with_those_it_has(file):
    onnxmodels.identity(file)
    for name in ("acl", "xnnpack", "nonsense"):
        with pytest.raises(ConfigError, match=rf"--provider {name}: this onnxruntime has no .*; it has cpu"):
            load(file, EngineOptions(provider=name))


def test_what_the_model_refuses_is_a_bad_sample_and_the_next_one_runs(file):
    engine = load(onnxmodels.identity(file), EngineOptions())
    with pytest.raises(SampleError):
        engine.infer({"x": np.ones((1, 4), np.float32)})
    assert engine.infer({"x": np.ones((1, 3), np.float32)})["y"].tolist() == [[1, 1, 1]]


VARYING = """
import sys
from pathlib import Path
import numpy as np
from edge.engines.onnxruntime import load
from edge.plugins.protocols import EngineOptions
def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6
engine = load(Path(sys.argv[1]), EngineOptions())
sizes = np.random.default_rng(2).integers(64, 320, (100, 2))
before = resident_mb()
for height, width in sizes:
    engine.infer({"x": np.zeros((1, 3, height, width), np.float32)})
print(resident_mb() - before)
"""


def test_pictures_of_a_hundred_sizes_take_no_more_memory_than_the_largest(file):
    # Without the engine's arena it is two to three times as much here, and grows on.
    model = onnx.load(onnxmodels.deep(file, 6, channels=16))
    for dim, name in zip(model.graph.input[0].type.tensor_type.shape.dim[2:], "hw", strict=True):
        dim.dim_param = name
    onnx.save(model, file)
    done = subprocess.run(
        [sys.executable, "-c", VARYING, file], capture_output=True, text=True, check=True, timeout=100
    )
    assert float(done.stdout) < 40


def test_what_one_run_gave_stays_as_it_was_in_the_next(file):
    engine = load(onnxmodels.scores(file, classes=3, features=2), EngineOptions())
    first = engine.infer({"x": np.array([[1, 2]], np.float32)})["scores"]
    kept = first.copy()
    for n in range(5):
        engine.infer({"x": np.array([[n, -n]], np.float32)})
    assert np.array_equal(first, kept)


def test_an_input_that_is_left_out_is_a_bad_sample(file):
    engine = load(onnxmodels.two_and_two(file), EngineOptions())
    with pytest.raises(SampleError, match="refuses this input"):
        engine.infer({"a": np.ones((1, 2), np.float32)})
    with pytest.raises(SampleError, match="refuses this input"):
        engine.infer({n: np.ones((1, 2), np.float32) for n in ("a", "b", "c")})


def test_a_locale_that_the_system_has_not_is_named_with_the_way_out(tmp_path):
    node = helper.make_node("StringNormalizer", ["x"], ["y"], case_change_action="LOWER", locale="xx_YY")
    path = onnxmodels.save(
        tmp_path / "m.onnx", [node], [onnxmodels.info("x", "string", ["n"])], [onnxmodels.info("y", "string", ["n"])]
    )
    with pytest.raises(ModelError, match="the locale xx_YY does, which this system has not: sudo apt install locales"):
        load(path, EngineOptions())


@pytest.mark.parametrize(
    ("domain", "operator", "way"),
    [
        ("TRT", "EfficientNMS_TRT", "TensorRT"), ("mmdeploy", "NMSRotated", "MMDeploy"),
        ("ai.onnx.contrib", "BertTokenizer", "onnxruntime-extensions"), ("", "Whatever", "another opset or exporter"),
    ],
)  # fmt: skip
def test_an_operator_that_the_engine_has_not_is_named_with_whose_it_is(file, domain, operator, way):
    node = helper.make_node(operator, ["x"], ["y"], domain=domain)
    domains = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    graph = helper.make_graph([node], "g", [info("x", "float32", (1, 3))], [info("y", "float32", (1, 3))])
    onnx.save(helper.make_model(graph, opset_imports=domains, ir_version=8), file)
    with pytest.raises(ModelError) as told:
        load(file, EngineOptions())
    assert operator in str(told.value)
    assert way in str(told.value)


def test_an_operator_that_is_not_there_for_float64_is_said_with_the_way_out(tmp_path: Path) -> None:
    helper, double = onnx.helper, onnx.TensorProto.DOUBLE
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", double, [1, 1, 4, 4])],
        [helper.make_tensor_value_info("y", double, None)],
        [onnx.numpy_helper.from_array(np.ones((1, 1, 2, 2)), "w")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "m.onnx")

    with pytest.raises(ModelError, match=r"Conv.*save the model in float32"):
        edge.load(tmp_path / "m.onnx")
