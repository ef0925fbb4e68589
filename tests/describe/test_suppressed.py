"""Detectors that have suppressed what overlaps themselves: torchvision, YOLO-NAS, YOLOv7, and what only looks like one.

The picture is as large as the model's input unless a test says otherwise, so boxes in pixels come out as they went in.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.guessing import FLOAT, build

from edge.app.assembly import make_pipeline
from edge.app.loading import Loaded, open_model
from edge.data.sample import Sample
from edge.describe.head import OutputProbe
from edge.describe.metadata import Metadata
from edge.errors import ConfigError
from edge.model import coco, labels
from edge.postprocess.detect import tflite
from edge.settings import layers

SIDE = 96
BOXES = np.float32([[1, 2, 30, 40], [20, 30, 90, 80]])
SCORES = np.float32([0.9, 0.8])
CLASSES = np.array([2, 1], np.int64)
FIXED = {"images": (FLOAT, [1, 3, SIDE, SIDE])}


def opened(path: Path) -> Loaded:
    return open_model(layers.read(["--model", str(path)], {"HOME": str(path.parent)}, "0"))


def found(loaded: Loaded, width: int = SIDE, height: int = SIDE) -> list[tuple[int, str, float, tuple]]:
    pixels = np.zeros((height, width, 3), np.uint8)
    (result,) = make_pipeline(loaded, "d").process(Sample(pixels, "test", 0, 0))
    return [(p.index, p.label, round(p.score, 4), p.box) for p in result.predictions]


AS_IT_IS = [(2, "2", 0.9, (1.0, 2.0, 30.0, 40.0)), (1, "1", 0.8, (20.0, 30.0, 90.0, 80.0))]
MORE = {
    "nothing": {},
    "masks": {"masks": np.zeros((2, 1, SIDE, SIDE), np.float32)},
    "points": {"keypoints": np.zeros((2, 17, 3), np.float32), "keypoints_scores": np.zeros((2, 17), np.float32)},
}


@pytest.mark.parametrize("more", MORE)
@pytest.mark.parametrize("names", [("boxes", "labels", "scores"), ("3081", "3083", "3084")], ids=["named", "unnamed"])
def test_torchvisions_three_outputs_without_a_batch_are_boxes_in_pixels_whatever_their_names(tmp_path, names, more):
    outputs = dict(zip(names, (BOXES, CLASSES, SCORES), strict=True))
    loaded = opened(build(tmp_path / "m.onnx", FIXED, outputs | MORE[more]))
    assert found(loaded) == AS_IT_IS
    assert any("not published" in w for w in loaded.warnings) == bool(MORE[more])


def test_torchvisions_outputs_are_known_though_noise_has_nothing_in_it(tmp_path):
    empty = {"1": BOXES[:0], "2": SCORES[:0], "3": CLASSES[:0]}
    made = opened(build(tmp_path / "m.onnx", FIXED, empty)).manifest
    assert (made.decoder, made.decoder_options["normalized"]) == ("tflite-detection", False)
    assert {o.role: o.name for o in made.outputs} == {"boxes": "1", "scores": "2", "classes": "3"}


@pytest.mark.parametrize("shape", [[3, "height", "width"], [3, "dim1", "dim2"], [3, SIDE, SIDE]])
def test_the_list_of_pictures_of_a_torchvision_detector_is_a_picture_in_colour(tmp_path, shape):
    outputs = {"boxes": BOXES, "labels": CLASSES, "scores": SCORES}
    loaded = opened(build(tmp_path / "m.onnx", {"images": (FLOAT, shape)}, outputs))
    (image,) = loaded.manifest.inputs
    assert (image.kind, image.layout, image.color, image.std, image.mean) == ("image", "NCHW", "RGB", (255.0,), ())


def test_a_torchvision_detector_of_any_size_gets_no_small_picture_and_the_size_is_told_as_a_guess(tmp_path):
    outputs = {"boxes": BOXES, "labels": CLASSES, "scores": SCORES}
    loaded = opened(build(tmp_path / "m.onnx", {"x": (FLOAT, ["b", 3, "h", "w"])}, outputs))
    (image,) = loaded.manifest.inputs
    assert (image.size, image.resize) == ((640, 640), "letterbox")
    assert any("640x640 is a guess" in w and "--input-size" in w for w in loaded.warnings)


COCO = tuple(coco.NAMES)
GERMAN = ("Person", "Fahrrad", *(f"c{i}" for i in range(2, 80)))


def numbered(path: Path, names, *, biases: int = 0, offset: int = 0) -> Loaded:
    """A detector of torchvision's outputs that finds the classes 1, 13 and 90, beside a file of labels; its last layer
    has so many biases."""
    (path / "labels.txt").write_text("\n".join(names))
    outputs = {
        "boxes": np.float32([[1, 2, 30, 40]] * 3), "labels": np.array([1, 13, 90], np.int64) - offset,
        "scores": np.float32([0.9, 0.8, 0.7]),
    }  # fmt: skip
    file = build(path / "m.onnx", FIXED, outputs)
    model = onnx.load(file)
    if biases:
        model.graph.initializer.append(numpy_helper.from_array(np.zeros(biases, np.float32), "cls_score.bias"))
    onnx.save(model, file)
    return opened(file)


@pytest.mark.parametrize("biases", [0, 91, 364, 546, 819])
@pytest.mark.parametrize("names", [COCO, ("__background", *COCO)], ids=["80", "81"])
def test_cocos_eighty_names_stand_at_its_own_numbers_in_a_torchvision_detector(tmp_path, names, biases):
    loaded = numbered(tmp_path, names, biases=biases)
    assert [label for _, label, _, _ in found(loaded)] == ["person", "stop sign", "toothbrush"]
    assert any("up to 90, with gaps" in w for w in loaded.warnings)


def test_darknets_words_for_cocos_classes_are_cocos_too(tmp_path):
    words = {"airplane": "aeroplane", "couch": "sofa", "tv": "tvmonitor", "potted plant": "pottedplant"}
    loaded = numbered(tmp_path, [words.get(name, name) for name in COCO])
    assert [label for _, label, _, _ in found(loaded)] == ["person", "stop sign", "toothbrush"]


@pytest.mark.parametrize("biases", [81, 324, 486, 729])
@pytest.mark.parametrize("names", [COCO, ("__background", *COCO), GERMAN], ids=["80", "81", "others"])
def test_a_detector_whose_last_layer_has_eighty_classes_counts_them_without_gaps(tmp_path, names, biases):
    # the detectors of the ONNX zoo, and what people trained on 80 classes of their own
    loaded = numbered(tmp_path, names, biases=biases)
    objects = names[-80:]
    assert [label for _, label, _, _ in found(loaded)] == [objects[0], objects[12], "89"]


def test_eighty_other_names_for_a_detector_of_ninety_numbers_name_nothing(tmp_path):
    loaded = numbered(tmp_path, GERMAN, biases=91)
    assert [label for _, label, _, _ in found(loaded)] == ["0", "12", "89"]
    assert any("80 labels for a model of 90 classes" in w for w in loaded.warnings)
    with pytest.raises(ConfigError, match="80 labels for a model of 90 classes"):
        open_model(
            layers.read(
                ["--model", str(tmp_path / "m.onnx"), "--labels", str(tmp_path / "labels.txt")],
                {"HOME": str(tmp_path)},
                "0",
            )
        )


def test_cocos_names_fit_a_detector_that_finds_its_class_0_too(tmp_path):
    loaded = numbered(tmp_path, COCO, offset=1)
    assert loaded.manifest.labels[:2] == ("???", "person")
    assert [label for _, label, _, _ in found(loaded)] == ["???", "???", "hair drier"]


@pytest.mark.parametrize(("names", "scores", "fitted"), [
    (COCO, 91, 90), (COCO, 90, 90), (GERMAN, 91, 0), (GERMAN, 81, 80), (GERMAN, 80, 80), (("cat",), 91, 0),
    (("cat", "dog"), 3, 2),
])  # fmt: skip
def test_labels_have_to_fit_what_the_last_operator_of_a_tflite_detector_is_given(names, scores, fitted):
    operator = ("boxes", "classes", "scores", "count")
    outputs = (BOXES[None], CLASSES[None].astype(np.float32), SCORES[None], np.float32([2]))
    probe = OutputProbe(
        dict(zip(operator, outputs, strict=True)), SIDE, SIDE, objects=len(names),
        metadata=Metadata(detection_outputs=operator, detection_scores=scores),
    )  # fmt: skip
    head = tflite.recognise(probe)
    assert head is not None
    assert len(labels.align(tuple(names), head.classes)) == fitted


def test_yolo_nas_with_its_suppression_gives_corners_in_pixels(tmp_path):
    # super_gradients, ExportableObjectDetectionModel, "batch": bytes in, boxes are corners in pixels of the input.
    outputs = {
        "graph2_num_predictions": np.array([[2]], np.int64), "graph2_pred_boxes": BOXES[None],
        "graph2_pred_scores": SCORES[None], "graph2_pred_classes": CLASSES[None],
    }  # fmt: skip
    loaded = opened(build(tmp_path / "m.onnx", {"input": (TensorProto.UINT8, [1, 3, SIDE, SIDE])}, outputs))
    assert found(loaded) == AS_IT_IS
    assert loaded.manifest.inputs[0].resize == "letterbox"


def seven(*, class_first: bool) -> np.ndarray:
    last = (CLASSES, SCORES) if class_first else (SCORES, CLASSES)
    columns = [np.zeros((2, 1)), BOXES, *(c[:, None] for c in last)]
    return np.concatenate(columns, axis=1).astype(np.float32)


@pytest.mark.parametrize("class_first", [True, False], ids=["YOLOv7", "YOLO-NAS"])
@pytest.mark.parametrize("axes", [2, 3])
def test_seven_numbers_a_box_are_read_in_the_order_that_they_show(tmp_path, class_first, axes):
    rows = seven(class_first=class_first).reshape((1, 2, 7) if axes == 3 else (2, 7))
    assert found(opened(build(tmp_path / "m.onnx", FIXED, {"output": rows}))) == AS_IT_IS


def test_seven_numbers_of_which_noise_has_none_are_told_to_be_a_guess_unless_their_name_tells(tmp_path):
    empty = seven(class_first=True)[:0]
    loaded = opened(build(tmp_path / "m.onnx", FIXED, {"output": empty}))
    assert loaded.manifest.decoder_options["form"] == "end-to-end-7"
    assert any("end-to-end-nas" in w for w in loaded.warnings)
    told = opened(build(tmp_path / "n.onnx", FIXED, {"graph2_flat_predictions": empty}))
    assert told.manifest.decoder_options["form"] == "end-to-end-nas"


def test_four_outputs_of_the_shapes_of_tensorflows_but_in_pixels_are_not_taken_for_shares(tmp_path):
    outputs = {
        "a": BOXES[None], "b": CLASSES[None].astype(np.float32), "c": SCORES[None], "d": np.float32([2]),
    }  # fmt: skip
    assert opened(build(tmp_path / "m.onnx", FIXED, outputs)).manifest.task == "raw"


def test_suppression_for_tensorrt_as_its_names_say_gets_pictures_as_yolo_does(tmp_path):
    outputs = {
        "num_dets": np.array([[2]], np.int64), "det_boxes": BOXES[None], "det_scores": SCORES[None],
        "det_classes": CLASSES[None],
    }  # fmt: skip
    loaded = opened(build(tmp_path / "m.onnx", FIXED, outputs))
    assert found(loaded) == AS_IT_IS
    assert loaded.manifest.inputs[0].resize == "letterbox"


@pytest.mark.parametrize("shape", [(1, 48, 48, 2), (1, 5, SIDE, SIDE)])
def test_maps_that_no_label_names_are_told_to_be_taken_for_classes(tmp_path, shape):
    maps = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    loaded = opened(build(tmp_path / "m.onnx", FIXED, {"y": maps}))
    assert loaded.manifest.task == "segment"
    assert any("numbers for each pixel" in w and "--task raw" in w for w in loaded.warnings)


@pytest.mark.parametrize("count", [4, 196])
def test_shares_that_do_not_add_up_to_1_are_told_to_be_taken_for_classes(tmp_path, count):
    """Points of a face, the corners of a box: they look as independent scores do."""
    values = np.random.default_rng(0).uniform(0.2, 1, (1, count)).astype(np.float32)
    loaded = opened(build(tmp_path / "m.onnx", FIXED, {"y": values}))
    assert any("do not add up to 1" in w and "--task raw" in w for w in loaded.warnings)


def test_as_many_labels_as_shares_make_them_scores(tmp_path):
    (tmp_path / "labels.txt").write_text("a\nb\nc\nd\n")
    values = np.float32([[0.9, 0.8, 0.7, 0.1]])
    loaded = opened(build(tmp_path / "m.onnx", FIXED, {"y": values}))
    assert not any("add up" in w for w in loaded.warnings)


def test_numbers_far_above_0_are_places_and_no_scores_unless_labels_name_them(tmp_path):
    """The corners of a hand's crop, in pixels (MediaPipe's hand_recrop)."""
    places = np.float32([[118, 229, 140, 201]])
    loaded = opened(build(tmp_path / "m.onnx", FIXED, {"output_crop": places}))
    assert loaded.manifest.task == "raw"
    assert any("not for scores" in w and "--task" in w for w in loaded.warnings)
    (tmp_path / "labels.txt").write_text("a\nb\nc\nd\n")
    assert opened(build(tmp_path / "m.onnx", FIXED, {"y": places})).manifest.task == "classify"


def normalising(scale: tuple[float, ...]) -> list:
    """As torchvision's detectors begin: weights used twice, a picture out of the batch, less a mean, by a deviation."""
    from_array = numpy_helper.from_array
    constants = {"one": np.int64([1]), "axis": np.int64([0]), "scale": np.float32(scale).reshape(-1, 1, 1)}
    return [
        helper.make_node("Constant", [], ["weight"], value=from_array(np.float32([1]))),
        *(helper.make_node("Identity", ["weight"], [f"weight{i}"]) for i in range(79)),
        *(helper.make_node("Constant", [], [n], value=from_array(v)) for n, v in constants.items()),
        helper.make_node("Split", ["images", "one"], ["pictures"], axis=0),
        helper.make_node("Squeeze", ["pictures", "axis"], ["picture"]),
        helper.make_node("Sub", ["picture", "scale"], ["less"]),
        helper.make_node("Div", ["less", "scale"], ["normalised"]),
    ]


def test_a_detector_that_normalises_the_picture_of_its_batch_itself_gets_0_to_1_for_sure(tmp_path):
    outputs = {"1": BOXES, "2": SCORES, "3": CLASSES}
    loaded = opened(build(tmp_path / "m.onnx", FIXED, outputs, nodes=normalising((0.485, 0.456, 0.406))))
    (image,) = loaded.manifest.inputs
    assert (image.mean, image.std) == ((), (255.0,))
    assert not any("--mean" in w for w in loaded.warnings)


def test_a_number_for_a_channel_that_was_picked_tells_nothing_of_the_scale(tmp_path):
    """torchvision's GoogLeNet and Inception bring ImageNet's numbers to others of their own, channel by channel."""
    nodes = normalising((0.5,))
    loaded = opened(build(tmp_path / "m.onnx", FIXED, {"y": np.float32([[0.9, 0.1]])}, nodes=nodes))
    assert any("--mean" in w for w in loaded.warnings)


def test_outputs_like_torchvisions_whose_graph_does_not_normalise_have_a_scale_that_is_told_as_a_guess(tmp_path):
    """The Faster R-CNN of the ONNX zoo has them, too, and takes BGR pixels less a mean."""
    loaded = opened(build(tmp_path / "m.onnx", FIXED, {"6379": BOXES, "6381": CLASSES, "6383": SCORES}))
    assert any("0 to 1 is a guess" in w and "--mean" in w for w in loaded.warnings)
