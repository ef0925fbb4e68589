"""Files beside a model that say how it was trained: the one reader of them, for both programs.

Optimum lays `config.json` and `preprocessor_config.json` beside the .onnx file; the Hugging Face Hub's own repositories
have the file in a folder `onnx` and these above it. timm writes the same into the `pretrained_cfg` of its
`config.json`, KerasHub an `image_converter.json`; torchvision's presets are read from `preprocess.json` or
`transforms.json`.
anomalib before version 2 lays a `metadata.json` with its threshold beside the model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from edge.data.vocabulary import Activation, Task
from edge.describe import hugging_face, image_processors
from edge.describe.metadata import AnomalyScale, Pictures
from edge.model.label_tables import once

MAX_BYTES = 16 * 2**20
_CONFIG, _TRANSFORMERS = "config.json", "preprocessor_config.json"


def _timm(content: Mapping[str, Any]) -> Pictures | None:
    timm = content.get("pretrained_cfg")
    return image_processors.timm(timm) if isinstance(timm, dict) else None


_READERS: dict[str, Callable[[Mapping[str, Any]], Pictures | None]] = {
    _TRANSFORMERS: hugging_face.pictures,
    _CONFIG: _timm,
    "image_converter.json": image_processors.keras_hub,
    "preprocess.json": image_processors.torchvision,
    "transforms.json": image_processors.torchvision,
}
NEIGHBOURS = tuple(_READERS)
"""Which of them tell how pictures become numbers; the first that does so is believed."""


class Config(msgspec.Struct, frozen=True):
    """What lies beside a model. `file` is where the pictures were read, `warnings` what could not be read."""

    family: str = ""
    task: Task | None = None
    kind: str = ""
    """"depth" where the architecture gives nothing else."""
    activation: Activation = ""
    sample_rate: int = 0
    standardises: bool = False
    pictures: Pictures | None = None
    file: str = ""
    anomaly: AnomalyScale | None = None
    warnings: tuple[str, ...] = ()


def read(model: Path) -> Config:
    """`model` is a file, or the folder that is one. What cannot be read says nothing, but a warning."""
    first = model if model.is_dir() else model.parent
    warnings: list[str] = []
    said = Config()
    for folder in [first] + ([first.parent] if first.name == "onnx" else []):
        files = {name: _json(folder / name, warnings) for name in NEIGHBOURS}
        if not said.family:
            said = _of_transformers(files[_CONFIG])
        said = said if said.sample_rate else replace(said, **_sound(files[_TRANSFORMERS]))
        for name, content in files.items():
            pictures = _pictures(name, content, warnings)
            if pictures is not None:
                return replace(said, pictures=pictures, file=name, warnings=tuple(warnings))
    return replace(said, anomaly=_anomalib(_json(first / "metadata.json", [])), warnings=tuple(warnings))


def _of_transformers(config: Mapping[str, Any]) -> Config:
    """The family, what transformers' own pipelines make of logits by the kind of problem, and whether it is depth.

    Other architectures tell nothing of the outputs: the same file stands beside exports of their features.
    """
    kind = config.get("problem_type") if "model_type" in config else None
    activation: Activation = ""
    if "model_type" in config:
        activation = "sigmoid" if kind == "multi_label_classification" else "softmax"
    classes = config.get("architectures") if "model_type" in config else None
    depth = isinstance(classes, list) and any(str(c).endswith("ForDepthEstimation") for c in classes)
    task: Task | None = "regress" if kind == "regression" else "raw" if depth else None
    return Config(_family(config), task, "depth" if depth else "", activation)


def _sound(content: Mapping[str, Any]) -> dict[str, Any]:
    """Of a feature extractor of transformers; one of features (spectrograms) gives no sound to the model."""
    rate = content.get("sampling_rate")
    if type(rate) is not int or not 0 < rate <= 10_000_000:
        return {}
    wave = content.get("feature_extractor_type") == "Wav2Vec2FeatureExtractor"
    return {"sample_rate": rate, "standardises": wave and content.get("do_normalize", True) is True}


def _family(config: Mapping[str, Any]) -> str:
    family = config.get("model_type") or (config.get("architecture") if "pretrained_cfg" in config else None)
    return family if isinstance(family, str) else ""


def _pictures(name: str, content: Mapping[str, Any], warnings: list[str]) -> Pictures | None:
    try:
        pictures = _READERS[name](content)
        if pictures is not None and min(pictures.std, default=1.0) <= 0:
            raise ValueError("what pixels are divided by is not above 0")
        if pictures is not None and not all(map(math.isfinite, (*pictures.mean, *pictures.std))):
            raise ValueError("what is done with pixels gives no numbers")
    except ValueError as exc:
        warnings.append(f"{name} beside the model is left out: {exc}; mend or move it")
        return None
    if pictures is not None and name == _TRANSFORMERS:
        warnings += [f"{name}: {doubt}" for doubt in hugging_face.doubts(content)]
    return pictures


def _anomalib(content: Mapping[str, Any]) -> AnomalyScale | None:
    """Since version 1 the range is of `pred_scores` and the model normalises pictures itself; before, the host did."""
    threshold, low, high = (
        next((content[k] for k in keys if image_processors.is_number(content.get(k))), None)
        for keys in (("image_threshold",), ("pred_scores.min", "min"), ("pred_scores.max", "max"))
    )
    if threshold is None or low is None or high is None or not high > low:
        return None
    return AnomalyScale(threshold, low, high, "imagenet" if "transform" in content else "stretched")


def _json(path: Path, warnings: list[str]) -> Mapping[str, Any]:
    """An object; empty where there is none."""
    try:
        size = path.stat().st_size
    except OSError:
        return {}
    try:
        value = json.loads(path.read_bytes(), object_pairs_hook=once) if size <= MAX_BYTES else None
    except (OSError, ValueError, RecursionError) as exc:
        warnings.append(f"{path.name} beside the model is left out: {exc}; mend or move it")
        return {}
    return value if isinstance(value, dict) else {}
