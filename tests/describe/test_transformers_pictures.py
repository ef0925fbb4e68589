"""What `preprocessor_config.json` of transformers says of pictures, as its image processors do it, and what is told."""

from __future__ import annotations

import json

import numpy as np
import pytest
from onnx import helper
from support.guessing import FLOAT, build, describe

from edge.data.sample import Sample
from edge.describe.hugging_face import doubts, pictures
from edge.engines import onnxruntime
from edge.plugins.protocols import EngineOptions
from edge.preprocess import image

HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
PERCEIVER = {**HALF, "image_processor_type": "PerceiverImageProcessor", "do_center_crop": True,
             "size": {"height": 28, "width": 28}, "crop_size": {"height": 32, "width": 32}}  # fmt: skip
SAM = {**HALF, "image_processor_type": "SamImageProcessor", "do_pad": True, "size": {"longest_edge": 64},
       "pad_size": {"height": 64, "width": 64}}  # fmt: skip
OWL = {**HALF, "image_processor_type": "Owlv2ImageProcessor", "do_pad": True, "size": {"height": 64, "width": 64}}
MOBILEVIT = {**HALF, "image_processor_type": "MobileViTImageProcessor", "do_center_crop": True, "do_rescale": True,
             "do_flip_channel_order": True, "size": {"shortest_edge": 36},
             "crop_size": {"height": 32, "width": 32}}  # fmt: skip


@pytest.fixture
def prepared(tmp_path):
    """What a model of a size gets of a picture, with a file beside it: height x width x 3, as pixels again."""

    def prepare(said, size, pixels):
        (tmp_path / "preprocessor_config.json").write_text(json.dumps({"resample": 2, **said}))
        nodes = [helper.make_node("GlobalAveragePool", ["x"], ["y"])]
        path = build(tmp_path / "m.onnx", {"x": (FLOAT, [1, 3, size, size])}, {"y": [1, 3, 1, 1]}, nodes=nodes)
        part = describe(path).manifest.inputs[0]
        engine = onnxruntime.load(path, EngineOptions())
        preprocessor = image.create(describe(path).manifest, engine.inputs)
        tensor = preprocessor(Sample(pixels, "test", 0, 0)).tensors["x"][0].transpose(1, 2, 0)
        return tensor * np.array(part.std) + np.array(part.mean or 0)

    return prepare


def painted(height: int, width: int) -> np.ndarray:
    """Red on the left, blue on the right, green at the bottom."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = 200
    pixels[:, width // 2 :, 2] = 200
    pixels[-height // 8 :] = (0, 200, 0)
    return pixels


def test_perceiver_cuts_the_middle_and_then_resizes_it(prepared):
    got = prepared(PERCEIVER, 28, painted(64, 128))
    # 56 of the 64 lines are left: 4 of the 8 green ones, which are 2 of 28
    assert (got[-2:, :, 1] > 150).all()
    assert (got[:-3, :, 1] < 10).all()
    assert (got[:-3, :13, 0] > 190).all()
    assert (got[:-3, 15:, 2] > 190).all()


@pytest.mark.parametrize(("said", "around"), [(SAM, 127.5), (OWL, 0.0)], ids=["SAM", "OWLv2"])
def test_a_longest_edge_keeps_the_form_and_fills_what_is_below(said, around, prepared):
    got = prepared(said, 64, painted(64, 128))
    assert (got[28 + 1 : 31, :, 1] > 190).all()
    assert (got[:27, :31, 0] > 190).all()
    assert got[33:] == pytest.approx(around, abs=1)


def test_mobilevit_takes_blue_first_and_is_not_normalised_though_its_file_holds_numbers(prepared):
    got = prepared(MOBILEVIT, 32, painted(72, 72))
    assert pictures(MOBILEVIT).mean == ()
    assert (got[:20, :14, 2] > 190).all()
    assert (got[:20, 18:, 0] > 190).all()


@pytest.mark.parametrize(
    ("said", "pad"),
    [
        (
            {"size": {"shortest_edge": 48}, "image_mean": [0.4, 0.5, 0.6], "image_std": [0.5] * 3},
            128,
        ),
        ({"size": {"shortest_edge": 48}, "do_rescale": True, "do_normalize": False}, 0),
        ({"size": {"shortest_edge": 48}, "image_mean": [2.0] * 3, "image_std": [1] * 3}, 255),
    ],
)
def test_what_is_laid_around_a_picture_is_zero_behind_its_normalisation(said, pad):
    assert pictures(said).pad == pad


@pytest.mark.parametrize("suffix", ["ImageProcessor", "ImageProcessorFast", "ImageProcessorPil"])
def test_a_processor_that_was_not_compared_is_told_of(suffix):
    (told,) = doubts({**HALF, "image_processor_type": "Janus" + suffix, "size": {"height": 64, "width": 64}})
    assert told.startswith(f"Janus{suffix} may do more with pictures than its fields say")
    assert "--resize" in told


@pytest.mark.parametrize("said", [{"image_processor_type": f"ViT{s}"} for s in ("ImageProcessor", "FeatureExtractor")]
                         + [{"feature_extractor_type": "NeverHeardOf"}, {}])  # fmt: skip
def test_one_that_was_compared_or_that_nothing_names_is_read_in_silence(said):
    assert doubts({**HALF, **said, "size": {"height": 64, "width": 64}}) == []


def test_grey_pictures_that_are_made_of_coloured_ones_are_told_of():
    (told,) = doubts({"image_processor_type": "SuperPointImageProcessor", "do_grayscale": True, "do_rescale": True})
    assert "send grey pictures" in told
