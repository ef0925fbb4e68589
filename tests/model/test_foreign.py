from __future__ import annotations

import json
import shlex
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge.engines import onnxruntime
from edge.model import foreign, heads, signature
from edge.model.foreign import Foreign, Hints
from edge.protocols import EngineOptions

FLOAT = TensorProto.FLOAT


def build(path: Path, inputs, outputs, *, producer: str = "pytorch", metadata=None, nodes=None) -> Path:
    """A model whose outputs are constants of the shapes given, or arrays, or what `nodes` make."""
    made = list(nodes or [])
    initial = []
    for name, value in outputs.items():
        if isinstance(value, np.ndarray):
            initial.append(onnx.numpy_helper.from_array(value, f"{name}_value"))
            made.append(helper.make_node("Identity", [f"{name}_value"], [name]))
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info(n, t, s) for n, (t, s) in inputs.items()],
        [
            helper.make_tensor_value_info(
                n, TensorProto.INT64 if getattr(v, "dtype", None) == np.int64 else FLOAT, getattr(v, "shape", v)
            )
            for n, v in outputs.items()
        ],
        initial,
    )
    model = helper.make_model(graph, producer_name=producer, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path)
    return path


def describe(path: Path, hints: Hints | None = None) -> Foreign:
    return foreign.describe(path, onnxruntime.load(path, EngineOptions()), hints)


def random(*shape: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    return np.random.default_rng(0).uniform(low, high, shape).astype(np.float32)


def picture(size: int = 96, channels: int = 3) -> dict:
    return {"x": (FLOAT, [1, channels, size, size])}


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "model.onnx"


# --- classifiers --------------------------------------------------------------------------------------------


def test_a_classifier_of_pytorch_gets_imagenets_numbers_and_softmax(file):
    found = describe(build(file, picture(224), {"y": random(1, 1000, low=-5, high=5)}))
    (image,) = found.manifest.inputs
    assert (found.manifest.task, found.manifest.activation) == ("classify", "softmax")
    assert (image.kind, image.layout, image.color, image.size) == ("image", "NCHW", "RGB", (224, 224))
    assert (image.mean, image.std) == ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    assert "--activation softmax" in found.guesses


def test_scores_that_sum_to_one_are_probabilities_already(file):
    scores = random(1, 10)
    assert describe(build(file, picture(), {"y": scores / scores.sum()})).manifest.activation == ""


@pytest.mark.parametrize(("producer", "color"), [("onnx-caffe2", "BGR"), ("CNTK", "RGB")])
def test_models_of_caffe_and_cntk_take_pixels(file, producer, color):
    (image,) = describe(build(file, picture(224), {"y": random(1, 1000)}, producer=producer)).manifest.inputs
    assert (image.mean, image.std, image.color) == ((), (), color)


def test_a_grey_picture_is_told_by_its_one_channel(file):
    (image,) = describe(build(file, picture(28, 1), {"y": random(1, 10)})).manifest.inputs
    assert (image.color, image.mean, image.std) == ("GRAY", (), (255.0,))


def test_labels_beside_the_model_are_taken_and_told(tmp_path):
    folder = tmp_path / "two words"
    folder.mkdir()
    (folder / "labels.txt").write_text("cat\ndog\n")
    found = describe(build(folder / "m.onnx", picture(), {"y": random(1, 2)}))
    assert found.manifest.labels == ("cat", "dog")
    assert shlex.split(found.guesses[-1]) == ["--labels", str(folder / "labels.txt")]


def test_deeplab_takes_pixels_from_minus_1_to_1(file):
    found = describe(build(file, {"x": (FLOAT, [1, 257, 257, 3])}, {"y": random(1, 257, 257, 21)}, producer="tf2onnx"))
    (image,) = found.manifest.inputs
    assert (found.manifest.task, image.mean, image.std) == ("segment", (127.5,), (127.5,))


def test_labels_in_the_metadata_are_taken(file):
    found = describe(build(file, picture(), {"y": random(1, 2)}, metadata={"classes": '["cat", "dog"]'}))
    assert found.manifest.labels == ("cat", "dog")


def test_hints_outweigh_every_guess(file):
    hints = Hints(
        task="classify", labels=("a", "b"), color="BGR", mean=(1.0,), std=(2.0,), resize="crop", activation="sigmoid"
    )
    found = describe(build(file, picture(), {"y": random(1, 2, low=-3, high=3)}), hints)
    (image,) = found.manifest.inputs
    assert (image.color, image.mean, image.std, image.resize) == ("BGR", (1.0,), (2.0,), "crop")
    assert (found.manifest.labels, found.manifest.activation) == (("a", "b"), "sigmoid")


def test_many_values_without_labels_are_an_embedding(file):
    found = describe(build(file, picture(112), {"y": random(1, 512, low=-1)}))
    assert found.manifest.task == "raw"
    assert (found.manifest.inputs[0].mean, found.manifest.inputs[0].std) == ((127.5,), (127.5,))
    assert any("embedding" in w for w in found.warnings)


# --- detectors ----------------------------------------------------------------------------------------------


def boxes(rows: int, columns: int, size: float = 96) -> np.ndarray:
    values = random(1, rows, columns)
    values[..., :4] *= size
    return values


@pytest.mark.parametrize(
    ("outputs", "decoder", "options"),
    [
        ({"y": boxes(189, 9).transpose(0, 2, 1)}, "yolo", {"form": "v8"}),
        ({"y": boxes(189, 9, 1).transpose(0, 2, 1)}, "yolo", {"form": "v8", "normalized": True}),
        ({"y": boxes(567, 85)}, "yolo", {"form": "v5"}),
        ({"y": boxes(189, 85, 1)}, "yolox", {}),
        ({"y": boxes(189, 85)}, "yolo", {"form": "v5"}),
        ({"y": boxes(189, 84)}, "yolo", {"form": "v8-rows"}),
        ({"y": boxes(300, 6)}, "yolo", {"form": "end-to-end"}),
        ({"y": boxes(100, 7)}, "yolo", {"form": "end-to-end-7"}),
        ({"y": boxes(567, 85), "a": random(1, 3, 12, 12, 85), "b": random(1, 3, 6, 6, 85)}, "yolo", {"form": "v5"}),
        ({"num_dets": np.zeros((1, 1), np.int64), "det_boxes": np.zeros((1, 20, 4), np.float32),
          "det_scores": random(1, 20), "det_classes": np.zeros((1, 20), np.int64)}, "tflite-detection",
         {"box_format": "xyxy", "normalized": False}),
        ({"y": random(1, 85, 6, 6)}, "fastestdet", {}),
        ({"s": random(1, 50, 2), "b": np.sort(random(1, 50, 4))}, "scores-boxes", {"box_format": None}),
        ({"s": random(1, 50, 2), "b": random(1, 50, 4)}, "scores-boxes", {"box_format": "cxcywh"}),
        ({"y": boxes(300, 84, 1)}, "yolo", {"form": "v8-rows", "normalized": True}),
        ({"rows": random(7, 6), "count": np.array([7])}, "yolo", {"form": "paddle"}),
        ({"dets": random(1, 50, 4), "labels": random(1, 50, 91, low=-5)}, "scores-boxes",
         {"box_format": "cxcywh", "activation": "sigmoid"}),
        ({"logits": random(1, 50, 80, low=-5), "pred_boxes": random(1, 50, 4)}, "scores-boxes",
         {"box_format": "cxcywh", "activation": "sigmoid"}),
        ({"detection_boxes": random(1, 20, 4), "detection_classes": random(1, 20), "detection_scores": random(1, 20),
          "num_detections": random(1)}, "tflite-detection", {"box_format": "yxyx", "class_offset": 1}),
        ({"boxes": random(20, 4, high=60), "labels": np.zeros(20, np.int64), "scores": random(20)}, "tflite-detection",
         {"box_format": "xyxy", "normalized": False}),
    ],
)  # fmt: skip
def test_a_head_is_known_by_its_shape(file, outputs, decoder, options):
    found = describe(build(file, picture(), outputs))
    assert (found.manifest.task, found.manifest.decoder) == ("detect", decoder)
    assert {k: found.manifest.decoder_options.get(k) for k in options} == options
    assert f"--decoder {decoder}" in found.guesses


def test_a_head_of_scores_that_sum_to_one_has_a_background(file):
    scores = random(1, 50, 2)
    found = describe(build(file, picture(), {"s": scores / scores.sum(axis=2, keepdims=True), "b": random(1, 50, 4)}))
    assert found.manifest.decoder_options["background"] == 0
    assert (found.manifest.threshold, found.manifest.nms) == (0.7, 0.3)
    assert found.manifest.inputs[0].mean == (127.0,)


def test_yolox_takes_bgr_pixels_in_the_top_left(file):
    (image,) = describe(build(file, picture(), {"y": boxes(189, 85, 1)})).manifest.inputs
    assert (image.color, image.mean, image.std, image.resize, image.pad) == ("BGR", (), (), "letterbox-topleft", 114)


def test_yolo_takes_rgb_from_0_to_1_in_the_middle(file):
    (image,) = describe(build(file, picture(), {"y": boxes(189, 9).transpose(0, 2, 1)})).manifest.inputs
    assert (image.color, image.mean, image.std, image.resize) == ("RGB", (), (255.0,), "letterbox")


def test_labels_tell_v8_turned_round_from_one_with_an_objects_score(file):
    path = build(file, picture(), {"y": boxes(189, 9)})
    assert describe(path, Hints(labels=tuple("abcde"))).manifest.decoder_options == {"form": "v8-rows"}
    assert describe(path, Hints(labels=tuple("abcd"))).manifest.decoder_options == {"form": "v5"}


def test_ultralytics_says_all_itself(file):
    metadata = {
        "names": "{0: 'cat', 1: 'dog'}",
        "stride": "32",
        "task": "detect",
        "imgsz": "[64, 96]",
        "author": "Ultralytics",
    }
    inputs = {"images": (FLOAT, [1, 3, "height", "width"])}
    cells = heads.cells(96, 64)
    found = describe(build(file, inputs, {"y": boxes(cells, 6).transpose(0, 2, 1)}, metadata=metadata)).manifest
    assert (found.labels, found.inputs[0].size, found.decoder) == (("cat", "dog"), (96, 64), "yolo")


def test_ultralytics_poses_have_keypoints(file):
    metadata = {"names": "{0: 'person'}", "stride": "32", "task": "pose", "kpt_shape": "[5, 3]"}
    found = describe(build(file, picture(), {"y": boxes(189, 20).transpose(0, 2, 1)}, metadata=metadata)).manifest
    assert (found.task, found.decoder_options["keypoints"]) == ("keypoints", [5, 3])


def test_ultralytics_masks_leave_their_coefficients_out(file):
    metadata = {"names": "{0: 'cat', 1: 'dog'}", "stride": "32", "task": "segment"}
    outputs = {"y": boxes(189, 38).transpose(0, 2, 1), "p": random(1, 32, 24, 24)}
    found = describe(build(file, picture(), outputs, metadata=metadata)).manifest
    assert (found.task, found.decoder_options["extras"]) == ("detect", 32)


def test_metadata_that_is_no_python_does_no_harm(file):
    metadata = {"names": "[" * 5000, "stride": "x", "imgsz": "(", "task": "detect"}
    found = describe(build(file, picture(), {"y": boxes(189, 9).transpose(0, 2, 1)}, metadata=metadata))
    assert found.manifest.decoder == "yolo"


def test_poses_with_suppression_in_the_graph_keep_their_keypoints(file):
    metadata = {"names": "{0: 'person'}", "stride": "32", "task": "pose", "kpt_shape": "[17, 3]"}
    found = describe(build(file, picture(), {"y": boxes(300, 57)}, metadata=metadata)).manifest
    assert (found.task, found.decoder) == ("keypoints", "yolo")
    assert found.decoder_options == {"form": "end-to-end", "keypoints": [17, 3]}


def test_masks_with_suppression_in_the_graph_leave_their_coefficients_out(file):
    metadata = {"names": "{0: 'cat', 1: 'dog'}", "stride": "32", "task": "segment"}
    found = describe(
        build(file, picture(), {"y": boxes(300, 38), "p": random(1, 32, 24, 24)}, metadata=metadata)
    ).manifest
    assert found.decoder_options == {"form": "end-to-end", "extras": 32}


def test_scores_of_mediapipe_belong_to_its_anchors(file):
    found = describe(build(file, picture(128), {"r": random(1, 896, 16, low=-9), "c": random(1, 896, 1, low=-9)}))
    (image,) = found.manifest.inputs
    assert (found.manifest.task, found.manifest.decoder, found.manifest.labels) == ("detect", "blazeface", ("face",))
    assert (image.mean, image.std, image.resize, image.pad) == ((127.5,), (127.5,), "letterbox", 0)
    assert not found.warnings


def test_a_list_of_numbers_is_no_list_of_classes(file):
    found = describe(build(file, picture(), {"r": random(1, 333, 16), "c": random(1, 333, 1)}))
    assert found.manifest.task == "raw"
    assert any("no decoder fits" in w for w in found.warnings)


def test_offsets_from_anchors_that_are_not_there_are_no_boxes(file):
    found = describe(build(file, picture(), {"s": random(1, 50, 3), "b": random(1, 50, 4, low=-3, high=3)}))
    assert found.manifest.task == "raw"
    assert any("[1, 50, 4]" in w for w in found.warnings)


def test_distances_as_distributions_are_no_yolo(file):
    found = describe(build(file, picture(), {"y": boxes(189, 37)}), Hints(labels=tuple("abcde")))
    assert found.manifest.task == "raw"


@pytest.mark.parametrize(
    ("values", "activation"), [(random(1, 1, 96, 96), ""), (random(1, 1, 48, 48, low=-4, high=4), "sigmoid")]
)
def test_one_channel_is_one_label_against_the_rest(file, values, activation):
    found = describe(build(file, picture(), {"y": values}), Hints(labels=("cat",)))
    assert (found.manifest.task, found.manifest.labels) == ("segment", ("background", "cat"))
    assert found.manifest.activation == activation
    assert ("--activation sigmoid" in found.guesses) == bool(activation)


def test_a_count_beside_what_nobody_knows_is_no_result(file):
    found = describe(build(file, picture(), {"rows": random(7, 9), "count": np.float32([7])}))
    assert found.manifest.task == "raw"


def test_scores_and_boxes_of_pytorch_take_0_to_1(file):
    found = describe(build(file, picture(), {"s": random(1, 50, 5), "b": np.sort(random(1, 50, 4))}))
    assert (found.manifest.inputs[0].mean, found.manifest.inputs[0].std) == ((), (255.0,))


def test_an_autoencoder_of_pictures_is_one_where_the_user_says_so(file):
    path = build(file, picture(), {"y": [1, 3, 96, 96]}, nodes=[helper.make_node("Identity", ["x"], ["y"])])
    assert any("--task anomaly, where it gives its input back" in w for w in describe(path).warnings)
    found = describe(path, Hints(task="anomaly")).manifest
    assert [(o.name, o.role) for o in found.outputs] == [("y", "reconstruction")]


def test_depth_is_no_mask(file):
    assert describe(build(file, picture(), {"y": random(1, 1, 96, 96, low=2, high=900)})).manifest.task == "raw"


def test_masks_that_training_added_are_left_out(file):
    outputs = {n: random(1, 1, 96, 96) for n in ("d0", "d1", "d2", "d3", "d4", "d5", "d6")}
    found = describe(build(file, picture(), outputs)).manifest
    assert (found.task, [o.name for o in found.outputs]) == ("segment", ["d0"])


def test_three_channels_are_classes_where_something_says_so(file):
    logits = random(1, 3, 96, 96, low=-4, high=4)
    powers = np.exp(logits)
    assert describe(build(file, picture(), {"y": logits})).manifest.task == "raw"
    assert describe(build(file, picture(), {"y": logits}), Hints(labels=tuple("abc"))).manifest.task == "segment"
    shares = powers / powers.sum(axis=1, keepdims=True)
    assert describe(build(file, picture(), {"y": shares})).manifest.task == "segment"


@pytest.mark.parametrize(("shape", "axis"), [((1, 5, 96, 96), 1), ((1, 48, 48, 5), 3)])
def test_scores_for_each_pixel_are_a_segmentation(file, shape, axis):
    found = describe(build(file, picture(), {"y": random(*shape)})).manifest
    assert (found.task, found.decoder_options["axis"]) == ("segment", axis)


def test_movenets_points_are_keypoints(file):
    found = describe(build(file, {"x": (TensorProto.INT32, [1, 64, 64, 3])}, {"y": random(1, 1, 17, 3)})).manifest
    assert (found.task, found.inputs[0].layout, found.inputs[0].resize) == ("keypoints", "NHWC", "letterbox")


def test_a_head_that_fits_nothing_is_raw_and_its_shape_is_told(file):
    found = describe(build(file, picture(), {"y": random(1, 7, 3, 3)}))
    assert found.manifest.task == "raw"
    assert any("[1, 7, 3, 3]" in w for w in found.warnings)


# --- tables -------------------------------------------------------------------------------------------------


def test_one_number_of_a_table_is_a_regression(file):
    found = describe(build(file, {"x": (FLOAT, ["n", 4])}, {"y": random(1, 1)})).manifest
    assert (found.task, found.inputs[0].kind) == ("regress", "table")


def test_a_distribution_of_a_table_is_a_classification(file):
    scores = random(1, 4)
    assert describe(build(file, {"x": (FLOAT, [1, 8])}, {"y": scores / scores.sum()})).manifest.task == "classify"


def test_many_numbers_of_a_table_are_told_as_they_are(file):
    assert describe(build(file, {"x": (FLOAT, ["n", 4])}, {"y": random(1, 128, low=-1)})).manifest.task == "raw"


def test_two_numbers_that_nearly_add_up_to_one_are_a_regression(file):
    assert describe(build(file, {"x": (FLOAT, [1, 4])}, {"y": np.float32([[0.56, 0.43]])})).manifest.task == "regress"


def test_as_many_values_as_labels_are_a_classification(file, tmp_path):
    path = build(file, {"x": (FLOAT, [1, 8])}, {"y": random(1, 3, low=-4, high=4)})
    assert describe(path).manifest.task == "regress"
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    found = describe(path).manifest
    assert (found.task, found.activation) == ("classify", "softmax")


def test_an_output_like_its_input_is_a_reconstruction(file):
    node = helper.make_node("Identity", ["x"], ["y"])
    found = describe(build(file, {"x": (FLOAT, [1, 64])}, {"y": [1, 64]}, nodes=[node])).manifest
    assert (found.task, found.outputs[0].role) == ("anomaly", "reconstruction")


def test_several_columns_are_features_by_name(file):
    inputs = {"age": (FLOAT, ["n", 1]), "town": (TensorProto.STRING, ["n", 1])}
    found = describe(build(file, inputs, {"variable": random(1, 1)})).manifest
    assert [(f.name, f.kind) for f in found.features] == [("age", "number"), ("town", "text")]
    assert found.task == "regress"


@pytest.mark.parametrize("zipmap", [True, False])
def test_models_of_skl2onnx_are_known_by_their_names(file, zipmap):
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    x = random(30, 3)
    model = LogisticRegression().fit(x, np.arange(30) % 3)
    file.write_bytes(to_onnx(model, x[:1], options={"zipmap": zipmap}).SerializeToString())
    found = describe(file).manifest
    assert found.task == "classify"
    assert {o.role for o in found.outputs} == {"label", "scores"}


def test_an_isolation_forest_is_an_anomaly(file):
    from skl2onnx import to_onnx
    from sklearn.ensemble import IsolationForest

    x = random(30, 3)
    onx = to_onnx(IsolationForest(n_estimators=3).fit(x), x[:1], target_opset={"": 17, "ai.onnx.ml": 3})
    file.write_bytes(onx.SerializeToString())
    assert describe(file).manifest.task == "anomaly"


# --- states, sound, what else -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "outputs", "pairs"),
    [
        (["x", "state"], ["y", "stateN"], {"state": "stateN"}),
        (["x", "h", "c"], ["y", "hn", "cn"], {"h": "hn", "c": "cn"}),
        (["x", "h_in", "c_in"], ["y", "h_out", "c_out"], {"h_in": "h_out", "c_in": "c_out"}),
        (["x", "cache_old"], ["y", "cache_new"], {"cache_old": "cache_new"}),
        (["x", "q"], ["y", "r"], {"q": "r"}),
    ],
)
def test_a_state_is_known_by_its_name_or_its_shape(file, inputs, outputs, pairs):
    shapes = {n: (FLOAT, [1, 9] if n == "x" else [2, 1, 16]) for n in inputs}
    values = {n: random(1, 4) if n == "y" else random(2, 1, 16) for n in outputs}
    found = describe(build(file, shapes, values)).manifest
    assert {i.name: i.state_from for i in found.inputs if i.state_from} == pairs


def test_two_ordinary_inputs_are_no_states(file):
    inputs = {"a": (FLOAT, [1, 9]), "b": (FLOAT, [1, 5])}
    found = describe(build(file, inputs, {"y": random(1, 9), "z": random(1, 4)})).manifest
    assert not any(i.state_from for i in found.inputs)


def test_a_sample_rate_is_a_constant_and_the_rest_is_sound(file):
    inputs = {"input": (FLOAT, ["n", "t"]), "state": (FLOAT, [2, "n", 128]), "sr": (TensorProto.INT64, [])}
    found = describe(build(file, inputs, {"output": random(1, 1), "stateN": random(2, 1, 128)})).manifest
    by_name = {i.name: i for i in found.inputs}
    assert by_name["sr"].value == 16_000
    assert by_name["input"].kind == "audio"
    assert (by_name["input"].window.size, by_name["input"].window.context) == (512, 64)


def test_older_versions_of_silero_have_no_context(file):
    states = {n: (FLOAT, [2, "n", 64]) for n in ("h", "c")}
    inputs = {"input": (FLOAT, ["n", "t"]), "sr": (TensorProto.INT64, []), **states}
    outputs = {"output": random(1, 1), "hn": random(2, 1, 64), "cn": random(2, 1, 64)}
    found = describe(build(file, inputs, outputs)).manifest
    assert (found.inputs[0].window.size, found.inputs[0].window.context) == (512, 0)
    assert found.labels == ("no speech", "speech")


@pytest.mark.parametrize(
    ("shape", "states", "window"),
    [
        ([1, 576], {"state": [2, 1, 128]}, (16_000, 512, 64)),
        (["n", "t"], {"state": [2, "n", 128]}, (16_000, 512, 64)),
        (["n", 576], {"h": [1, 1, 128], "c": [1, 1, 128]}, (16_000, 512, 64)),
        ([1, 288], {"state": [2, 1, 128]}, (8_000, 256, 32)),
    ],
)
def test_silero_is_known_by_its_state_without_a_sample_rate(file, shape, states, window):
    outputs = {
        "output": random(1, 1),
        **{f"{n}n": random(*(d if d != "n" else 1 for d in s)) for n, s in states.items()},
    }
    inputs = {"input": (FLOAT, shape), **{n: (FLOAT, s) for n, s in states.items()}}
    found = describe(build(file, inputs, outputs)).manifest
    part = next(i for i in found.inputs if i.name == "input")
    assert (part.kind, found.labels) == ("audio", ("no speech", "speech"))
    assert (part.sample_rate, part.window.size, part.window.context) == window


@pytest.mark.parametrize(
    ("shape", "window"),
    [([1, 1024], (16_000, 1024)), ([None, None], (16_000, 16_000)), ([None, 43_844, 1], (22_050, 43_844))],
)
def test_a_source_of_sound_makes_sound_of_a_row(file, shape, window):
    path = build(file, {"x": (FLOAT, shape)}, {"y": random(1, 4)})
    assert describe(path).manifest.inputs[0].kind != "audio"
    (part,) = describe(path, Hints(sound=True)).manifest.inputs
    assert (part.kind, part.sample_rate, part.window.size) == ("audio", *window)


def test_features_of_sound_are_made_where_the_user_names_a_front_end(file):
    path = build(file, {"x": (FLOAT, [1, 98, 40])}, {"y": random(1, 4)})
    (part,) = describe(path, Hints(frontend="log-mel")).manifest.inputs
    assert (part.kind, part.frontend, part.window.size) == ("audio", "log-mel", 16_000)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ([1, 16_000], "audio"), ([15_600], "audio"), ([1, 1960], "audio"), ([1, 640], "table"),
        ([1, 49, 40, 1], "tensor"),
        ([1, 2, 128, 2], "tensor"), ([1, 1, 32, 100], "image"), ([None, 3, None, None], "image"), ([1, 5], "table"),
        ([None, None], "tensor"), ([4, 3, 64, 64], "tensor"), ([3, 64, 64], "image"),
        ([1, 128, 9], "table"), ([None, 50, 3], "table"), ([1, 1, 257], "tensor"),
    ],
)  # fmt: skip
def test_the_kind_of_an_input_follows_from_its_shape(shape, kind):
    from edge.data.tensor import TensorSpec

    assert signature.roles([TensorSpec("x", "float32", tuple(shape))], []).kind == kind


def test_the_flags_that_were_guessed_can_be_given_back(file, tmp_path):
    (tmp_path / "labels.txt").write_text("\n".join(f"c{i}" for i in range(80)))
    found = describe(build(file, picture(), {"y": boxes(189, 85, 1)}))
    assert " ".join(found.guesses) == (
        "--task detect --decoder yolox --layout NCHW --color BGR --resize letterbox-topleft --input-size 96x96 "
        f"--labels {tmp_path / 'labels.txt'}"
    )


def test_what_is_in_a_zip_behind_a_tflite_file_is_read(tmp_path):
    from support import tinytflite

    from edge.model.notes import read_notes

    path = tmp_path / "m.tflite"
    path.write_bytes(tinytflite.build())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(
            "metadata.json", json.dumps({"names": {"0": "cat"}, "stride": 32, "task": "detect", "imgsz": [32, 64]})
        )
    found = read_notes(path, {})
    assert (found.labels, found.size, found.style) == (("cat",), (64, 32), "yolo")


def test_a_damaged_tflite_file_tells_nothing_and_does_no_harm(tmp_path):
    from support import tinytflite

    from edge.model.notes import read_notes

    whole = tinytflite.build()
    path = tmp_path / "m.tflite"
    rng = np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(whole)
        for at in rng.integers(8, len(data), 4):
            data[at] = rng.integers(0, 256)
        path.write_bytes(bytes(data[: rng.integers(8, len(data))]))
        read_notes(path, {})


def test_steps_of_a_few_features_are_a_window_over_rows(file):
    scores = random(1, 6)
    found = describe(build(file, {"x": (FLOAT, [1, 128, 9])}, {"y": scores / scores.sum()}))
    (part,) = found.manifest.inputs
    assert (part.kind, part.window.size, part.window.hop, found.manifest.task) == ("table", 128, 64, "classify")
    assert "--window 128 --hop 64" in found.guesses


def test_a_flat_window_is_cut_where_the_user_says(file):
    (part,) = describe(
        build(file, {"x": (FLOAT, [1, 640])}, {"y": random(1, 1)}), Hints(window=5, hop=1)
    ).manifest.inputs
    assert (part.window.size, part.window.hop) == (5, 1)
