"""What lies beside a model says how its pictures are prepared and what its classes are called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from converter.networks import sidecars
from edge.errors import ConfigError

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def beside(folder: Path, name: str, content: Any) -> Path:
    (folder / name).write_text(json.dumps(content))
    return folder / "model.pt2"


def test_nothing_beside_a_model_gives_no_hints(tmp_path: Path) -> None:
    assert sidecars.read(tmp_path / "model.pt2") == sidecars.Hints()


def test_a_resnet_of_hugging_face_is_cut_from_the_middle(tmp_path: Path) -> None:
    model = beside(
        tmp_path,
        "preprocessor_config.json",
        {
            "do_resize": True, "size": {"shortest_edge": 256}, "do_center_crop": True,
            "crop_size": {"height": 224, "width": 224}, "do_rescale": True, "rescale_factor": 1 / 255,
            "do_normalize": True, "image_mean": IMAGENET["mean"], "image_std": IMAGENET["std"],
        },
    )  # fmt: skip

    hints = sidecars.read(model)

    assert (hints.size, hints.resize, hints.crop_fraction) == ((224, 224), "crop", 0.875)
    assert hints.mean == pytest.approx((123.675, 116.28, 103.53))
    assert hints.std == pytest.approx((58.395, 57.12, 57.375))
    assert "preprocessor_config.json" in hints.notes[0]


def test_a_vision_transformer_of_hugging_face_is_stretched(tmp_path: Path) -> None:
    model = beside(
        tmp_path,
        "preprocessor_config.json",
        {"size": {"height": 200, "width": 224}, "do_normalize": False, "do_rescale": True},
    )

    hints = sidecars.read(model)

    assert (hints.size, hints.resize, hints.mean, hints.std) == ((224, 200), "stretch", (0.0,), (255.0,))


def test_labels_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = {str(i): f"class {i}" for i in (10, 2, *range(2), *range(3, 10))}

    assert sidecars.read(beside(tmp_path, "config.json", {"id2label": names})).labels == tuple(
        f"class {i}" for i in range(11)
    )


def test_a_model_of_timm_says_it_all_in_one_file(tmp_path: Path) -> None:
    config = {**IMAGENET, "input_size": [3, 240, 320], "crop_pct": 0.9}
    content = {"pretrained_cfg": config, "label_names": ["cat", "dog"]}

    hints = sidecars.read(beside(tmp_path, "config.json", content))

    assert (hints.size, hints.resize, hints.crop_fraction, hints.labels) == ((320, 240), "crop", 0.9, ("cat", "dog"))
    assert hints.mean == pytest.approx((123.675, 116.28, 103.53))


def test_the_preset_of_torchvision_is_read(tmp_path: Path) -> None:
    content = {**IMAGENET, "crop_size": [224], "resize_size": [256], "interpolation": "bilinear"}

    hints = sidecars.read(beside(tmp_path, "preprocess.json", content))

    assert (hints.size, hints.resize, hints.crop_fraction) == ((224, 224), "crop", 0.875)


def test_the_scale_and_offset_of_keras_hub_become_mean_and_std(tmp_path: Path) -> None:
    config = {"image_size": [96, 96], "scale": 1 / 127.5, "offset": -1.0, "crop_to_aspect_ratio": False}

    hints = sidecars.read(beside(tmp_path, "image_converter.json", {"config": config}))

    assert (hints.size, hints.resize) == ((96, 96), "stretch")
    assert (*hints.mean, *hints.std) == pytest.approx((127.5, 127.5))


@pytest.mark.parametrize("text", ['{"image_mean": "no", "image_std": 1}', '{"size": {"height": 2}}', "{"])
def test_a_broken_file_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(text)

    with pytest.raises(ConfigError, match=r"preprocessor_config\.json"):
        sidecars.read(tmp_path / "model.keras")
