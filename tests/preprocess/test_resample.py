"""Pictures resized by the kernel that the training used, against Pillow and transformers' two steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from edge.data.sample import Sample
from edge.data.tensor import TensorSpec
from edge.describe import hugging_face, image_processors
from edge.model.manifest import Input, Manifest
from edge.preprocess.image import create
from edge.preprocess.image.fill import fit

KERNELS = {
    "nearest": Pillow.NEAREST,
    "box": Pillow.BOX,
    "bilinear": Pillow.BILINEAR,
    "hamming": Pillow.HAMMING,
    "bicubic": Pillow.BICUBIC,
    "lanczos": Pillow.LANCZOS,
}


def prepared(pixels, size, **fields):
    """What the model is given of a picture: the tensor without its batch, and where the picture lies in it."""
    part = Input(name="in", kind="image", size=size, pad=0, **fields)
    made = create(Manifest(name="m", inputs=(part,)), (TensorSpec("in", "uint8", (1, size[1], size[0], 3)),))
    (payload,) = made.split(pixels)
    found = made(Sample(payload, "test", 0, 0))
    return found.tensors["in"][0].astype(int), found.frame


def photo(width, height):
    """Areas and edges with some noise: noise alone cancels what a kernel does wrong."""
    rng = np.random.default_rng(width * 1000 + height)
    rough = Pillow.fromarray(rng.integers(0, 256, (9, 11, 3), dtype=np.uint8)).resize((width, height), Pillow.NEAREST)
    return np.clip(np.asarray(rough) + rng.integers(-20, 20, (height, width, 3)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kernel", [k for k in KERNELS if k != "nearest"])
@settings(max_examples=15, deadline=None)
@given(width=st.integers(1, 300), height=st.integers(1, 300), size=st.tuples(st.integers(1, 130), st.integers(1, 130)))
def test_a_picture_is_resized_as_pillow_resizes_it(kernel, width, height, size):
    picture = photo(width, height)
    found, _ = prepared(picture, size, resample=kernel)
    expected = np.asarray(Pillow.fromarray(picture).resize(size, KERNELS[kernel])).astype(int)
    apart = np.abs(found - expected)
    # Pillow rounds, and cuts at 0 and 255, between its two passes; what overshoots there differs a little.
    assert apart.max() <= {"bicubic": 40, "lanczos": 60}.get(kernel, 1)
    assert apart.mean() <= 1


@pytest.mark.parametrize("size", [(96, 64), (100, 31), (500, 400)])
def test_the_nearest_pixel_is_pillows(size):
    picture = photo(300, 200)
    found, _ = prepared(picture, size, resample="nearest")
    np.testing.assert_array_equal(found, np.asarray(Pillow.fromarray(picture).resize(size, Pillow.NEAREST)))


@pytest.mark.parametrize(("width", "height"), [(640, 427), (333, 500), (96, 96), (100, 60)])
@pytest.mark.parametrize(("side", "resized"), [(96, 109), (96, 96), (80, 84)])
def test_the_middle_is_cut_out_of_a_picture_of_whole_pixels_as_transformers_cuts_it(width, height, side, resized):
    # transformers: image_transforms.py, `get_size_with_aspect_ratio` and `center_crop`
    short, long = min(width, height), max(width, height)
    longer = int(resized * long / short)
    whole = (longer, resized) if width >= height else (resized, longer)
    left, top = (int((whole[axis] - side) / 2.0) for axis in (0, 1))
    picture = photo(width, height)
    expected = np.asarray(Pillow.fromarray(picture).resize(whole, Pillow.BICUBIC)).astype(int)
    expected = expected[top : top + side, left : left + side]
    found, frame = prepared(
        picture, (side, side), resize="crop", resample="bicubic", crop_fraction=round(side / resized, 4)
    )
    assert np.abs(found - expected).mean() < 0.5
    assert (frame.offset_x, frame.offset_y) == (-left, -top)


READERS = {
    "torchvision": lambda side, edge: image_processors.torchvision(
        {"mean": [0.5], "std": [0.5], "crop_size": [side], "resize_size": [edge]}
    ),
    "timm": lambda side, edge: image_processors.timm(
        {"mean": [0.5], "std": [0.5], "input_size": [3, side, side], "crop_pct": side / (edge + 0.5)}
    ),
    "transformers": lambda side, edge: hugging_face.pictures(
        {"image_mean": [0.5], "image_std": [0.5], "do_rescale": True, "do_center_crop": True, "crop_size": side,
         "size": {"shortest_edge": edge}}
    ),
}  # fmt: skip


@pytest.mark.parametrize("who", READERS)
@given(sides=st.tuples(*[st.integers(20, 1500)] * 2), side=st.integers(28, 1100), more=st.floats(0, 0.4))
def test_a_middle_begins_at_the_pixel_at_which_it_begins_in_training(who, sides, side, more):
    # torchvision, functional.py: center_crop (timm's transforms are its own); transformers,
    # image_processing_backends.py: center_crop.
    edge = side + int(side * more)
    short, long = min(sides), max(sides)
    resized = [edge if s == short else int(edge * long / short) for s in sides]
    cut = [(r - side) / 2 for r in resized]
    first = [int(c) if who == "transformers" else round(c) for c in cut]
    said = READERS[who](side, edge)
    frame = fit(*sides, (side, side), said.resize, said.crop_fraction, said.crop_rounding)
    assert [round(frame.width * frame.scale_x), round(frame.height * frame.scale_y)] == resized
    assert [-frame.offset_x, -frame.offset_y] == first


def test_a_middle_between_two_pixels_begins_where_the_manifest_says():
    picture = photo(101, 100)
    down, _ = prepared(picture, (98, 98), resize="crop", resample="nearest", crop_fraction=0.98)
    even, _ = prepared(picture, (98, 98), resize="crop", resample="nearest", crop_fraction=0.98, crop_rounding="even")
    np.testing.assert_array_equal(down, picture[1:99, 1:99])
    np.testing.assert_array_equal(even, picture[1:99, 2:100])


def test_a_letterbox_is_filled_by_the_same_kernel():
    picture = photo(300, 200)
    found, _ = prepared(picture, (96, 96), resize="letterbox", resample="bicubic")
    expected = np.asarray(Pillow.fromarray(picture).resize((96, 64), Pillow.BICUBIC)).astype(int)
    assert np.abs(found[16:80] - expected).mean() < 0.5
    assert not found[:16].any()
    assert not found[80:].any()


def test_pictures_of_several_sizes_follow_each_other():
    part = Input(name="in", kind="image", size=(32, 32), resample="bicubic")
    made = create(Manifest(name="m", inputs=(part,)), (TensorSpec("in", "uint8", (1, 32, 32, 3)),))
    for width, height in ((64, 48), (200, 100), (64, 48), (48, 64)):
        picture = photo(width, height)
        (payload,) = made.split(picture)
        found = made(Sample(payload, "test", 0, 0)).tensors["in"][0].astype(int)
        expected = np.asarray(Pillow.fromarray(picture).resize((32, 32), Pillow.BICUBIC)).astype(int)
        assert np.abs(found - expected).mean() < 0.5
