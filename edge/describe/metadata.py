"""What a foreign model says of itself, in one form, whoever wrote it: `edge.describe.embedded` reads it."""

from __future__ import annotations

from typing import Literal

import msgspec

from edge.data.vocabulary import Activation, CropRounding, Resample, Task

Resize = Literal["stretch", "letterbox", "letterbox-topleft", "crop"]


class Pictures(msgspec.Struct, frozen=True):
    """How pictures become numbers, in the manifest's words; None and () where it does not say."""

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    size: tuple[int, int] | None = None
    """Width and height."""
    resize: Resize | Literal[""] = ""
    crop_fraction: float = 1.0
    resample: Resample = ""
    crop_rounding: CropRounding = "down"
    pad: int | None = None
    color: Literal["RGB", "BGR"] = "RGB"


class AnomalyScale(msgspec.Struct, frozen=True):
    """How anomalib (before 2) turns its scores into 0 to 1: `threshold` becomes 0.5, `high` - `low` the whole span."""

    threshold: float
    low: float
    high: float
    preset: str = ""
    """How pictures become numbers."""


class Metadata(msgspec.Struct, frozen=True):
    """Fields that nothing was written for are empty."""

    producer: str = ""
    description: str = ""
    license: str = ""
    task: Task | None = None
    kind: str = ""
    """The task in Ultralytics' words: detect, segment, pose, obb, classify, semantic, depth."""
    head: str = ""
    """The class of an Ultralytics head: Detect, RTDETRDecoder."""
    family: str = ""
    """The architecture in the Hugging Face Hub's words: detr, rt_detr_v2."""
    activation: Activation = ""
    """What makes probabilities of logits, where a file beside the model says what kind of problem it solves."""
    sample_rate: int = 0
    """Of the sound that the model takes; 0 where nothing says."""
    standardises: bool = False
    """True: each sound has to have a mean of 0 and a deviation of 1."""
    labels: tuple[str, ...] = ()
    characters: tuple[str, ...] = ()
    """The letters that a model of text tells apart, without the blank."""
    size: tuple[int, int] | None = None
    """Width and height."""
    pictures: Pictures | None = None
    """How pictures become numbers."""
    pictures_from: str = ""
    """Where `pictures` stands."""
    color: Literal["", "RGB", "BGR"] = ""
    """The order of colours, where the file says it or its graph shows it."""
    scales_itself: str = ""
    """"pixels": the graph scales pixels itself; "unit": it normalises what lies between 0 and 1."""
    input_range: tuple[float, float] | None = None
    """What the first operator of the graph, which quantises the input, takes at most."""
    threshold: float | None = None
    anomaly: AnomalyScale | None = None
    detection_outputs: tuple[str, ...] = ()
    detection_scores: int = 0
    extras: int = 0
    keypoints: tuple[int, int] = (0, 0)
    input_keys: tuple[str, ...] = ()
    output_keys: tuple[str, ...] = ()
    """What the signature of the file calls its inputs and outputs, in order; "" for what it does not name."""
    warnings: tuple[str, ...] = ()

    @property
    def is_sound(self) -> bool:
        """A .tflite file says of its input that it takes sound; a file beside a model may be of its features."""
        return self.producer == "tflite" and self.sample_rate > 0
