"""Both programs say the same of a folder: what lies beside a model has one reader."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.guessing import FLOAT, build, describe, random

from converter.networks import beside, planning
from converter.networks.planning import Network
from converter.options import Options
from converter.source import Source
from edge.data.tensor import TensorSpec
from edge.model.manifest import Input

CLASSES = 3
NUMBERS = st.one_of(
    st.lists(st.sampled_from([0.0, 0.485, 0.5, 0.225, 1.0]), min_size=3, max_size=3),
    st.sampled_from([0.5, "no", None, [None] * 3]),
)
SIZES = st.sampled_from([
    64, {"height": 48, "width": 64}, {"shortest_edge": 72}, {"shortest_edge": 60, "longest_edge": 70}, {"height": 5},
    {"longest_edge": 64}, [48, 64], [64], "x", None,
])  # fmt: skip
FLAGS = st.sampled_from([True, False])


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects that have any of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


HUGGING_FACE = some(
    image_processor_type=st.just("ViTImageProcessor"), do_rescale=FLAGS, do_normalize=FLAGS, do_center_crop=FLAGS,
    rescale_factor=st.sampled_from([1 / 255, 1 / 127.5, 0, "x"]), rescale_offset=FLAGS, image_mean=NUMBERS,
    image_std=NUMBERS, size=SIZES, crop_size=SIZES, crop_pct=st.sampled_from([0.875, None, 0]),
    max_size=st.sampled_from([96, "x"]), do_flip_channel_order=FLAGS,
)  # fmt: skip
TIMM = some(
    mean=NUMBERS, std=NUMBERS, input_size=st.sampled_from([[3, 48, 64], [3], "x"]),
    crop_pct=st.sampled_from([0.9, None, "x"]), crop_mode=st.sampled_from(["center", "squash", "border"]),
)  # fmt: skip
CONFIG = some(
    model_type=st.sampled_from(["vit", 3]), pretrained_cfg=TIMM,
    id2label=st.sampled_from([{"0": "a", "2": "c", "1": "b"}, {"0": "a", "1": "b"}, {}]),
    label_names=st.just(["x", "y", "z"]),
)  # fmt: skip
TORCHVISION = some(mean=NUMBERS, std=NUMBERS, crop_size=SIZES, resize_size=SIZES)
KERAS_HUB = some(config=some(
    image_size=SIZES, scale=NUMBERS, offset=NUMBERS, crop_to_aspect_ratio=FLAGS, pad_to_aspect_ratio=FLAGS,
))  # fmt: skip
FOLDERS = some(**{
    "preprocessor_config.json": HUGGING_FACE, "config.json": CONFIG, "preprocess.json": TORCHVISION,
    "image_converter.json": KERAS_HUB,
})  # fmt: skip


def converted(path: Path) -> tuple[Input, tuple[str, ...]]:
    """The picture and the labels that `edge-convert` writes for a network beside these files."""
    spec = TensorSpec(name="pixel_values", dtype="float32", shape=(None, 3, 96, 96))
    sums = [lambda tensors: [np.stack([tensors["pixel_values"].mean(axis=(1, 2, 3)) * i for i in (1, -9, 99)], axis=1)]]
    network = Network("torch", (spec,), ("logits",), sums[0], layout="NCHW")
    manifest = planning.plan(network, None, Options(task="classify"), Source("torch", "pt2", path)).manifest
    return manifest.inputs[0], manifest.labels


@given(files=FOLDERS, whole=st.booleans())
@settings(max_examples=40, deadline=None)
def test_both_programs_read_the_same_in_a_folder(files: dict[str, Any], whole: bool) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, content in files.items():
            (folder / name).write_text(json.dumps(content)[: None if whole else -1])
        taken = {"pixel_values": (FLOAT, [1, 3, 96, 96])}
        path = build(folder / "m.onnx", taken, {"logits": random(1, CLASSES, low=-4)})
        read = describe(path)
        (running,) = read.manifest.inputs
        image, labels = converted(path)
        said = beside.read(path)
    assert labels == read.manifest.labels
    assert set(read.warnings) >= {note for note in said.notes if "left out" in note}
    if said.pictures.std or said.pictures.mean:
        assert (image.mean, image.std) == (running.mean, running.std)
        assert (image.resize, image.crop_fraction) == (running.resize, running.crop_fraction)
        assert image.color == running.color
        assert image.resize != "letterbox-topleft" or image.pad == running.pad == 0
    else:
        assert any("--mean and --std" in w for w in read.warnings) or read.reasons["inputs.mean"].endswith(".json")


@given(files=FOLDERS)
@settings(max_examples=60, deadline=None)
def test_a_picture_of_free_size_has_the_size_of_the_files(files: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, content in files.items():
            (folder / name).write_text(json.dumps(content))
        taken = {"pixel_values": (FLOAT, ["n", 3, "h", "w"])}
        path = build(folder / "m.onnx", taken, {"logits": random(1, CLASSES, low=-4)})
        (running,) = describe(path).manifest.inputs
        size = beside.read(path).pictures.size
    assert running.size == (size or (224, 224))


@pytest.mark.parametrize(
    "text", ['{"image_mean": "no", "image_std": 1}', '{"do_rescale": true, "size": {"height": 2}}', "{"]
)
def test_a_file_that_cannot_be_read_is_left_out_and_told_with_its_name(text: str, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(text)
    path = build(tmp_path / "m.onnx", {"x": (FLOAT, [1, 3, 96, 96])}, {"y": random(1, CLASSES, low=-4)})
    (note,) = beside.read(path).notes
    assert note.startswith("preprocessor_config.json beside the model is left out")
    assert note in describe(path).warnings


def test_a_folder_that_is_a_model_is_looked_into(tmp_path: Path) -> None:
    (tmp_path / "preprocess.json").write_text('{"mean": [0.5], "std": [0.5], "crop_size": [224], "resize_size": [256]}')
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    found = beside.read(tmp_path)
    assert (found.pictures.size, found.pictures.resize, found.pictures.crop_fraction) == ((224, 224), "crop", 0.875)
    assert (found.labels, found.pictures.mean) == (("cat", "dog"), (127.5,))


def test_the_scale_and_offset_of_keras_hub_become_mean_and_std(tmp_path: Path) -> None:
    config = {"image_size": [96, 128], "scale": 1 / 127.5, "offset": -1.0, "crop_to_aspect_ratio": False}
    (tmp_path / "image_converter.json").write_text(json.dumps({"config": config}))
    found = beside.read(tmp_path / "model.keras").pictures
    assert (found.size, found.resize) == ((128, 96), "stretch")
    assert (*found.mean, *found.std) == pytest.approx((127.5, 127.5))


def test_labels_beside_the_model_are_told_where_they_are_taken_and_only_there(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("red\ngreen\nblue\n")
    path = build(tmp_path / "m.onnx", {"x": (FLOAT, [1, 3, 96, 96])}, {"y": random(1, CLASSES, low=-4)})
    assert beside.read(path).notes == ("labels taken from names.txt beside the model",)
    assert beside.read(path, labelled=True) == beside.Beside()
