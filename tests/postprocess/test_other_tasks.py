from __future__ import annotations

import json

import numpy as np
import pytest

from edge.data.codec import encode
from edge.data.sample import Frame, ModelInput
from edge.data.tensor import TensorSpec
from edge.describe.head import HeadInfo
from edge.errors import ModelError, SampleError
from edge.model.manifest import Input, Manifest, Output
from edge.plugins import registry


def decode(manifest: Manifest, outputs, tensors=None, frame=None):
    specs = tuple(TensorSpec(n, a.dtype.name, a.shape) for n, a in outputs.items())
    decoder = registry.declared(HeadInfo, manifest.decoder or manifest.task).create(manifest, specs)
    return decoder(outputs, ModelInput(tensors or {"in": np.zeros((1, 8, 8, 3), np.float32)}, frame))


PICTURE = (Input(name="in", kind="image"),)


# --- segmentation -------------------------------------------------------------------------------------------


def scores() -> np.ndarray:
    values = np.zeros((1, 3, 8, 8), np.float32)
    values[0, 1] = 0.5
    values[0, 2, :, :2] = 1.0
    return values


@pytest.mark.parametrize("axis", [1, 3])
def test_areas_are_shares_of_the_picture(axis):
    values = scores() if axis == 1 else scores().transpose(0, 2, 3, 1)
    made = Manifest(name="m", task="segment", inputs=PICTURE, labels=("sky", "road", "car"),
                    decoder_options={"axis": axis})  # fmt: skip
    (found,) = decode(made, {"mask": values})
    assert (found.labels, found.areas) == (["road", "car"], [0.75, 0.25])


def test_a_mask_of_classes_is_counted_as_it_is():
    mask = np.zeros((1, 8, 8), np.int64)
    mask[0, :4] = 7
    (found,) = decode(Manifest(name="m", task="segment", inputs=PICTURE), {"mask": mask})
    assert (sorted(found.labels), found.areas) == (["0", "7"], [0.5, 0.5])


def test_the_padding_of_a_letterbox_is_not_counted():
    values = scores()
    frame = Frame(16, 8, 0.5, 0.5, 0, 2)  # rows 2 to 5 of 8 hold the picture
    values[0, 0, :2], values[0, 0, 6:] = 9, 9
    (found,) = decode(Manifest(name="m", task="segment", inputs=PICTURE), {"mask": values}, frame=frame)
    assert (found.labels, found.areas) == (["1", "2"], [0.75, 0.25])


def test_a_mask_of_one_channel_is_one_label_against_the_rest():
    values = np.full((1, 1, 8, 8), -3.0, np.float32)
    values[..., :2] = 3
    made = Manifest(name="m", task="segment", inputs=PICTURE, activation="sigmoid", decoder_options={"axis": 1})
    (found,) = decode(made, {"mask": values})
    assert (found.labels, found.areas) == (["0", "1"], [0.75, 0.25])


def test_a_mask_of_another_shape_is_a_bad_sample():
    made = Manifest(name="m", task="segment", inputs=PICTURE, decoder_options={"axis": 1})
    with pytest.raises(SampleError, match="no mask"):
        decode(made, {"mask": np.zeros((4,), np.float32)})


# --- keypoints ----------------------------------------------------------------------------------------------


def test_keypoints_are_told_in_pixels_of_the_frame():
    values = np.zeros((1, 1, 5, 3), np.float32)
    values[0, 0, 0] = (0.25, 0.5, 0.9)
    values[0, 0, 1] = (0.75, 0.25, 0.7)
    made = Manifest(name="m", task="keypoints", inputs=PICTURE)
    (found,) = decode(made, {"points": values}, frame=Frame(80, 80, 0.1, 0.1))
    assert found.box == (20, 20, 40, 60)
    assert found.keypoints[0] == (40, 20, 0.9)
    assert len(found.keypoints) == 5
    assert (found.label, found.score) == ("person", 0.8)


def test_a_body_that_is_not_seen_is_no_prediction():
    made = Manifest(name="m", task="keypoints", inputs=PICTURE)
    assert decode(made, {"points": np.zeros((1, 1, 17, 3), np.float32)}) == []


# --- anomalies ----------------------------------------------------------------------------------------------


def anomaly(outputs, roles=(), tensors=None, **fields):
    wanted = tuple(Output(name=n, role=r) for n, r in roles)
    made = Manifest(name="m", task="anomaly", inputs=(Input(name="in"),), outputs=wanted, **fields)
    (found,) = decode(made, outputs, tensors)
    return found


def test_a_reconstruction_is_scored_by_its_mean_squared_difference():
    given, back = np.array([[1.0, 2.0]], np.float32), np.array([[1.0, 5.0]], np.float32)
    found = anomaly({"out": back}, [("out", "reconstruction")], {"in": given}, threshold=4.0)
    assert (found.score, found.is_anomaly) == (4.5, True)
    assert not anomaly({"out": back}, [("out", "reconstruction")], {"in": given}, threshold=5.0).is_anomaly


def test_without_a_threshold_nothing_is_called_an_anomaly():
    found = anomaly({"out": np.array([9.0], np.float32)}, [("out", "score")])
    assert (found.score, found.is_anomaly) == (9.0, False)


@pytest.mark.parametrize(("label", "strange"), [(-1, True), (1, False)])
def test_scikit_learn_says_it_by_its_label_and_its_score_is_turned(label, strange):
    outputs = {"label": np.array([[label]], np.int64), "scores": np.array([[-0.25]], np.float32)}
    found = anomaly(outputs)
    assert (found.score, found.is_anomaly) == (0.25, strange)


def test_a_threshold_outweighs_the_label():
    outputs = {"label": np.array([[-1]], np.int64), "scores": np.array([[-0.25]], np.float32)}
    assert not anomaly(outputs, threshold=0.3).is_anomaly


def test_a_score_that_is_not_finite_is_a_bad_sample():
    with pytest.raises(SampleError, match="finite"):
        anomaly({"out": np.array([np.nan], np.float32)}, [("out", "score")])


def test_many_values_are_no_score():
    with pytest.raises(SampleError, match=r"'out' has the shape \[1, 2\]: neither a score"):
        anomaly({"out": np.zeros((1, 2), np.float32)}, [("out", "score")])


def test_outputs_without_a_score_are_a_model_error():
    with pytest.raises(ModelError, match="no output"):
        anomaly({"label": np.array([1], np.int64)})


def test_numbers_of_many_samples_at_once_are_the_same_as_one_by_one():
    outputs = {"y": np.array([[1.5, 2.0], [3.0, -4.0]], np.float32), "z": np.array([7.0, 8.0])}
    specs = (TensorSpec("y", "float32", ("n", 2)), TensorSpec("z", "float64", ("n",)))
    described = Manifest(name="m", outputs=(Output(name="y", unit="mm"), Output(name="z")))
    read = registry.declared(HeadInfo, "regress").create(described, specs)
    alone = [read({n: v[i : i + 1] for n, v in outputs.items()}, ModelInput({})) for i in range(2)]
    assert read.many(outputs, 2) == alone
    outputs["z"][1] = np.inf
    assert read.many(outputs, 2) is None


def test_whole_numbers_that_a_float_would_round_are_told_as_they_are():
    made = Manifest(name="m", task="regress", outputs=(Output(name="y"),))
    assert [p.value for p in decode(made, {"y": np.array([2**53 + 1, -3])})] == [2**53 + 1, -3]
    ((found,), _) = (
        registry.declared(HeadInfo, "regress")
        .create(made, (TensorSpec("y", "int64", ("n",)),))
        .many({"y": np.array([2**63 - 1, 0])}, 2)
    )
    assert found.value == 2**63 - 1


def test_infinity_and_nan_are_told_apart_where_outputs_are_told_as_they_are():
    found = decode(Manifest(name="m"), {"y": np.array([np.inf, -np.inf, np.nan, 1.5], np.float32)})
    assert json.loads(encode(found))[0]["data"] == ["Infinity", "-Infinity", None, 1.5]


def test_infinity_in_a_map_is_told_too():
    specs = (TensorSpec("y", "map", None),)
    found = registry.declared(HeadInfo, "raw").create(Manifest(name="m"), specs)(
        {"y": [{"a": np.inf, "b": 1.0}]}, ModelInput({})
    )
    assert json.loads(encode(found))[0]["data"] == [{"a": "Infinity", "b": 1.0}]


def test_keypoints_beyond_the_frame_are_clipped_to_it():
    values = np.zeros((1, 1, 2, 3), np.float32)
    values[0, 0] = [(-0.5, 1.5, 0.9), (0.5, 0.5, 0.9)]
    (found,) = decode(
        Manifest(name="m", task="keypoints", inputs=PICTURE), {"p": values}, frame=Frame(80, 60, 0.1, 0.1)
    )
    assert found.keypoints == [(80, 0, 0.9), (40, 40, 0.9)]


def test_keypoints_that_are_no_numbers_are_a_bad_sample():
    with pytest.raises(SampleError, match="not finite"):
        decode(Manifest(name="m", task="keypoints", inputs=PICTURE), {"p": np.full((1, 1, 2, 3), np.nan, np.float32)})
