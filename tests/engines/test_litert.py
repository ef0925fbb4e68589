from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from support import tinytflite

import edge
from edge.engines import litert
from edge.engines.litert import load
from edge.errors import ConfigError, ModelError, SampleError
from edge.plugins.protocols import EngineOptions
from edge.testing.checks import check_engine


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "add.tflite"
    path.write_bytes(tinytflite.build())
    return path


def x(rows: int = 1) -> np.ndarray:
    return np.arange(4 * rows, dtype=np.float32).reshape(rows, 4)


def test_it_is_an_engine(file):
    check_engine(load(file, EngineOptions()), {"x": x()})


def test_it_names_its_inputs_and_outputs_and_which_dimension_is_free(file):
    engine = load(file, EngineOptions())
    assert [(s.name, s.dtype, s.shape) for s in (*engine.inputs, *engine.outputs)] == [
        ("x", "float32", (None, 4)),
        ("y", "float32", (None, 4)),
    ]


def test_a_free_batch_takes_any_number_of_rows(file):
    engine = load(file, EngineOptions())
    for rows in (1, 5, 2, 1):
        np.testing.assert_array_equal(engine.infer({"x": x(rows)})["y"], x(rows) + 2)


def test_each_of_several_instances_keeps_its_own_shapes_and_gives_the_same(file):
    engine = load(file, EngineOptions(instances=3))
    with ThreadPoolExecutor(6) as threads:
        rows = [1 + n % 5 for n in range(60)]
        found = list(threads.map(lambda n: engine.infer({"x": x(n)})["y"], rows))
    for n, y in zip(rows, found, strict=True):
        np.testing.assert_array_equal(y, x(n) + 2)


@pytest.mark.parametrize(
    "tensors",
    [
        {"x": np.zeros((1, 5), np.float32)},
        {"x": np.zeros((1, 1, 4), np.float32)},
        {"x": np.zeros((0, 4), np.float32)},
        {"x": np.zeros((1, 4), np.float64)},
        {},
        {"x": np.zeros((1, 4), np.float32), "z": np.zeros(1, np.float32)},
    ],
)
def test_what_does_not_fit_is_a_bad_sample_and_the_next_one_runs(file, tensors):
    engine = load(file, EngineOptions())
    with pytest.raises(SampleError):
        engine.infer(tensors)
    np.testing.assert_array_equal(engine.infer({"x": x()})["y"], x() + 2)


def test_it_says_nothing_on_stderr(file, capfd):
    load(file, EngineOptions()).infer({"x": x()})
    assert capfd.readouterr().err == ""


class Narrow:
    """An interpreter of a model whose free dimensions cannot be 1: a convolution over sound."""

    def __init__(self, signature: tuple[int, ...], least: int) -> None:
        self.shape, self._signature, self._least = [1 if d < 0 else d for d in signature], signature, least

    def get_input_details(self) -> list[dict]:
        return [{"index": 0, "shape": self.shape, "shape_signature": self._signature}]

    def resize_tensor_input(self, index: int, shape: list[int]) -> None:
        self.shape = shape

    def allocate_tensors(self) -> None:
        if min(d for d, s in zip(self.shape, self._signature, strict=True) if s < 0) < self._least:
            raise RuntimeError("failed to prepare")


@pytest.mark.parametrize(
    ("signature", "shape"),
    [((-1,), [16_000]), ((1, -1), [1, 16_000]), ((1, -1, -1, 3), [1, 224, 224, 3]), ((1, -1, 40), [1, 64, 40])],
)
def test_free_dimensions_that_cannot_be_1_become_larger(signature, shape):
    narrow = Narrow(signature, 20)
    litert.allocate(narrow)
    assert narrow.shape == shape


def test_a_model_that_fits_in_no_size_says_why():
    with pytest.raises(RuntimeError, match="failed to prepare"):
        litert.allocate(Narrow((1, -1), 10**9))


@pytest.fixture
def running_sum(tmp_path) -> Path:
    path = tmp_path / "sum.tflite"
    path.write_bytes(tinytflite.running_sum())
    return path


def test_a_model_that_remembers_by_itself_is_emptied_by_reset(running_sum):
    engine = load(running_sum, EngineOptions())
    one = np.ones((1, 1), np.float32)
    assert [float(engine.infer({"x": one})["y"][0, 0]) for _ in range(3)] == [1, 2, 3]
    engine.reset()
    assert engine.infer({"x": one})["y"].tolist() == [[1]]


def test_a_damaged_name_inside_does_not_stop_a_reset(running_sum):
    running_sum.write_bytes(running_sum.read_bytes().replace(b"held", b"he\xffd"))
    engine = load(running_sum, EngineOptions())
    engine.infer({"x": np.ones((1, 1), np.float32)})
    engine.reset()
    assert engine.infer({"x": np.ones((1, 1), np.float32)})["y"].tolist() == [[1]]


@pytest.mark.parametrize("name", ["LSTM", "RNN", "SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN",
                                  "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN"])  # fmt: skip
def test_a_recurrent_operator_is_known_from_the_file(file, name):
    assert not load(file, EngineOptions()).remembers
    file.write_bytes(tinytflite.build(listed=name))
    assert load(file, EngineOptions()).remembers


def test_a_variable_is_known_from_the_file(running_sum):
    assert load(running_sum, EngineOptions()).remembers


def test_what_a_model_was_tried_with_is_not_remembered(running_sum):
    model = edge.load(running_sum)
    assert [model.predict([1]).predictions[0].value for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("provider", ["cpu", "xnnpack", "builtin"])
def test_providers_give_the_same(file, provider):
    engine = load(file, EngineOptions(threads=2, provider=provider))
    np.testing.assert_array_equal(engine.infer({"x": x()})["y"], x() + 2)


@pytest.mark.parametrize("provider", ["gpu", "/nowhere/libdelegate.so.1", "/nowhere/libdelegate.so?device=usb"])
def test_a_delegate_that_is_not_there_is_a_configuration_error(file, provider):
    with pytest.raises(ConfigError, match="--provider"):
        load(file, EngineOptions(provider=provider))


@pytest.fixture(scope="module")
def delegate(tmp_path_factory) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed: apt-get install gcc")
    library = tmp_path_factory.mktemp("delegate") / "libdelegate.so"
    source = Path(__file__).parents[1] / "support/delegate.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def test_a_delegate_is_loaded_from_its_path_with_its_options(file, delegate, tmp_path):
    engine = load(file, EngineOptions(provider=f"{delegate}?log={tmp_path}/said&device=usb:0"))
    np.testing.assert_array_equal(engine.infer({"x": x()})["y"], x() + 2)
    assert (tmp_path / "said").read_text() == f"log={tmp_path}/said\ndevice=usb:0\n"


def test_what_a_delegate_says_against_its_options_is_a_configuration_error(file, delegate):
    with pytest.raises(ConfigError, match=r"the delegate does not load: .*the option log is missing"):
        load(file, EngineOptions(provider=str(delegate)))


def test_a_custom_operator_is_a_model_error_that_names_it(file):
    file.write_bytes(tinytflite.build(tinytflite.CUSTOM, custom="MyOp"))
    with pytest.raises(ModelError, match="no operator 'MyOp'"):
        load(file, EngineOptions())


def test_a_wrong_schema_is_a_model_error(file):
    file.write_bytes(tinytflite.build(version=9))
    with pytest.raises(ModelError, match="schema version 9"):
        load(file, EngineOptions())


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9])
def test_a_truncated_file_is_a_model_error(file, share):
    data = file.read_bytes()
    file.write_bytes(data[: max(8, int(len(data) * share))])
    with pytest.raises(ModelError) as told:
        load(file, EngineOptions())
    assert "\n" not in str(told.value)


def test_any_damage_is_a_model_or_a_model_error(file):
    whole = file.read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(60):
        data = bytearray(whole)
        for at in rng.integers(8, len(data), 3):
            data[at] = rng.integers(0, 256)
        file.write_bytes(data)
        try:
            load(file, EngineOptions())
        except ModelError:
            continue


def test_a_file_that_is_no_tflite_is_a_model_error(file):
    file.write_bytes(b"\x08\x07onnx, perhaps")
    with pytest.raises(ModelError, match="TFL3"):
        load(file, EngineOptions())
