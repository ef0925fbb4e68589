from __future__ import annotations

import numpy as np
import pytest

from edge.data.sample import Frame, ModelInput
from edge.data.tensor import TensorSpec
from edge.describe.head import HeadInfo
from edge.errors import ModelError, SampleError
from edge.model.manifest import Input, Manifest, Output
from edge.plugins import registry

SIZE = 64  # of the model's input, both ways


def manifest(decoder: str, *roles: str, **fields) -> Manifest:
    image = Input(name="in", kind="image", layout="NCHW")
    outputs = tuple(Output(name=r, role=r) for r in roles)
    return Manifest(name="m", task="detect", decoder=decoder, inputs=(image,), outputs=outputs, **fields)


def decode(made: Manifest, outputs, frame: Frame | None = None):
    specs = tuple(TensorSpec(n, "float32", a.shape) for n, a in outputs.items())
    decoder = registry.declared(HeadInfo, made.decoder).create(made, specs)
    given = ModelInput({"in": np.zeros((1, 3, SIZE, SIZE), np.float32)}, frame or Frame(SIZE, SIZE))
    return decoder(outputs, given)


def boxes(found) -> list[tuple[float, ...]]:
    return [tuple(round(v, 1) for v in d.box) for d in found]


# --- the YOLO family ----------------------------------------------------------------------------------------


def v8(*rows: tuple[float, ...], classes: int = 3, cells: int = 84) -> np.ndarray:
    values = np.zeros((1, 4 + classes, cells), np.float32)
    for at, row in enumerate(rows):
        values[0, : len(row), at] = row
    return values


def test_a_v8_head_gives_the_best_class_of_each_box():
    found = decode(manifest("yolo", "rows", labels=("a", "b", "c")), {"rows": v8((32, 16, 20, 8, 0.1, 0.2, 0.9))})
    assert [(d.index, d.label, round(d.score, 3)) for d in found] == [(2, "c", 0.9)]
    assert boxes(found) == [(22, 12, 42, 20)]


def test_a_v8_head_turned_round_gives_the_same():
    values = v8((32, 16, 20, 8, 0.1, 0.2, 0.9), (10, 10, 6, 6, 0.8))
    upright = decode(manifest("yolo", "rows"), {"rows": values})
    turned = decode(manifest("yolo", "rows", decoder_options={"form": "v8-rows"}), {"rows": values.transpose(0, 2, 1)})
    assert turned == upright
    assert len(upright) == 2


def test_boxes_of_one_class_suppress_each_other_and_those_of_two_do_not():
    same = v8((32, 32, 20, 20, 0.9), (33, 32, 20, 20, 0.8), (34, 32, 20, 20, 0.0, 0.7))
    found = decode(manifest("yolo", "rows"), {"rows": same})
    assert [(d.index, round(d.score, 1)) for d in found] == [(0, 0.9), (1, 0.7)]


def test_an_nms_of_1_suppresses_nothing():
    same = v8((32, 32, 20, 20, 0.9), (32, 32, 20, 20, 0.8))
    assert len(decode(manifest("yolo", "rows", nms=1.0), {"rows": same})) == 2


def test_the_threshold_of_the_manifest_decides():
    values = v8((32, 32, 20, 20, 0.6), (10, 10, 6, 6, 0.5))
    assert len(decode(manifest("yolo", "rows", threshold=0.55), {"rows": values})) == 1
    assert len(decode(manifest("yolo", "rows", threshold=0.45), {"rows": values})) == 2


def test_a_v5_head_multiplies_by_the_objects_score():
    values = np.zeros((1, 252, 7), np.float32)
    values[0, 0] = (32, 32, 20, 20, 0.8, 0.1, 0.5)
    values[0, 1] = (32, 32, 20, 20, 0.3, 0.9, 0.0)
    found = decode(manifest("yolo", "rows", decoder_options={"form": "v5"}), {"rows": values})
    assert [(d.index, round(d.score, 2)) for d in found] == [(1, 0.4), (0, 0.27)]


def test_an_end_to_end_head_has_corners_and_is_not_suppressed_again():
    values = np.zeros((1, 300, 6), np.float32)
    values[0, 0] = (10, 10, 30, 30, 0.9, 2)
    values[0, 1] = (10, 10, 30, 30, 0.8, 2)
    found = decode(manifest("yolo", "rows", decoder_options={"form": "end-to-end"}), {"rows": values})
    assert boxes(found) == [(10, 10, 30, 30)] * 2
    assert [d.index for d in found] == [2, 2]


def test_an_end_to_end_head_of_seven_columns_has_the_batch_first():
    values = np.array([[0, 10, 12, 30, 34, 5, 0.9]], np.float32)
    found = decode(manifest("yolo", "rows", decoder_options={"form": "end-to-end-7"}), {"rows": values})
    assert [(d.index, d.box) for d in found] == [(5, (10, 12, 30, 34))]


def test_rows_of_paddle_begin_with_class_and_score():
    rows = np.array([[2, 0.9, 10, 20, 30, 40], [0, 0.1, 1, 1, 5, 5]], np.float32)
    (found,) = decode(manifest("yolo", "rows", decoder_options={"form": "paddle"}), {"rows": rows})
    assert (found.index, found.box) == (2, (10, 20, 30, 40))


def test_normalised_boxes_are_shares_of_the_input():
    values = v8((0.5, 0.25, 0.5, 0.25, 0.9))
    found = decode(manifest("yolo", "rows", decoder_options={"normalized": True}), {"rows": values})
    assert boxes(found) == [(16, 8, 48, 24)]


def test_keypoints_follow_the_class_and_are_mapped_to_the_frame():
    values = v8((32, 32, 20, 20, 0.9, 30, 31, 0.7, 33, 34, 0.6), classes=7)
    made = manifest("yolo", "rows", decoder_options={"keypoints": [2, 3]})
    (found,) = decode(made, {"rows": values}, Frame(128, 128, 0.5, 0.5))
    assert [tuple(round(v, 1) for v in p) for p in found.keypoints] == [(60, 62, 0.7), (66, 68, 0.6)]


def test_keypoints_beyond_the_frame_are_clipped_to_it():
    values = v8((32, 32, 60, 60, 0.9, -30, 80, 0.7, 33, 34, 0.6), classes=7)
    made = manifest("yolo", "rows", decoder_options={"keypoints": [2, 3]})
    (found,) = decode(made, {"rows": values}, Frame(128, 128, 0.5, 0.5))
    assert [tuple(round(v, 1) for v in p) for p in found.keypoints] == [(0, 128, 0.7), (66, 68, 0.6)]


def test_mask_coefficients_are_no_classes():
    values = v8((32, 32, 20, 20, 0.9, 0.1, 5.0, 7.0), classes=4)
    found = decode(manifest("yolo", "rows", decoder_options={"extras": 2}), {"rows": values})
    assert [(d.index, round(d.score, 1)) for d in found] == [(0, 0.9)]


def test_an_unknown_form_is_a_model_error():
    with pytest.raises(ModelError, match="form='v99'"):
        decode(manifest("yolo", "rows", decoder_options={"form": "v99"}), {"rows": v8()})


# --- back to the frame --------------------------------------------------------------------------------------


def test_boxes_are_mapped_back_through_a_letterbox():
    # 128 x 64 into 64 x 64: half the size, 16 rows of padding above.
    found = decode(manifest("yolo", "rows"), {"rows": v8((32, 32, 20, 10, 0.9))}, Frame(128, 64, 0.5, 0.5, 0, 16))
    assert boxes(found) == [(44, 22, 84, 42)]


def test_boxes_are_clipped_to_the_frame_and_those_outside_are_left_out():
    values = v8((0, 0, 40, 40, 0.9), (200, 200, 10, 10, 0.8))
    assert boxes(decode(manifest("yolo", "rows"), {"rows": values})) == [(0, 0, 20, 20)]


def test_labels_shorter_than_the_classes_leave_numbers():
    found = decode(manifest("yolo", "rows", labels=("a",)), {"rows": v8((32, 32, 9, 9, 0, 0, 0.9))})
    assert found[0].label == "2"


def test_the_best_come_first_and_top_k_bounds_them():
    values = v8(*((8 + 10 * i, 8, 6, 6, 0.5 + i / 20) for i in range(5)))
    found = decode(manifest("yolo", "rows", top_k=3), {"rows": values})
    assert [round(d.score, 2) for d in found] == [0.7, 0.65, 0.6]


def test_boxes_that_are_not_finite_are_a_bad_sample():
    with pytest.raises(SampleError, match="finite"):
        decode(manifest("yolo", "rows"), {"rows": v8((np.nan, 32, 20, 20, 0.9))})


def test_a_head_of_another_shape_is_a_bad_sample():
    with pytest.raises(SampleError, match="shape"):
        decode(manifest("yolo", "rows"), {"rows": np.zeros((2, 3, 4, 5), np.float32)})


def test_nothing_seen_is_an_empty_list():
    assert decode(manifest("yolo", "rows"), {"rows": v8()}) == []
    assert decode(manifest("yolox", "rows"), {"rows": np.zeros((1, 84, 8), np.float32)}) == []


# --- YOLOX --------------------------------------------------------------------------------------------------


def test_yolox_adds_the_cell_and_multiplies_by_the_stride():
    values = np.zeros((1, 84, 7), np.float32)
    # Cell 3, 2 of the grid of stride 8 (8 x 8), then cell 1, 1 of that of stride 16 (4 x 4).
    values[0, 2 * 8 + 3] = (0.5, 0.25, np.log(2), 0, 0.9, 1.0, 0.0)
    values[0, 64 + 5] = (0, 0, 0, np.log(0.5), 0.5, 0, 0.8)
    found = decode(manifest("yolox", "rows"), {"rows": values})
    assert boxes(found) == [(20, 14, 36, 22), (8, 12, 24, 20)]
    assert [(d.index, round(d.score, 2)) for d in found] == [(0, 0.9), (1, 0.4)]


def test_yolox_of_another_size_is_a_bad_sample():
    with pytest.raises(SampleError, match="make 84 cells"):
        decode(manifest("yolox", "rows"), {"rows": np.zeros((1, 83, 7), np.float32)})


# --- suppressed already -------------------------------------------------------------------------------------


def suppressed(**fields) -> dict[str, np.ndarray]:
    values = {
        "boxes": np.array([[[0.25, 0.5, 0.75, 1.1], [0, 0, 1, 1], [0, 0, 1, 1]]], np.float32),
        "classes": np.array([[2, 0, 1]], np.float32),
        "scores": np.array([[0.9, 0.6, 0.8]], np.float32),
        "count": np.array([2], np.float32),
    }
    return {**values, **fields}


def test_the_tflite_operator_gives_rows_before_columns_and_a_count():
    found = decode(manifest("tflite-detection", "boxes", "classes", "scores", "count"), suppressed())
    assert boxes(found) == [(32, 16, 64, 48), (0, 0, 64, 64)]
    assert [d.index for d in found] == [2, 0]


def test_its_outputs_are_taken_in_order_where_nothing_names_them():
    found = decode(manifest("tflite-detection"), suppressed())
    assert len(found) == 2


def test_classes_may_begin_at_1():
    made = manifest("tflite-detection", "boxes", "classes", "scores", decoder_options={"class_offset": 1})
    values = suppressed()
    del values["count"]
    assert [d.index for d in decode(made, values)] == [1, 0]


def test_an_object_of_a_class_before_the_first_is_left_out_with_a_word(caplog):
    made = manifest("tflite-detection", "boxes", "classes", "scores", decoder_options={"class_offset": 1})
    values = suppressed()
    del values["count"]
    decode(made, values | {"classes": np.array([[2, 1, 1]], np.float32)})
    assert not caplog.records
    values["classes"][...] = 0
    assert decode(made, values) == []
    (record,) = caplog.records
    assert "class_offset 0" in record.fix


def test_an_output_that_is_missing_is_a_model_error():
    values = {"boxes": np.zeros((1, 3, 4), np.float32)}
    with pytest.raises(ModelError, match="needs an output for 'classes'"):
        decode(manifest("tflite-detection"), values)


# --- scores and boxes, SSD, FastestDet ----------------------------------------------------------------------


def test_scores_beside_boxes_leave_the_background_out():
    values = {
        "scores": np.array([[[0.1, 0.9], [0.95, 0.05]] + [[1, 0]] * 10], np.float32),
        "boxes": np.array([[[0.25, 0.25, 0.5, 0.5], [0, 0, 1, 1]] + [[0, 0, 0, 0]] * 10], np.float32),
    }
    made = manifest("scores-boxes", "scores", "boxes", decoder_options={"background": 0}, labels=("none", "face"))
    found = decode(made, values)
    assert [(d.label, d.box) for d in found] == [("face", (16, 16, 32, 32))]


def test_scores_may_still_be_logits():
    values = {"scores": np.array([[[0.0, 4.0]]], np.float32), "boxes": np.array([[[0.5, 0.5, 0.5, 0.5]]], np.float32)}
    options = {"activation": "sigmoid", "box_format": "cxcywh"}
    (found,) = decode(manifest("scores-boxes", "scores", "boxes", decoder_options=options), values)
    assert (found.index, round(found.score, 3), found.box) == (1, 0.982, (16, 16, 48, 48))


def test_ssd_adds_its_anchors():
    values = {
        "boxes": np.array([[[5, -5, 5 * np.log(2), 0], [0, 0, 0, 0]]], np.float32),
        "scores": np.array([[[-9, 3], [-9, -9]]], np.float32),
    }
    options = {"anchors": [[0.5, 0.5, 0.25, 0.5], [0.1, 0.1, 0.1, 0.1]]}
    (found,) = decode(manifest("ssd", "boxes", "scores", decoder_options=options), values)
    # Centre y 0.5 + 0.5 * 0.25, x 0.5 - 0.5 * 0.5; height 0.25 * 2, width 0.5.
    assert boxes([found]) == [(0, 24, 32, 56)]
    assert round(found.score, 3) == 0.953


def test_ssd_without_anchors_is_a_model_error():
    values = {"boxes": np.zeros((1, 2, 4), np.float32), "scores": np.zeros((1, 2, 2), np.float32)}
    with pytest.raises(ModelError, match="anchors"):
        decode(manifest("ssd", "boxes", "scores"), values)


@pytest.mark.parametrize("last", [True, False])
def test_fastestdet_reads_its_grid(last):
    grid = np.zeros((1, 7, 4, 4), np.float32)
    grid[0, :, 2, 1] = (1.0, np.arctanh(0.5), 0, 0, 0, 0.1, 0.8)
    values = {"grid": grid.transpose(0, 2, 3, 1) if last else grid}
    (found,) = decode(manifest("fastestdet", "grid", decoder_options={"channels_last": last}), values)
    assert boxes([found]) == [(8, 16, 40, 48)]
    assert found.index == 1
    assert round(found.score, 4) == round(0.8**0.4, 4)


def face(row: int, *values: float) -> dict[str, np.ndarray]:
    """All of MediaPipe's 224 anchors of a 64 x 64 input, one of them lit."""
    found = {"boxes": np.zeros((1, 224, 8), np.float32), "scores": np.full((1, 224, 1), -90, np.float32)}
    found["boxes"][0, row] = values
    found["scores"][0, row] = 3
    return found


@pytest.mark.parametrize(("row", "centre"), [(0, (4, 4)), (1, (4, 4)), (2, (12, 4)), (128, (8, 8)), (223, (56, 56))])
def test_mediapipes_boxes_are_offsets_from_the_centres_of_cells(row, centre):
    x, y = centre
    values = face(row, 32 - x, 32 - y, 20, 10, 30 - x, 31 - y, 5 - x, 6 - y)
    (found,) = decode(manifest("blazeface", "boxes", "scores", labels=("face",)), values)
    assert (found.label, round(found.score, 3), boxes([found])) == ("face", 0.953, [(22, 27, 42, 37)])
    assert found.keypoints == [(30, 31, 1), (5, 6, 1)]


def test_no_face_is_an_empty_list():
    values = face(0, *[0] * 8)
    values["scores"][:] = -90
    assert decode(manifest("blazeface", "boxes", "scores"), values) == []


def test_a_count_of_boxes_that_fits_no_anchors_is_a_bad_sample():
    values = {"boxes": np.zeros((1, 7, 8), np.float32), "scores": np.zeros((1, 7, 1), np.float32)}
    with pytest.raises(SampleError, match="7 boxes are no anchors"):
        decode(manifest("blazeface", "boxes", "scores"), values)
