"""What a file itself says of its inputs: the properties of an ONNX file, the metadata of a .tflite, its shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support import tflitemeta, tinytflite
from support.guessing import FLOAT, build, describe, picture, random

import edge.describe.describe
from edge.describe import properties
from edge.describe.presets import IMAGENET_MEAN, IMAGENET_STD
from edge.engines import litert
from edge.plugins.protocols import EngineOptions

RANGE, ORDER = "Image.NominalPixelRange", "Image.BitmapPixelFormat"
GUESS = "the file does not say how pixels become numbers"


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "model.onnx"


def model_info(**fields: str) -> dict[str, str]:
    return {f"model_info {name}": value for name, value in fields.items()}


@pytest.mark.parametrize(
    ("said", "ends"),
    [("NominalRange_0_255", (0, 255)), ("normalized_0_1", (0, 1)), ("Normalized_1_1", (-1, 1)),
     ("NominalRange_16_235", (16, 235))],
)  # fmt: skip
def test_the_standards_own_properties_say_the_range_and_the_order_of_pixels(file, said, ends):
    found = describe(build(file, picture(), {"y": random(1, 5)}, metadata={RANGE: said, ORDER: "Bgr8"}))
    (image,) = found.manifest.inputs
    pixels = (np.array([0, 255]) - (image.mean or (0,))) / (image.std or (1,))
    np.testing.assert_allclose(pixels, ends, atol=0.02)
    assert image.color == "BGR"
    assert not any(GUESS in w for w in found.warnings)


def test_an_order_without_a_range_leaves_the_range_a_guess_in_that_order(file):
    found = describe(build(file, picture(), {"y": random(1, 5)}, metadata={ORDER: "Bgr8"}))
    (image,) = found.manifest.inputs
    assert (image.color, image.mean, image.std) == ("BGR", IMAGENET_MEAN[::-1], IMAGENET_STD[::-1])
    assert any(GUESS in w and "--color" not in w for w in found.warnings)


def test_where_nothing_says_the_order_of_colours_the_warning_names_the_flag(file):
    assert any(
        GUESS in w and "--color BGR" in w for w in describe(build(file, picture(), {"y": random(1, 5)})).warnings
    )


def test_a_range_that_nobody_knows_is_told_and_left_out(file):
    found = describe(build(file, picture(), {"y": random(1, 5)}, metadata={RANGE: "Percent", ORDER: "Cmyk"}))
    assert sum("is not known here" in w for w in found.warnings) == 2
    assert any(GUESS in w for w in found.warnings)


def test_what_otx_writes_for_the_model_api_is_read(file):
    info = model_info(
        model_type="Classification", labels="big_cat dog", label_info='{"label_names": ["big cat", "dog"]}',
        mean_values="10 20 30", scale_values="40.0, 50.0, 60.0", resize_type="fit_to_window_letterbox", pad_value="114",
        reverse_input_channels="True", multilabel="True", confidence_threshold="0.35",
    )  # fmt: skip
    found = describe(build(file, picture(), {"logits": random(1, 2, low=-3)}, metadata=info))
    (image,) = found.manifest.inputs
    assert (image.mean, image.std, image.resize, image.pad) == ((10, 20, 30), (40, 50, 60), "letterbox", 114)
    assert found.manifest.labels == ("big cat", "dog")
    assert (found.manifest.activation, found.manifest.threshold, found.warnings) == ("sigmoid", 0.35, ())


def test_an_order_of_colours_that_the_model_api_leaves_to_its_caller_is_told(file):
    info = model_info(scale_values="255 255 255", reverse_input_channels="False")
    found = describe(build(file, picture(), {"y": random(1, 5)}, metadata=info))
    assert any("--color BGR" in w for w in found.warnings)


@pytest.mark.parametrize(
    "bad",
    [{"mean_values": "1 2"}, {"scale_values": "0 1 1"}, {"resize_type": "cubic"}, {"pad_value": "300"},
     {"label_info": "{"}, {"confidence_threshold": "high"}],
)  # fmt: skip
def test_a_property_of_the_model_api_that_cannot_be_read_is_left_out_with_the_reason(file, bad):
    found = describe(
        build(file, picture(), {"y": random(1, 5)}, metadata=model_info(scale_values="255") | model_info(**bad))
    )
    assert any(f"model_info {next(iter(bad))} is left out" in w for w in found.warnings)


def test_boxes_of_otx_have_their_score_behind_them(file):
    outputs = {"boxes": random(1, 20, 5, high=90), "labels": np.zeros((1, 20), np.int64)}
    found = describe(build(file, picture(), outputs, metadata=model_info(labels="cat dog"))).manifest
    assert (found.decoder, found.labels) == ("mmdetection", ("cat", "dog"))


@pytest.mark.parametrize("seen", [1.0, 0.0])
def test_corners_of_custom_vision_are_shares_whether_noise_shows_them_or_not(file, seen):
    outputs = {"detected_boxes": random(1, 20, 4) * np.float32(seen), "detected_classes": np.zeros((1, 20), np.int64),
               "detected_scores": random(1, 20)}  # fmt: skip
    found = describe(build(file, picture(), outputs)).manifest
    assert found.decoder == "tflite-detection"
    assert found.decoder_options == {"box_format": "xyxy"}


@pytest.mark.parametrize(
    ("steps", "color"),
    [
        ([("Sub", (103.939, 116.779, 123.68))], "BGR"),
        ([("Add", (-0.406, -0.456, -0.485))], "BGR"),
        ([("Div", (255,)), ("Sub", (0.406, 0.456, 0.485))], "BGR"),
        ([("Sub", (123.675, 116.28, 103.53))], "RGB"),
        ([("Sub", (127.5, 127.5, 127.5))], "RGB"),
        ([("Gather", (2, 1, 0)), ("Sub", (103.939, 116.779, 123.68))], "RGB"),
    ],
)
def test_a_mean_that_the_graph_takes_off_shows_the_order_of_colours(file, steps, color):
    nodes, last = [], "x"
    for at, (op, numbers) in enumerate(steps):
        chosen = op == "Gather"
        value = np.array(numbers, np.int64) if chosen else np.array(numbers, np.float32).reshape(1, -1, 1, 1)
        nodes += [
            helper.make_node("Constant", [], [f"c{at}"], value=numpy_helper.from_array(value)),
            helper.make_node(op, [last, f"c{at}"], [f"s{at}"], **({"axis": 1} if chosen else {})),
        ]
        last = f"s{at}"
    nodes += [
        helper.make_node("ReduceMean", [last], ["m"], axes=[2, 3], keepdims=0),
        helper.make_node("Softmax", ["m"], ["y"]),
    ]
    found = describe(build(file, {"x": (FLOAT, [1, 3, 96, 96])}, {"y": [1, 3]}, nodes=nodes))
    assert found.manifest.inputs[0].color == color
    assert not any(GUESS in w for w in found.warnings)


def test_a_mean_that_a_tflite_takes_off_shows_the_order_of_colours(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(tinytflite.build(shape=(1, 32, 32, 3), constant=(-103.939, -116.779, -123.68)))
    (image,) = edge.describe.describe.describe(path, litert.load(path, EngineOptions())).manifest.inputs
    assert (image.color, image.mean, image.std) == ("BGR", (), ())


def test_four_unnamed_outputs_of_another_exporter_are_told_to_be_taken_for_tensorflows(file):
    outputs = {"a": random(1, 20, 4), "b": np.zeros((1, 20), np.float32), "c": random(1, 20), "d": random(1)}
    assert any("y before x" in w and "xyxy" in w for w in describe(build(file, picture(), outputs)).warnings)


@pytest.mark.parametrize(("mean", "std"), [("[0.5, 0.4, 0.3]", "0.2"), ("127.5,102,76.5", "[51.0]")])
def test_a_mean_and_a_std_of_ones_own_are_read_in_either_measure(file, mean, std):
    said = {"mean": mean, "std": std}
    (image,) = describe(build(file, picture(), {"y": random(1, 5)}, metadata=said)).manifest.inputs
    np.testing.assert_allclose((*image.mean, *image.std), (127.5, 102, 76.5, 51))


@pytest.mark.parametrize("said", [{"mean": "0.5", "std": "127"}, {"mean": "a", "std": "b"}, {"mean": "0", "std": "0"}])
def test_a_mean_and_a_std_that_do_not_fit_are_told_and_left_out(file, said):
    found = describe(build(file, picture(), {"y": random(1, 5)}, metadata=said))
    assert any("mean and std are left out" in w for w in found.warnings)
    assert any(GUESS in w for w in found.warnings)


@pytest.mark.parametrize("length", [48_000, 33_000])
def test_a_tflite_that_says_at_which_rate_it_takes_sound_is_believed(tmp_path, length):
    path = tmp_path / "m.tflite"
    path.write_bytes(tflitemeta.of_sound(tinytflite.build(shape=(1, length)), 48_000))
    found = edge.describe.describe.describe(path, litert.load(path, EngineOptions()))
    (part,) = found.manifest.inputs
    assert (part.kind, part.sample_rate, part.window.size) == ("audio", 48_000, length)
    assert not any("--sample-rate" in w for w in found.warnings)


@pytest.mark.parametrize(("steps", "features", "told"), [(8, 8, True), (6, 50, True), (50, 6, False)])
def test_a_window_that_may_lie_the_other_way_round_is_told(file, steps, features, told):
    found = describe(build(file, {"x": (FLOAT, [1, steps, features])}, {"y": random(1, 5)}))
    assert any(f"taken for {steps} rows of {features} features" in w for w in found.warnings) == told


def test_a_model_that_names_its_class_itself_does_not_lack_labels(file):
    nodes = [
        helper.make_node("ArgMax", ["x"], ["i"], axis=1, keepdims=0),
        helper.make_node("Softmax", ["x"], ["probabilities"]),
        helper.make_node("Cast", ["i"], ["label"], to=TensorProto.STRING),
    ]
    path = build(file, {"x": (FLOAT, [1, 3])}, {"label": [1], "probabilities": [1, 3]}, nodes=nodes)
    model = onnx.load(path)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.STRING
    onnx.save(model, path)
    found = describe(path)
    assert [o.role for o in found.manifest.outputs] == ["label", "scores"]
    assert not any("no labels found" in w for w in found.warnings)


def test_a_class_and_a_mapping_of_scores_for_windows_ml_are_a_classification(file):
    texts = numpy_helper.from_array(np.array([b"cat"], object), "text")
    nodes = [
        helper.make_node("Constant", [], ["classLabel"], value=texts),
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[2, 3], keepdims=0),
        helper.make_node("ZipMap", ["m"], ["loss"], domain="ai.onnx.ml", classlabels_strings=["cat", "dog", "cow"]),
    ]
    model = onnx.load(build(file, picture(), {"classLabel": [1], "loss": [1]}, nodes=nodes))
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.STRING
    scores = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(FLOAT, []))
    model.graph.output[1].CopyFrom(helper.make_value_info("loss", helper.make_sequence_type_proto(scores)))
    onnx.save(model, file)
    found = describe(file)
    assert [(o.name, o.role) for o in found.manifest.outputs] == [("classLabel", "label"), ("loss", "scores")]
    assert not any("noise" in w for w in found.warnings)


@pytest.mark.parametrize(
    "fields", [{"label_info": "[" * 100_000}, {"resize_type": "crop", "pad_value": "inf"}], ids=["brackets", "infinite"]
)
def test_what_nobody_can_read_of_model_info_is_left_out_with_a_warning(fields: dict[str, str]) -> None:
    found = properties.read(model_info(**fields))

    (warning,) = (w for w in found["warnings"] if "is left out" in w)
    assert warning.startswith(f"its metadata: model_info {list(fields)[-1]} ")


def test_mean_and_std_of_a_table_are_no_picture_s_affair() -> None:
    assert properties.read({"mean": "1 2 3 4 5", "std": "[1, 2, 3, 4, 5]"}) == {}
