"""A network for pictures, converted with a folder of them: edge-run's answer to a picture file is PyTorch's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import converter
import edge

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(5)
    for name, colour in (("leaf", (40, 160, 60)), ("sky", (70, 120, 220))):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(12):
            pixels = np.clip(random.normal(colour, 30, (24, 32, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "pictures" / name / f"{i}.png"), pixels[:, :, ::-1])
    return tmp_path / "pictures"


@pytest.fixture
def network(torch: Any) -> Any:
    torch.manual_seed(2)
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2)
    ).eval()


def by_torch(torch: Any, network: Any, file: Path) -> np.ndarray:
    pixels = cv2.imread(str(file))[:, :, ::-1].astype(np.float32) / 255
    planes = ((pixels - np.float32(MEAN)) / np.float32(STD)).transpose(2, 0, 1)
    with torch.no_grad():
        return torch.softmax(network(torch.from_numpy(planes[None].copy())), 1).numpy()[0]


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_flags_say_how_pictures_are_prepared(
    target: str, folder: Path, network: Any, torch: Any, tmp_path: Path
) -> None:
    artifact = converter.convert(
        network, target=target, sample=folder, input_size=(32, 24), mean=tuple(255 * m for m in MEAN),
        std=tuple(255 * s for s in STD),
    )  # fmt: skip
    model = edge.load(artifact.save(tmp_path / f"m.{target}"))

    assert artifact.manifest.labels == ("leaf", "sky")
    assert artifact.manifest.parity.accuracy_before is not None
    for file in sorted(folder.rglob("*.png"))[::5]:
        got = {p.index: p.score for p in model.predict(file.read_bytes()).predictions}
        np.testing.assert_allclose([got[0], got[1]], by_torch(torch, network, file), atol=1e-4)


def test_the_configuration_beside_the_model_says_it_too(folder: Path, network: Any, torch: Any, tmp_path: Path) -> None:
    place = tmp_path / "model"
    place.mkdir()
    auto = torch.export.Dim.AUTO
    torch.export.save(
        torch.export.export(network, (torch.zeros(4, 3, 24, 32),), dynamic_shapes=({0: auto},)), place / "plants.pt2"
    )
    prepared = {"size": {"height": 24, "width": 32}, "do_normalize": True, "image_mean": MEAN, "image_std": STD}
    (place / "preprocessor_config.json").write_text(json.dumps(prepared))
    (place / "config.json").write_text(json.dumps({"id2label": {"0": "leaf", "1": "sky"}}))

    artifact = converter.convert(place / "plants.pt2", sample=folder)
    model = edge.load(artifact.save(tmp_path / "m.onnx"))

    file = folder / "sky/3.png"
    got = {p.label: p.score for p in model.predict(file.read_bytes()).predictions}
    np.testing.assert_allclose([got["leaf"], got["sky"]], by_torch(torch, network, file), atol=1e-4)
    assert "preprocessor_config.json" in " ".join(artifact.notes)


def test_a_folder_of_pictures_calibrates_int8(folder: Path, network: Any) -> None:
    artifact = converter.convert(network, sample=folder, input_size=(32, 24), quantize="int8")

    assert artifact.manifest.parity.rows == 24
    assert artifact.manifest.parity.max_difference < 0.1
