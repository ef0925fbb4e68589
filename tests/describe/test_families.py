"""Each family by outputs as its exports have them: which decoder, which scaling, and the flags that say the same."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from support.guessing import FLOAT, build, centres, describe, detections, random

from edge.app import loading
from edge.app.assembly import make_pipeline
from edge.data.sample import Sample
from edge.describe.head import Evidence, Head
from edge.describe.heads import choose
from edge.errors import ConfigError
from edge.settings import layers

SIDE = 96
CELLS = 12 * 12 + 6 * 6 + 3 * 3


def opened(path: Path, *flags: str) -> loading.Loaded:
    environment = {**os.environ, "HOME": str(path.parent)}
    return loading.open_model(layers.read(["--model", str(path), *flags], environment, "0"))


def cells(columns: int, each: int = 1) -> np.ndarray:
    """Decoded boxes [1, N, columns] whose centres follow the cells of the strides 8, 16 and 32; scores from 0 to 1."""
    values = random(1, each * CELLS, columns)
    at = 0
    for stride in (8, 16, 32):
        y, x = np.mgrid[: SIDE // stride, : SIDE // stride]
        centre = (np.stack((x.ravel(), y.ravel()), axis=1) + 0.5) * stride
        centre = np.tile(centre, (each, 1))
        values[0, at : at + len(centre), :2] = centre
        values[0, at : at + len(centre), 2:4] *= stride
        at += len(centre)
    return values


def nanodet() -> np.ndarray:
    values = random(1, CELLS + 4, 3 + 32, low=-4, high=4)
    values[..., :3] = random(1, CELLS + 4, 3, high=0.2)
    return values


def scrfd(anchors: int = 2, strides: tuple[int, ...] = (8, 16, 32)) -> dict[str, np.ndarray]:
    sizes = [anchors * (-(-SIDE // s)) ** 2 for s in strides]
    names = iter(range(443, 500, 3))
    return {str(next(names)): random(n, c) for c in (1, 4, 10) for n in sizes}


def yunet_of_priors() -> dict[str, np.ndarray]:
    rows = 3 * 12 * 12 + 2 * 6 * 6 + 2 * 3 * 3 + 3
    return {"loc": random(rows, 14), "conf": random(rows, 2), "iou": random(rows, 1)}


def yunet() -> dict[str, np.ndarray]:
    kinds = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    return {f"{k}_{s}": random(1, (SIDE // s) ** 2, c) for k, c in kinds.items() for s in (8, 16, 32)}


def shares(*shape: int, axis: int) -> np.ndarray:
    powers = np.exp(random(*shape, low=-3, high=3))
    return powers / powers.sum(axis=axis, keepdims=True)


def angles() -> np.ndarray:
    values = cells(4 + 3 + 1).transpose(0, 2, 1).copy()
    values[0, -1] = random(CELLS, low=-0.7, high=2.3)
    return values


def ultralytics(task: str, **more: str) -> dict[str, str]:
    return {"names": "{0: 'a', 1: 'b', 2: 'c'}", "stride": "32", "task": task, "imgsz": f"[{SIDE}, {SIDE}]", **more}


IMAGENET = (123.675, 116.28, 103.53)
FAMILIES: dict[str, tuple[Mapping[str, np.ndarray], Mapping[str, str], tuple]] = {
    "YOLOv8": ({"output0": cells(7).transpose(0, 2, 1)}, ultralytics("detect"),
               ("yolo", {"form": "v8"}, "RGB", (), (255,), "letterbox")),
    "YOLOv8 without metadata": ({"output0": cells(7).transpose(0, 2, 1)}, {},
                                ("yolo", {"form": "v8"}, "RGB", (), (255,), "letterbox")),
    "YOLOv5": ({"output": cells(8, 3)}, {}, ("yolo", {"form": "v5"}, "RGB", (), (255,), "letterbox")),
    "YOLO26": ({"output0": detections(300)[..., :6]}, ultralytics("detect", end2end="True", head="Detect"),
               ("yolo", {"form": "end-to-end"}, "RGB", (), (255,), "letterbox")),
    "RT-DETR of Ultralytics": ({"output0": centres(300)}, ultralytics("detect", head="RTDETRDecoder"),
                               ("yolo", {"form": "end-to-end-centre"}, "RGB", (), (255,), "stretch")),
    "RT-DETR of Ultralytics without metadata": ({"output0": centres(300)}, {},
                                                ("yolo", {"form": "end-to-end-centre"}, "RGB", (), (255,), "stretch")),
    "OBB": ({"output0": angles()}, ultralytics("obb"), ("obb", {}, "RGB", (), (255,), "letterbox")),
    "OBB without metadata": ({"output0": angles()}, {}, ("obb", {}, "RGB", (), (255,), "letterbox")),
    "masks": ({"output0": cells(7 + 32).transpose(0, 2, 1), "output1": random(1, 32, 24, 24)}, ultralytics("segment"),
              ("yolo", {"form": "v8", "extras": 32}, "RGB", (), (255,), "letterbox")),
    "NanoDet-Plus": ({"output": nanodet()}, {},
                     ("nanodet", {"strides": [8, 16, 32, 64]}, "BGR", IMAGENET[::-1], (57.375, 57.12, 58.395),
                      "stretch")),
    "YuNet": (yunet(), {}, ("yunet", {}, "BGR", (), (), "letterbox-topleft")),
    "YuNet of 2022": (yunet_of_priors(), {}, ("yunet", {"priors": True}, "BGR", (), (), "letterbox-topleft")),
    "SCRFD": (scrfd(), {}, ("scrfd", {}, "RGB", (127.5,), (128,), "letterbox-topleft")),
    "SCRFD with an anchor": (scrfd(1, (8, 16, 32, 64, 128)), {},
                             ("scrfd", {"anchors": 1}, "RGB", (127.5,), (128,), "letterbox-topleft")),
    "DETR": ({"logits": random(1, 50, 4, low=-9, high=-2), "pred_boxes": random(1, 50, 4)}, {},
             ("detr", {}, "RGB", (), (255,), "stretch")),
    "RF-DETR": ({"dets": random(1, 50, 4), "labels": random(1, 50, 91, low=-9, high=-3)}, {},
                ("detr", {}, "RGB", IMAGENET, (58.395, 57.12, 57.375), "stretch")),
    "D-FINE with its postprocessor": (
        {"labels": np.zeros((1, 50), np.int64), "boxes": random(1, 50, 4, high=90), "scores": random(1, 50)}, {},
        ("tflite-detection", {"box_format": "xyxy", "normalized": False}, "RGB", (), (255,), "stretch")),
    "anomalib": ({"pred_score": random(1), "pred_label": np.array([1]), "anomaly_map": random(1, 1, SIDE, SIDE)}, {},
                 ("", {}, "RGB", (), (255,), "stretch")),
    "anomalib, its map alone": ({"anomaly_map": random(1, 1, SIDE, SIDE)}, {},
                                ("", {}, "RGB", (), (255,), "stretch")),
    "text": ({"softmax": shares(1, 12, 7, axis=2)}, {"character": "a\nb\nc\nd\ne"},
             ("", {}, "BGR", (127.5,), (127.5,), "letterbox-topleft")),
    "UltraFace with more classes": (
        {"scores": shares(1, 3 * 144 + 2 * 36 + 2 * 9 + 3 * 4, 4, axis=2),
         "boxes": np.sort(random(1, 3 * 144 + 2 * 36 + 2 * 9 + 3 * 4, 4))}, {},
        ("scores-boxes", {"background": 0}, "RGB", (127,), (128,), "stretch")),
}  # fmt: skip


@pytest.fixture(params=FAMILIES)
def family(request, tmp_path):
    outputs, metadata, expected = FAMILIES[request.param]
    return build(tmp_path / "m.onnx", {"images": (FLOAT, [1, 3, SIDE, SIDE])}, outputs, metadata=metadata), expected


def test_a_family_is_known_with_its_scaling(family):
    path, (decoder, options, color, mean, std, resize) = family
    made = opened(path).manifest
    (image,) = made.inputs
    assert (made.decoder, {k: made.decoder_options.get(k) for k in options}) == (decoder, options)
    assert (image.color, image.mean, image.std, image.resize) == (color, mean, std, resize)


def test_the_flags_that_were_guessed_give_the_same(family):
    path, _ = family
    before = opened(path)
    after = opened(path, *shlex.split(" ".join(before.guesses)))
    assert after.manifest == before.manifest
    assert after.guesses == ()


@pytest.mark.parametrize("name", [n for n, (outputs, _, _) in FAMILIES.items() if len(outputs) > 1])
def test_a_family_is_known_whatever_order_its_outputs_come_in(name, tmp_path):
    outputs, metadata, (decoder, options, *_) = FAMILIES[name]
    turned = dict(reversed(list(outputs.items())))
    taken = {"images": (FLOAT, [1, 3, SIDE, SIDE])}
    straight = opened(build(tmp_path / "m.onnx", taken, outputs, metadata=metadata)).manifest
    found = opened(build(tmp_path / "m.onnx", taken, turned, metadata=metadata)).manifest
    assert (found.decoder, {k: found.decoder_options.get(k) for k in options}) == (decoder, options)
    assert {o.name: o.role for o in found.outputs} == {o.name: o.role for o in straight.outputs}


def test_a_family_of_mmdetection_has_a_scaling_that_is_a_guess(tmp_path):
    outputs = {"dets": random(1, 50, 5), "labels": np.zeros((1, 50), np.int64)}
    found = opened(build(tmp_path / "m.onnx", {"input": (FLOAT, [1, 3, SIDE, SIDE])}, outputs))
    assert found.manifest.decoder == "mmdetection"
    assert any("--mean and --std say otherwise" in w for w in found.warnings)


def raw(tmp_path, outputs, *, size=(SIDE, SIDE), metadata=None) -> loading.Loaded:
    width, height = size
    found = opened(build(tmp_path / "m.onnx", {"images": (FLOAT, [1, 3, height, width])}, outputs, metadata=metadata))
    assert (found.manifest.task, found.manifest.decoder) == ("raw", "")
    return found


def test_a_yolov5_without_its_grid_is_told_as_it_is_with_the_reason(tmp_path):
    found = raw(tmp_path, {"output": 1 / (1 + np.exp(-random(1, 3 * CELLS, 85, low=-4, high=4)))})
    assert any("still need their grid and anchors" in w for w in found.warnings)


def test_grids_of_yolov5_are_no_segmentation(tmp_path):
    found = raw(tmp_path, {"output": random(1, 255, 24, 24, low=-4, high=4)})
    assert any("still need their anchors" in w for w in found.warnings)


def test_rows_that_may_have_an_objects_score_or_not_are_told_as_they_are(tmp_path):
    found = raw(tmp_path, {"output": random(1, 240, 12)})
    assert any("--labels says which" in w for w in found.warnings)


def test_maps_of_joints_or_of_classes_are_told_as_they_are(tmp_path):
    found = raw(tmp_path, {"output": random(1, 17, 24, 24)})
    assert any("--decoder heatmaps or --decoder segment says which" in w for w in found.warnings)
    assert opened(tmp_path / "m.onnx", "--decoder", "heatmaps").manifest.task == "keypoints"
    assert opened(tmp_path / "m.onnx", "--task", "segment").manifest.task == "segment"


def test_maps_of_joints_of_an_upright_crop_are_keypoints(tmp_path):
    path = build(tmp_path / "m.onnx", {"input": (FLOAT, [1, 3, 256, 192])}, {"y": random(1, 17, 64, 48)})
    assert (opened(path).manifest.task, opened(path).manifest.decoder) == ("keypoints", "heatmaps")


@pytest.mark.parametrize("shape", [(1, 32, 64), (1, 3, 32, 64), (1, 32, 64, 3)])
def test_semantic_maps_of_ultralytics_are_one_also_where_they_are_not_square(tmp_path, shape):
    values = random(*shape) if len(shape) == 4 else np.zeros(shape, np.int64)
    metadata = {**ultralytics("semantic"), "imgsz": "[32, 64]"}
    path = build(tmp_path / "m.onnx", {"images": (FLOAT, [1, 3, 32, 64])}, {"y": values}, metadata=metadata)
    assert (opened(path).manifest.task, opened(path).manifest.labels) == ("segment", ("a", "b", "c"))


@pytest.mark.parametrize("values", [random(1, 1, 32, 64, low=-3, high=3), np.zeros((1, 32, 64), np.int64)])
def test_the_name_of_a_semantic_map_of_one_class_is_not_the_backgrounds(tmp_path, values):
    # ultralytics/models/yolo/semantic/predict.py: one score is of its class above 0, a map holds 0 and 1.
    metadata = {**ultralytics("semantic"), "imgsz": "[32, 64]", "names": "{0: 'road'}"}
    path = build(tmp_path / "m.onnx", {"images": (FLOAT, [1, 3, 32, 64])}, {"y": values}, metadata=metadata)
    found = opened(path).manifest
    assert found.labels == ("background", "road")
    assert found.activation == ("sigmoid" if values.dtype == np.float32 else "")


def test_depth_of_ultralytics_is_told_in_metres_of_a_stretched_picture(tmp_path):
    # ultralytics/models/yolo/depth/predict.py: "Stretch images to the model input size without padding".
    found = raw(tmp_path, {"y": random(1, 1, SIDE, SIDE)}, metadata=ultralytics("depth"))
    (image,) = found.manifest.inputs
    assert (image.mean, image.std, image.resize) == ((), (255,), "stretch")
    assert not any("guess" in w for w in found.warnings)


ANOMALIB = '{"task": "segmentation", "image_threshold": 12.0, "pixel_threshold": 11.0, %s}'


@pytest.mark.parametrize("shape", [(1, 1, 24, 24), (1,)], ids=["map", "score"])
@pytest.mark.parametrize(
    ("said", "mean"),
    [('"pred_scores.min": 2.0, "pred_scores.max": 22.0', ()), ('"transform": {}, "min": 2.0, "max": 22.0', IMAGENET)],
    ids=["1", "0.7"],
)
def test_anomalib_before_2_is_known_by_its_metadata_beside_the_model(tmp_path, said, mean, shape):
    (tmp_path / "metadata.json").write_text(ANOMALIB % said)
    found = opened(build(tmp_path / "m.onnx", {"input": (FLOAT, [1, 3, SIDE, SIDE])}, {"output": random(*shape)}))
    assert (found.manifest.task, found.manifest.decoder_options) == ("anomaly", {"scale": [12.0, 2.0, 22.0]})
    assert found.manifest.inputs[0].mean == mean


@pytest.mark.parametrize("side", [96, 160, 320])
def test_fomo_does_not_change_its_task_with_its_size(tmp_path, side):
    outputs = {"y": shares(1, side // 8, side // 8, 3, axis=3)}
    (tmp_path / "labels.txt").write_text("cup\nspoon\n")
    found = opened(build(tmp_path / "m.onnx", {"x": (FLOAT, [1, side, side, 3])}, outputs)).manifest
    assert (found.task, found.decoder, found.labels) == ("detect", "fomo", ("background", "cup", "spoon"))


@pytest.mark.parametrize("said", ["cup,spoon", "background,cup,spoon"])
def test_labels_on_the_command_line_may_leave_the_background_out_where_the_model_has_a_column_for_it(tmp_path, said):
    outputs = {"y": shares(1, SIDE // 8, SIDE // 8, 3, axis=3)}
    file = build(tmp_path / "m.onnx", {"x": (FLOAT, [1, SIDE, SIDE, 3])}, outputs)
    assert opened(file, "--labels", said).manifest.labels == ("background", "cup", "spoon")


@pytest.mark.parametrize(("columns", "no_object"), [(4, True), (3, False)])
def test_labels_tell_whether_a_detr_has_a_column_for_no_object(tmp_path, columns, no_object):
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    outputs = {"logits": random(1, 50, columns, low=-5), "pred_boxes": random(1, 50, 4)}
    found = opened(build(tmp_path / "m.onnx", {"x": (FLOAT, [1, 3, SIDE, SIDE])}, outputs)).manifest
    assert (found.decoder_options == {"no_object": True}) == no_object
    assert found.labels == ("a", "b", "c")


@pytest.mark.parametrize("columns", [3, 4])
def test_a_conditional_detr_has_a_sigmoid_each_unless_its_labels_tell_of_another_column(tmp_path, columns):
    # transformers, image_processing_conditional_detr.py, post_process_object_detection: out_logits.sigmoid().
    names = '{"0": "a", "1": "b", "2": "c"}'
    (tmp_path / "config.json").write_text(f'{{"model_type": "conditional_detr", "id2label": {names}}}')
    outputs = {"logits": random(1, 50, columns, low=-5), "pred_boxes": random(1, 50, 4)}
    found = opened(build(tmp_path / "m.onnx", {"x": (FLOAT, [1, 3, SIDE, SIDE])}, outputs)).manifest
    assert bool(found.decoder_options.get("no_object")) == (columns == 4)
    assert (found.labels, found.inputs[0].mean) == (("a", "b", "c"), IMAGENET)


@pytest.mark.parametrize(
    ("family", "no_object", "mean"),
    [("detr", True, IMAGENET), ("yolos", True, IMAGENET), ("rt_detr_v2", False, ()), ("d_fine", False, ()),
     ("conditional_detr", False, IMAGENET)],
)  # fmt: skip
def test_a_configuration_beside_a_model_names_its_family(tmp_path, family, no_object, mean):
    (tmp_path / "config.json").write_text(f'{{"model_type": "{family}"}}')
    outputs = {"logits": random(1, 50, 4, low=-5), "pred_boxes": random(1, 50, 4)}
    found = opened(build(tmp_path / "m.onnx", {"x": (FLOAT, [1, 3, SIDE, SIDE])}, outputs)).manifest
    assert bool(found.decoder_options.get("no_object")) == no_object
    assert found.inputs[0].mean == mean


@pytest.mark.parametrize(("columns", "mean"), [(80, ()), (91, IMAGENET)])
def test_a_transformer_without_a_configuration_has_a_scale_that_is_told_as_a_guess(tmp_path, columns, mean):
    outputs = {"logits": random(1, 50, columns, low=-9, high=-4), "pred_boxes": random(1, 50, 4)}
    found = opened(build(tmp_path / "m.onnx", {"x": (FLOAT, [1, 3, SIDE, SIDE])}, outputs))
    assert found.manifest.inputs[0].mean == mean
    assert any("--mean and --std" in w for w in found.warnings)


def test_a_detector_of_scores_and_boxes_has_a_scale_that_is_told_as_a_guess(tmp_path):
    outputs = {"scores": shares(1, 300, 4, axis=2), "boxes": np.sort(random(1, 300, 4), axis=2)}
    found = opened(build(tmp_path / "m.onnx", {"x": (FLOAT, [1, 3, SIDE, SIDE])}, outputs))
    assert (found.manifest.decoder, found.manifest.inputs[0].std) == ("scores-boxes", (255.0,))
    assert any("--mean and --std" in w for w in found.warnings)


@pytest.mark.parametrize("names", ["cup\nspoon\n", "__background__\ncup\nspoon\n"])
def test_torchvisions_class_1_is_the_first_label_whether_the_background_is_named_or_not(tmp_path, names):
    (tmp_path / "labels.txt").write_text(names)
    outputs = {
        "boxes": np.float32([[1, 2, 30, 40]]), "labels": np.array([1], np.int64), "scores": np.float32([0.9]),
    }  # fmt: skip
    loaded = opened(build(tmp_path / "m.onnx", {"images": (FLOAT, [1, 3, SIDE, SIDE])}, outputs))
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    (result,) = make_pipeline(loaded, "d").process(Sample(pixels, "test", 0, 0))
    assert [p.label for p in result.predictions] == ["cup"]


def test_points_of_a_face_behind_a_score_are_not_taken_for_classes(tmp_path):
    rows = cells(16, each=3)
    rows[..., 5:15] *= SIDE
    found = opened(build(tmp_path / "m.onnx", {"images": (FLOAT, [1, 3, SIDE, SIDE])}, {"y": rows}))
    assert found.manifest.task == "raw"
    assert any("no classes" in w for w in found.warnings)


def angles_like_scores() -> np.ndarray:
    """Of a model whose classes find nothing in noise, and whose boxes all lean by 0 to 1."""
    values = cells(4 + 2 + 1).transpose(0, 2, 1).copy()
    values[0, 4:6] *= 0.02
    values[0, -1] = random(CELLS, low=0.3, high=0.95)
    return values


def test_angles_that_may_be_the_scores_of_one_class_more_are_told_as_they_are(tmp_path):
    found = raw(tmp_path, {"output0": angles_like_scores()})
    assert any("--decoder obb or --decoder yolo says which" in w for w in found.warnings)
    assert opened(tmp_path / "m.onnx", "--decoder", "obb").manifest.decoder == "obb"
    assert opened(tmp_path / "m.onnx", "--decoder", "yolo").manifest.decoder == "yolo"


@pytest.mark.parametrize(("labels", "decoder"), [("a\nb\n", "obb"), ("a\nb\nc\n", "yolo")])
def test_labels_tell_angles_from_the_scores_of_one_class_more(tmp_path, labels, decoder):
    (tmp_path / "labels.txt").write_text(labels)
    path = build(tmp_path / "m.onnx", {"images": (FLOAT, [1, 3, SIDE, SIDE])}, {"output0": angles_like_scores()})
    found = opened(path).manifest
    assert (found.decoder, found.labels) == (decoder, tuple(labels.split()))


def test_labels_that_are_too_few_make_no_angles_of_scores(tmp_path):
    rows = cells(7).transpose(0, 2, 1).copy()
    rows[0, 4:] *= 0.02
    path = build(tmp_path / "m.onnx", {"images": (FLOAT, [1, 3, SIDE, SIDE])}, {"output0": rows})
    with pytest.raises(ConfigError, match="2 labels for a model of 3 classes"):
        opened(path, "--labels", "a,b")


def test_masks_of_a_transformer_become_polygons_of_its_objects(tmp_path):
    logits, masks = np.full((1, 4, 3), -9, np.float32), np.full((1, 4, 24, 24), -5, np.float32)
    logits[0, 2, 1], masks[0, 2, 6:12, 12:18] = 5, 5
    places = np.tile(np.float32([0.6, 0.4, 0.3, 0.3]), (1, 4, 1))
    outputs = {"dets": places, "labels": logits, "masks": masks}
    loaded = opened(build(tmp_path / "m.onnx", {"input": (FLOAT, [1, 3, SIDE, SIDE])}, outputs))
    assert not any("not published" in w for w in loaded.warnings)
    (result,) = make_pipeline(loaded, "d").process(Sample(np.zeros((SIDE, SIDE, 3), np.uint8), "test", 0, 0))
    (found,) = result.predictions
    x, y = np.array(found.polygons[0]).T
    assert (found.index, [x.min(), y.min(), x.max(), y.max()]) == (1, pytest.approx([48, 24, 71, 47], abs=1.5))


@pytest.mark.parametrize(("names", "spare"), [("abcd", 1), ("abcde", None)])
def test_a_column_more_than_labels_stands_for_nothing_in_rf_detr_which_has_a_sigmoid_each(tmp_path, names, spare):
    # DETR's logits with such a column want a softmax; rfdetr's exporter alone calls its outputs so.
    outputs = {"dets": random(1, 50, 4), "labels": random(1, 50, 5, low=-9, high=3)}
    (tmp_path / "labels.txt").write_text("\n".join(names))
    found = opened(build(tmp_path / "m.onnx", {"input": (FLOAT, [1, 3, SIDE, SIDE])}, outputs)).manifest
    assert found.decoder_options == ({"spare": spare} if spare else {})
    assert found.labels == tuple(names)
    assert not found.inputs[0].antialias


def test_anomalibs_models_of_any_size_are_given_pictures_as_they_are(tmp_path):
    # Brought to a guessed size first, a lone pixel would be blurred away.
    nodes = [helper.make_node("ReduceMax", ["x"], ["pred_score"], axes=[1, 2, 3], keepdims=0)]
    taken = {"x": (FLOAT, ["batch", 3, "height", "width"])}
    loaded = opened(build(tmp_path / "m.onnx", taken, {"pred_score": ["batch"]}, nodes=nodes))
    pixels = np.zeros((300, 500, 3), np.uint8)
    pixels[150, 250] = 255
    (result,) = make_pipeline(loaded, "d").process(Sample(pixels, "test", 0, 0))
    assert result.predictions[0].score == pytest.approx(1)
    assert not any("--input-size" in w for w in loaded.warnings)
    assert opened(tmp_path / "m.onnx", "--input-size", "64x32").manifest.inputs[0].size == (64, 32)


def test_outputs_that_a_decoder_does_not_read_are_told(tmp_path):
    outputs = {"logits": random(1, 5, 3, low=-9, high=-2), "pred_boxes": random(1, 5, 4), "hidden": random(1, 5, 16)}
    found = opened(build(tmp_path / "m.onnx", {"x": (FLOAT, [1, 3, SIDE, SIDE])}, outputs))
    assert "outputs that are not published: hidden [1, 5, 16] (--task raw gives all of them)" in found.warnings
    assert opened(tmp_path / "m.onnx", "--task", "raw").manifest.task == "raw"


def test_rows_of_cells_without_labels_that_may_have_an_objects_score_are_told_as_they_are(tmp_path):
    found = raw(tmp_path, {"output": cells(10)})
    assert any("--labels says which" in w for w in found.warnings)


@pytest.mark.parametrize(("names", "form"), [("abcdef", "v8-rows"), ("abcde", "v5")])
def test_labels_tell_whether_rows_of_cells_have_an_objects_score(tmp_path, names, form):
    (tmp_path / "labels.txt").write_text("\n".join(names))
    path = build(tmp_path / "m.onnx", {"images": (FLOAT, [1, 3, SIDE, SIDE])}, {"output": cells(10)})
    assert opened(path).manifest.decoder_options["form"] == form


def test_a_yolov6_says_1_for_every_object_and_takes_what_the_yolo_family_takes(tmp_path):
    rows = cells(10)
    rows[..., 4] = 1
    path = build(tmp_path / "m.onnx", {"images": (FLOAT, [1, 3, SIDE, SIDE])}, {"outputs": rows})
    found = opened(path).manifest
    assert (found.decoder_options["form"], found.inputs[0].std, found.inputs[0].color) == ("v5", (255,), "RGB")


def test_masks_of_queries_are_no_prototypes_and_boxes_with_an_axis_more_neither(tmp_path):
    for outputs in (
        {"classes": random(1, 100, 81, low=-3), "masks": random(1, 100, 48, 48, low=-5)},
        {"confs": random(1, 2535, 80), "boxes": np.sort(random(1, 2535, 1, 4), axis=3)},
    ):
        found = raw(tmp_path, outputs)
        assert any("no decoder fits" in w for w in found.warnings)


def test_steps_of_a_text_are_no_boxes_and_labels_name_its_characters(tmp_path):
    outputs = {"y": shares(1, 40, 212, axis=2)}
    found = raw(tmp_path, outputs, size=(320, 48))
    assert any("a text of 40 steps and 211 characters" in w for w in found.warnings)
    (tmp_path / "labels.txt").write_text("\n".join(chr(0x4E00 + n) for n in range(210)))
    assert opened(tmp_path / "m.onnx").manifest.task == "text"


@pytest.mark.parametrize("height", [48, 32])
def test_a_reader_of_lines_of_any_size_gets_lines_of_the_height_that_runs(tmp_path, height):
    """PP-OCR since its third version, and before: nothing in the file says which."""
    from_array = onnx.numpy_helper.from_array
    nodes = [
        helper.make_node("Constant", [], ["plane"], value=from_array(np.zeros((1, 3, height, 1), np.float32))),
        helper.make_node("Constant", [], ["steps"], value=from_array(shares(1, 12, 7, axis=2))),
        helper.make_node("Mul", ["x", "plane"], ["only_so_high"]),
        helper.make_node("ReduceMean", ["only_so_high"], ["nothing"], keepdims=0),
        helper.make_node("Add", ["steps", "nothing"], ["softmax"]),
    ]
    inputs = {"x": (FLOAT, ["n", 3, "h", "w"])}
    path = build(
        tmp_path / "m.onnx", inputs, {"softmax": (1, 12, 7)}, nodes=nodes, metadata={"character": "a\nb\nc\nd\ne"}
    )
    (tmp_path / "vehicles.labels.txt").write_text("car\ntruck\n")  # of the model that finds what is read
    found = opened(path)
    assert (found.manifest.task, found.manifest.inputs[0].size) == ("text", (320, height))
    assert found.manifest.labels == tuple("abcde")
    assert any(f"320x{height} is a guess" in w for w in found.warnings)


@pytest.mark.parametrize("size", [(192, 256), (96, 96)])
def test_heatmaps_with_their_points_last_are_read_alike(tmp_path, size):
    width, height = size
    maps = np.full((1, height // 4, width // 4, 17), 0.01, np.float32)
    maps[0, 10, 6] = 1
    path = build(tmp_path / "m.onnx", {"input": (FLOAT, [1, height, width, 3])}, {"y": maps})
    loaded = opened(path, *(() if width < height else ("--decoder", "heatmaps")))
    assert (loaded.manifest.decoder, loaded.manifest.decoder_options) == ("heatmaps", {"axis": 3})
    (result,) = make_pipeline(loaded, "d").process(Sample(np.zeros((height, width, 3), np.uint8), "test", 0, 0))
    (body,) = result.predictions
    assert {(x, y) for x, y, _ in body.keypoints} == {(24.0, 40.0)}


def test_a_score_for_each_column_and_row_makes_keypoints_which_need_not_belong_together(tmp_path):
    outputs = {"simcc_x": random(1, 17, 384), "simcc_y": random(1, 17, 512)}
    found = describe(build(tmp_path / "m.onnx", {"input": (FLOAT, [1, 3, 256, 192])}, outputs)).manifest
    assert (found.task, found.decoder, [o.role for o in found.outputs]) == ("keypoints", "heatmaps", ["x", "y"])
    outputs["simcc_y"] = random(1, 16, 512)
    odd = describe(build(tmp_path / "m.onnx", {"input": (FLOAT, [1, 3, 256, 192])}, outputs)).manifest
    assert odd.task == "raw"


def test_two_labels_make_one_number_of_a_picture_a_probability(tmp_path):
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    found = opened(build(tmp_path / "m.onnx", {"x": (FLOAT, [1, 3, SIDE, SIDE])}, {"y": np.float32([[1.7]])})).manifest
    assert (found.task, found.activation, found.labels) == ("classify", "sigmoid", ("cat", "dog"))


heads = st.builds(
    Head, st.sampled_from(["detect", "segment"]), st.sampled_from("abc"), evidence=st.sampled_from(list(Evidence))
)


@given(st.lists(heads, max_size=5))
@settings(max_examples=200)
def test_the_best_founded_head_wins_and_two_that_are_equally_well_founded_do_not(found):
    choice = choose(found)
    best = [h for h in found if h.evidence == max((h.evidence for h in found), default=0)]
    assert choice.head == (best[0] if len(best) == 1 else None)
    assert set(map(id, choice.rivals)) == (set(map(id, best)) if len(best) > 1 else set())
