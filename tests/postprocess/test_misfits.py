"""Outputs that a manifest describes wrongly: no box is made up, the reason says what was seen."""

from __future__ import annotations

import numpy as np
import pytest
from postprocess.test_detect import decode, manifest

from edge.errors import ModelError, SampleError


def of(*shape: int) -> np.ndarray:
    return np.full(shape, 0.5, np.float32)


@pytest.mark.parametrize(
    ("decoder", "outputs", "says"),
    [
        ("blazeface", {"scores": of(1, 224, 1), "boxes": of(1, 224, 3)}, r"224 scores for boxes of the shape"),
        ("blazeface", {"scores": of(1, 8, 1), "boxes": of(1, 9, 16)}, "9 boxes are no anchors of an input of 64 x 64"),
        ("detr", {"scores": of(1, 10, 5), "boxes": of(1, 9, 4)}, "10 scores for 9 boxes"),
        ("detr", {"scores": of(1, 10, 5), "boxes": of(1, 10, 4), "masks": of(1, 9, 8, 8)},
         r"masks of the shape \[1, 9, 8, 8\] for 10 queries"),
        ("scores-boxes", {"scores": of(1, 10, 2), "boxes": of(1, 9, 4)}, "10 scores for 9 boxes"),
        ("scores-boxes", {"scores": of(1, 10, 2), "boxes": of(1, 10, 5)}, r"'boxes' has the shape \[1, 10, 5\], which"),
        ("mmdetection", {"boxes": of(1, 10, 5), "classes": of(1, 9)}, "9 labels for 10 boxes"),
        ("fomo", {"grid": of(1, 8, 8, 1)}, r"the shape \[1, 8, 8, 1\], which is no grid of FOMO"),
        ("fastestdet", {"grid": of(2, 85, 8, 8)}, r"\[2, 85, 8, 8\]"),
        ("fastestdet", {"grid": of(1, 5, 8, 8)}, r"\[1, 5, 8, 8\], .* at least one class"),
        ("nanodet", {"rows": of(1, 9, 112)}, "9"),
        ("obb", {"rows": of(1, 5, 84)}, "5 values a box, too few for its angle"),
        ("yolo", {"rows": of(1, 4, 84)}, "4 values a box, too few for its decoder"),
        ("yolo", {"rows": of(1, 4 + 3 + 8, 84), "prototypes": of(1, 7, 16, 16)},
         r"prototypes of the shape \[1, 7, 16, 16\] for"),
    ],
)  # fmt: skip
def test_outputs_that_do_not_belong_together_are_refused(decoder, outputs, says):
    options = {"masks": 8} if "prototypes" in outputs else {}
    made = manifest(decoder, *outputs, decoder_options=options)
    with pytest.raises(SampleError, match=says):
        decode(made, outputs)


@pytest.mark.parametrize(
    ("decoder", "options", "says"),
    [
        ("yolo", {"form": "v9"}, "m: the option form='v9' is not one of v8, v8-rows, v5"),
        ("scores-boxes", {"box_format": "wh"}, "box_format 'wh' is not one of xyxy, yxyx, cxcywh, xywh"),
    ],
)
def test_a_form_that_no_decoder_knows_is_told_with_those_there_are(decoder, options, says):
    outputs = {"rows": of(1, 7, 84)} if decoder == "yolo" else {"scores": of(1, 9, 2), "boxes": of(1, 9, 4)}
    with pytest.raises(ModelError, match=says):
        decode(manifest(decoder, *outputs, decoder_options=options), outputs)


def test_boxes_from_a_corner_and_a_size_and_boxes_of_pixels_are_read_as_they_are_told():
    outputs = {"scores": np.array([[[0.9]]], np.float32), "boxes": np.array([[[8.0, 16.0, 4.0, 2.0]]], np.float32)}
    options = {"box_format": "xywh", "normalized": False}
    (found,) = decode(manifest("scores-boxes", *outputs, decoder_options=options), outputs)
    assert found.box == (8.0, 16.0, 12.0, 18.0)


@pytest.mark.parametrize(
    ("form", "columns"),
    [("end-to-end", 5), ("end-to-end-centre", 5), ("end-to-end-7", 6), ("end-to-end-nas", 6), ("paddle", 5)],
)
def test_rows_too_short_for_the_form_that_is_told_skip_the_sample(form, columns):
    outputs = {"rows": of(1, 10, columns)}
    with pytest.raises(SampleError, match=f"'rows' has {columns} values a box, too few for its decoder"):
        decode(manifest("yolo", "rows", decoder_options={"form": form}), outputs)


def test_rows_too_short_for_their_points_skip_the_sample():
    options = {"form": "end-to-end", "keypoints": [17, 3]}
    with pytest.raises(SampleError, match="10 values a box, too few"):
        decode(manifest("yolo", "rows", decoder_options=options), {"rows": of(1, 10, 10)})


CELLS = {8: 64, 16: 16, 32: 4}


def faces(kinds: dict[str, int], each: int = 1) -> dict[str, np.ndarray]:
    return {
        f"{kind}_{s}": of(1, each * cells, columns) for kind, columns in kinds.items() for s, cells in CELLS.items()
    }


SCRFD = {"score": 1, "bbox": 4, "kps": 10}
YUNET = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}


@pytest.mark.parametrize(("decoder", "kinds", "each"), [("scrfd", SCRFD, 2), ("yunet", YUNET, 1)])
@pytest.mark.parametrize("lost", ["bbox_16", "kps_32"])
def test_a_detector_of_faces_whose_file_lacks_an_output_is_refused_at_the_start(decoder, kinds, each, lost):
    outputs = faces(kinds, each)
    del outputs[lost]
    with pytest.raises(ModelError, match=f"m: the decoder '{decoder}' needs an output for '{lost}'"):
        decode(manifest(decoder), outputs)


@pytest.mark.parametrize(("decoder", "kinds"), [("scrfd", SCRFD), ("yunet", YUNET)])
def test_a_detector_of_faces_without_any_of_its_outputs_is_refused_at_the_start(decoder, kinds):
    with pytest.raises(ModelError, match=f"needs an output for '{next(iter(kinds))}_8', the file has mine"):
        decode(manifest(decoder), {"mine": of(1, 4)})


@pytest.mark.parametrize(("decoder", "kinds", "each"), [("scrfd", SCRFD, 2), ("yunet", YUNET, 1)])
@pytest.mark.parametrize(("name", "shape", "says"), [
    ("bbox_16", (1, 16, 5), r"'bbox_16' has the shape \[1, 16, 5\], which its decoder cannot read"),
    ("kps_32", (1, 1, 10), "scores and .* boxes for"),
])  # fmt: skip
def test_outputs_of_faces_that_do_not_fit_skip_the_sample(decoder, kinds, each, name, shape, says):
    outputs = faces(kinds, each) | {name: of(*shape)}
    with pytest.raises(SampleError, match=says):
        decode(manifest(decoder), outputs)


@pytest.mark.parametrize(("decoder", "kinds", "each"), [("scrfd", SCRFD, 2), ("yunet", YUNET, 1)])
def test_outputs_of_faces_that_fit_are_read(decoder, kinds, each):
    found = decode(manifest(decoder, nms=1.0, threshold=0.1), faces(kinds, each))
    assert {len(face.keypoints) for face in found} == {5}
