"""Files beside a model: what they say of pictures, and that none of them stops the model."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.describe import neighbours

HUGGING_FACE, TIMM = "preprocessor_config.json", "config.json"
KERAS, TORCHVISION = "image_converter.json", "preprocess.json"
HALF = {"image_mean": [0.5], "image_std": [0.5]}


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    """What is read of one file beside a model."""
    folder = tmp_path_factory.mktemp("beside")

    def read(name: str, said: object) -> neighbours.Config:
        (folder / name).write_text(json.dumps(said))
        try:
            return neighbours.read(folder / "m.onnx")
        finally:
            (folder / name).unlink()

    return read


@pytest.mark.parametrize(
    ("name", "said", "why"),
    [
        (HUGGING_FACE, {**HALF, "rescale_factor": 0}, "rescale_factor is 0, no number above 0"),
        (HUGGING_FACE, {**HALF, "rescale_factor": True}, "rescale_factor is True, no number above 0"),
        (HUGGING_FACE, {**HALF, "size": {"height": 224}}, "the size {'height': 224} has not both width and height"),
        (HUGGING_FACE, {**HALF, "crop_size": [1, 2, 3], "do_center_crop": True}, "the size [1, 2, 3] is not"),
        (HUGGING_FACE, {"image_mean": "0.5"}, "image_mean is 0.5, no numbers"),
        (HUGGING_FACE, {"image_mean": [0.5], "image_std": [0]}, "what pixels are divided by is not above 0"),
        (HUGGING_FACE, {"image_mean": [0.5], "image_std": [float("nan")]}, "image_std is [nan], no numbers"),
        (HUGGING_FACE, {"image_mean": [10**400], "image_std": [1]}, "image_mean is [1000"),
        (HUGGING_FACE, {**HALF, "rescale_factor": 10**400}, "rescale_factor is 1000"),
        (HUGGING_FACE, {"image_mean": [1e308], "image_std": [1], "rescale_factor": 0.001}, "gives no numbers"),
        (TIMM, {"pretrained_cfg": {"mean": [0.5], "std": [0.5], "crop_pct": -1}}, "crop_pct is -1, no number above 0"),
        (TIMM, {"pretrained_cfg": {"mean": [0.5], "std": [0.5], "input_size": [3, 224, 224], "crop_pct": 1e-320}},
         "crop_pct is 1e-320, no share of a side"),
        (TIMM, {"pretrained_cfg": {"mean": [0.5], "std": [0.5], "crop_pct": 1e-320}}, "no share of a side"),
        (HUGGING_FACE, {**HALF, "size": 96, "crop_pct": 1e-9}, "no share of a side"),
        (KERAS, {"config": {"scale": [1, 0, 1]}}, "scale is 0"),
        (KERAS, {"config": {"scale": [1, 1], "offset": [1, 2, 3]}}, "scale has 2 numbers, offset 3"),
        (TORCHVISION, {"mean": [0.5], "std": ["a"]}, "std is ['a'], no numbers"),
    ],
)  # fmt: skip
def test_a_file_that_says_no_numbers_is_left_out_with_a_warning(name, said, why, beside):
    found = beside(name, said)
    assert found.pictures is None
    (warning,) = found.warnings
    assert warning.startswith(f"{name} beside the model is left out: ")
    assert why in warning


@pytest.mark.parametrize(
    ("name", "said", "expected"),
    [
        (KERAS, {"config": {"scale": 1 / 255, "image_size": [96, 64]}}, ((), (255.0,), (64, 96), "crop", None)),
        (KERAS, {"config": {"scale": 1 / 127.5, "offset": -1, "crop_to_aspect_ratio": False}},
         ((127.5,), (127.5,), None, "stretch", None)),
        (KERAS, {"config": {"pad_to_aspect_ratio": True}}, ((), (1.0,), None, "letterbox", 0)),
        (TORCHVISION, {"mean": [0.5], "std": [0.5], "resize_size": 256, "crop_size": [224]},
         ((127.5,), (127.5,), (224, 224), "crop", None)),
        (TORCHVISION, {"mean": [0], "std": [1], "resize_size": 256}, ((0.0,), (255.0,), (256, 256), "stretch", None)),
        (TIMM, {"pretrained_cfg": {"mean": [0.5], "std": [0.5], "input_size": [3, 96, 64], "crop_mode": "squash"}},
         ((127.5,), (127.5,), (64, 96), "stretch", None)),
        (HUGGING_FACE, {**HALF, "rescale_offset": True, "rescale_factor": 1 / 127.5},
         ((191.25,), (63.75,), None, "", None)),
    ],
)  # fmt: skip
def test_what_each_framework_writes_is_read_as_it_is_meant(name, said, expected, beside):
    pictures = beside(name, said).pictures
    assert (pictures.mean, pictures.std, pictures.size, pictures.resize, pictures.pad) == expected


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (TIMM, {"model_type": "vit"}),
        (KERAS, {"config": 7}),
        (TORCHVISION, {"mean": [0.5]}),
        (HUGGING_FACE, {"size": 3}),
    ],
)
def test_a_file_that_tells_of_no_pictures_says_nothing(name, said, beside):
    found = beside(name, said)
    assert (found.pictures, found.warnings) == (None, ())


@pytest.mark.parametrize("wrong", [10**400, float("nan"), True, "1"])
def test_a_scale_of_an_anomaly_that_is_no_number_is_none(wrong, beside):
    said = {"image_threshold": 0.5, "min": 0.0, "max": 1.0}
    assert beside("metadata.json", said).anomaly is not None
    assert beside("metadata.json", {**said, "image_threshold": wrong}).anomaly is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.sampled_from([0, -1, 224, 0.5, 1e308, 1e-320, 10**400, float("inf"), "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["height", "width", "shortest_edge", "longest_edge"]), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = ["image_mean", "image_std", "do_rescale", "rescale_factor", "size", "crop_size", "do_center_crop", "crop_pct",
          "mean", "std", "resize_size", "scale", "offset", "image_size", "input_size", "max_size"]  # fmt: skip
SAID = st.dictionaries(st.sampled_from(FIELDS), VALUES)


@given(st.sampled_from(neighbours.NEIGHBOURS), SAID | st.builds(lambda s: {"config": s, "pretrained_cfg": s}, SAID))
@settings(max_examples=200, deadline=None)
def test_whatever_such_a_file_holds_it_is_read_or_left_out(beside, name, said):
    found = beside(name, said)
    assert (found.pictures is None) or not found.warnings
