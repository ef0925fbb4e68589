from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from support.guessing import FLOAT, boxes, build, centres, describe, detections, picture, random

from edge.describe.describe import Overrides


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "model.onnx"


def of_tensorflow(first: int) -> dict[str, np.ndarray]:
    """Detections named as TensorFlow's, of classes that begin at `first`."""
    classes = (np.arange(20) % 3 + first).astype(np.float32)[None]
    found = {"boxes": random(1, 20, 4), "classes": classes, "scores": random(1, 20)}
    return {f"detection_{n}": v for n, v in found.items()} | {"num_detections": random(1)}


@pytest.mark.parametrize(
    ("outputs", "decoder", "options"),
    [
        ({"y": boxes(189, 9).transpose(0, 2, 1)}, "yolo", {"form": "v8"}),
        ({"y": boxes(189, 9, 1).transpose(0, 2, 1)}, "yolo", {"form": "v8", "normalized": True}),
        ({"y": boxes(567, 85)}, "yolo", {"form": "v5"}),
        ({"y": boxes(189, 85, 1)}, "yolox", {}),
        ({"y": boxes(189, 85)}, "yolo", {"form": "v5"}),
        ({"y": boxes(189, 84)}, "yolo", {"form": "v8-rows"}),
        ({"y": detections(300)[..., :6]}, "yolo", {"form": "end-to-end", "normalized": None}),
        ({"y": centres(300)}, "yolo", {"form": "end-to-end-centre", "normalized": True}),
        ({"y": detections(100)[..., (6, 0, 1, 2, 3, 5, 4)]}, "yolo", {"form": "end-to-end-7"}),
        ({"y": boxes(567, 85), "a": random(1, 3, 12, 12, 85), "b": random(1, 3, 6, 6, 85)}, "yolo", {"form": "v5"}),
        ({"num_dets": np.zeros((1, 1), np.int64), "det_boxes": np.zeros((1, 20, 4), np.float32),
          "det_scores": random(1, 20), "det_classes": np.zeros((1, 20), np.int64)}, "tflite-detection",
         {"box_format": "xyxy", "normalized": False}),
        ({"y": random(1, 85, 6, 6)}, "fastestdet", {}),
        ({"s": random(1, 50, 2), "b": np.sort(random(1, 50, 4))}, "scores-boxes", {"box_format": None}),
        ({"s": random(1, 50, 2), "b": random(1, 50, 4)}, "scores-boxes", {"box_format": "cxcywh"}),
        ({"y": boxes(300, 84, 1)}, "yolo", {"form": "v8-rows", "normalized": True}),
        ({"rows": random(7, 6), "count": np.array([7])}, "yolo", {"form": "paddle"}),
        ({"dets": random(1, 50, 4), "labels": random(1, 50, 91, low=-5)}, "detr", {}),
        ({"logits": random(1, 50, 80, low=-5), "pred_boxes": random(1, 50, 4)}, "detr", {}),
        (of_tensorflow(1), "tflite-detection", {"box_format": "yxyx", "class_offset": 1}),
        (of_tensorflow(0), "tflite-detection", {"box_format": "yxyx", "class_offset": None}),
        ({"boxes": random(20, 4, high=60), "labels": np.zeros(20, np.int64), "scores": random(20)}, "tflite-detection",
         {"box_format": "xyxy", "normalized": False}),
    ],
)  # fmt: skip
def test_a_head_is_known_by_its_shape(file, outputs, decoder, options):
    found = describe(build(file, picture(), outputs))
    assert (found.manifest.task, found.manifest.decoder) == ("detect", decoder)
    assert {k: found.manifest.decoder_options.get(k) for k in options} == options
    assert f"--decoder {decoder}" in found.guesses


def test_classes_named_as_tensorflows_that_begin_at_0_are_told(file):
    zero, one = (describe(build(file, picture(), of_tensorflow(first))) for first in (0, 1))
    assert any("the first label is 0" in w for w in zero.warnings)
    assert not any("the first label" in w for w in one.warnings)


@pytest.mark.parametrize(("rows", "first", "told"), [(100, 1, True), (100, 0, False), (300, 1, False)])
def test_rows_whose_classes_begin_at_1_are_said_to_be_perhaps_those_of_efficientdet(file, rows, first, told):
    values = detections(rows)[..., :6]
    values[..., 5] += first
    found = describe(build(file, picture(), {"y": values}))
    assert found.manifest.decoder_options["form"] == "end-to-end"
    assert any("EfficientDet" in w and "background" in w for w in found.warnings) == told


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
    assert describe(path, Overrides(labels=tuple("abcde"))).manifest.decoder_options == {"form": "v8-rows"}
    assert describe(path, Overrides(labels=tuple("abcd"))).manifest.decoder_options == {"form": "v5"}


def test_ultralytics_says_all_itself(file):
    metadata = {
        "names": "{0: 'cat', 1: 'dog'}",
        "stride": "32",
        "task": "detect",
        "imgsz": "[64, 96]",
        "author": "Ultralytics",
    }
    inputs = {"images": (FLOAT, [1, 3, "height", "width"])}
    cells = 12 * 8 + 6 * 4 + 3 * 2
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
    found = describe(build(file, picture(), {"y": boxes(189, 37)}), Overrides(labels=tuple("abcde")))
    assert found.manifest.task == "raw"


@pytest.mark.parametrize(
    ("values", "activation"), [(random(1, 1, 96, 96), ""), (random(1, 1, 48, 48, low=-4, high=4), "sigmoid")]
)
def test_one_channel_is_one_label_against_the_rest(file, values, activation):
    found = describe(build(file, picture(), {"y": values}), Overrides(labels=("cat",)))
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
    found = describe(path, Overrides(task="anomaly")).manifest
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
    assert describe(build(file, picture(), {"y": logits}), Overrides(labels=tuple("abc"))).manifest.task == "segment"
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


@pytest.mark.parametrize("boxes_of", [random(1, 50, 4), np.sort(random(1, 50, 4))], ids=["cxcywh", "xyxy"])
def test_boxes_that_may_be_written_in_another_way_are_told(file, boxes_of):
    found = describe(build(file, picture(), {"s": random(1, 50, 3), "b": boxes_of}))
    assert "decoder_options.box_format" in " ".join(found.warnings)


def test_scores_that_are_no_probabilities_are_told_with_what_makes_them_some(file):
    path = build(file, picture(), {"y": random(1, 10, low=-4, high=30)})
    assert "--activation sigmoid or none" in " ".join(describe(path).warnings)
    assert "--activation" not in " ".join(describe(path, Overrides(activation="softmax")).warnings)


@pytest.mark.parametrize(
    ("said", "mean", "std"),
    [({"std": (1.0,)}, (), (1.0,)), ({"mean": (0.5,)}, (127.5,), (255.0,)), ({"std": (58.0,)}, (), (58.0,))],
)
def test_mean_or_std_alone_keeps_no_guess_of_the_other_and_says_what_pixels_become(file, said, mean, std):
    found = describe(build(file, picture(), {"y": random(1, 10)}), Overrides(**said))
    image = found.manifest.inputs[0]
    assert (image.mean, image.std) == (mean, std)
    assert "pixels become" in " ".join(found.warnings)


@pytest.mark.parametrize(
    ("shares", "form", "resize"), [(True, "end-to-end-centre", "stretch"), (False, "end-to-end", "letterbox")]
)
def test_six_columns_with_metadata_that_name_no_head_are_read_by_their_numbers(file, shares, form, resize):
    metadata = {"names": "{0: 'a', 1: 'b'}", "stride": "32", "task": "detect", "imgsz": "[96, 96]"}
    places = np.concatenate((random(1, 50, 2, low=0.3), random(1, 50, 2, high=0.2)), axis=2)
    if not shares:
        places = np.concatenate((places[..., :2] * 50, places[..., :2] * 50 + 20), axis=2)
    rows = np.concatenate((places, random(1, 50, 1), np.ones((1, 50, 1), np.float32)), axis=2)
    found = describe(build(file, picture(), {"output0": rows}, metadata=metadata)).manifest
    assert (found.decoder_options["form"], found.inputs[0].resize) == (form, resize)


@pytest.mark.parametrize(("task", "columns", "decoder"), [("detect", 6, "yolo"), ("obb", 7, "obb")])
@pytest.mark.parametrize(("shape", "shares"), [((1, 3, 96, 96), None), ((1, 96, 96, 3), True)])
def test_suppression_that_found_nothing_in_noise_leaves_the_scale_to_the_kind_of_export(
    file, task, columns, decoder, shape, shares
):
    metadata = {"names": "{0: 'a', 1: 'b'}", "stride": "32", "task": task, "head": "Detect"}
    rows = np.zeros((1, 300, columns), np.float32)
    found = describe(build(file, {"x": (FLOAT, list(shape))}, {"output0": rows}, metadata=metadata)).manifest
    assert (found.decoder, found.decoder_options.get("normalized")) == (decoder, shares)


def _with_free_dimensions(file: Path, layout: str, channels: int = 3) -> Path:
    """A classifier of pictures whose four dimensions are free and named by nothing."""
    kernel = helper.make_tensor("kernel", FLOAT, (8, channels, 3, 3), random(8, channels, 3, 3).ravel())
    weights = helper.make_tensor("weights", FLOAT, (8, 4), random(8, 4).ravel())
    first = [helper.make_node("Transpose", ["x"], ["planes"], perm=[0, 3, 1, 2])] if layout == "NHWC" else []
    nodes = [
        *first,
        helper.make_node("Conv", ["planes" if first else "x", "kernel"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", FLOAT, ["a", "b", "c", "d"])]
    outputs = [helper.make_tensor_value_info("y", FLOAT, ["a", 4])]
    graph = helper.make_graph(nodes, "free", inputs, outputs, [kernel, weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    file.write_bytes(model.SerializeToString())
    return file


@pytest.mark.parametrize(("layout", "channels", "color"), [("NCHW", 3, "RGB"), ("NHWC", 3, "RGB"), ("NCHW", 1, "GRAY")])
@pytest.mark.parametrize("meant", [Overrides(pictures=True), Overrides(size=(48, 32))], ids=["source", "size"])
def test_four_free_dimensions_hold_a_picture_in_the_layout_that_runs(file, layout, channels, color, meant):
    found = describe(_with_free_dimensions(file, layout, channels), meant)
    image = found.manifest.inputs[0]
    assert (found.manifest.task, image.kind, image.layout, image.color) == ("classify", "image", layout, color)
    assert image.size == (meant.size or (224, 224))
    assert any(f"only --layout {layout} runs" in w for w in found.warnings)


def test_four_free_dimensions_are_told_with_the_flags_that_make_a_picture_of_them(file):
    found = describe(_with_free_dimensions(file, "NCHW"))
    assert found.manifest.task == "raw"
    assert any("--input-size 224x224 --layout NCHW (or NHWC)" in w for w in found.warnings)


def test_where_both_layouts_run_the_user_is_asked_which(file):
    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[1, 2, 3], keepdims=0)
    inputs = [helper.make_tensor_value_info("x", FLOAT, ["a", "b", "c", "d"])]
    graph = helper.make_graph([node], "any", inputs, [helper.make_tensor_value_info("y", FLOAT, ["a"])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    file.write_bytes(model.SerializeToString())
    found = describe(file, Overrides(pictures=True))
    assert found.manifest.inputs[0].kind != "image"
    assert any("both layouts run" in w and "--layout NCHW (or NHWC)" in w for w in found.warnings)


@pytest.mark.parametrize("shape", [(384, 256), (192, 128), (256, 256)], ids=str)
@pytest.mark.parametrize("size", [256, 384])
def test_a_number_for_each_pixel_is_no_list_of_boxes(file, shape, size):
    width, height = size, size * shape[0] // shape[1]
    found = describe(build(file, {"x": (FLOAT, [1, 3, height, width])}, {"depth": random(1, *shape)}))
    assert found.manifest.task == "raw"
    assert any("no decoder fits" in w for w in found.warnings)


def test_a_configuration_of_depth_leaves_no_other_reading(file):
    # a number for each pixel of a picture of another form than the input's: a form of boxes, by the numbers alone
    config = {"model_type": "depth_anything", "architectures": ["DepthAnythingForDepthEstimation"]}
    outputs = {"predicted_depth": random(1, 190, 400)}
    assert describe(build(file, picture(224), outputs)).manifest.decoder == "yolo"
    (file.parent / "config.json").write_text(json.dumps(config))
    found = describe(build(file, picture(224), outputs))
    assert (found.manifest.task, found.manifest.decoder) == ("raw", "")
    assert any("ImageNet's is a guess" in w for w in found.warnings)
