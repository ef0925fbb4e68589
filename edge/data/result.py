"""A result, schema 1. `edge/data/result.schema.json` says the same as JSON Schema."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

SCHEMA = 1


class ModelRef(msgspec.Struct, frozen=True):
    """Which model made a result; `sha256` is of the model file and of files with its weights, in hexadecimal."""

    name: str
    version: str
    sha256: str


class Classification(msgspec.Struct, frozen=True):
    """A class and its score (a probability where the model gives one)."""

    index: int
    label: str
    score: float


class Nested(msgspec.Struct, frozen=True):
    """What a second model says of an object: its name, its task, and its predictions as in a result of its own, boxes
    and points in pixels of the captured frame. `reason`: why there are none."""

    model: str
    task: str
    predictions: list[Any]
    reason: str | UnsetType = UNSET


class Detection(msgspec.Struct, frozen=True):
    """An object; `box` is x_min, y_min, x_max, y_max in pixels of the captured frame.

    `keypoints` are x, y, score. An oriented box has its four `corners`, clockwise, and the `angle` of its first edge in
    radians, clockwise from the right. `polygons` are the outlines of its mask, the largest first.
    Of an object that is followed: its `track_id`, unique in this boot, its `age` in frames since it was first seen, and
    the frames for which it was `lost` just before this one, where there were such; the `zones` in which it is.
    `then`: what a second model says of it.
    """

    index: int
    label: str
    score: float
    box: tuple[float, float, float, float]
    keypoints: list[tuple[float, float, float]] | UnsetType = UNSET
    angle: float | UnsetType = UNSET
    corners: list[tuple[float, float]] | UnsetType = UNSET
    polygons: list[list[tuple[float, float]]] | UnsetType = UNSET
    track_id: int | UnsetType = UNSET
    age: int | UnsetType = UNSET
    lost: int | UnsetType = UNSET
    zones: list[str] | UnsetType = UNSET
    then: Nested | UnsetType = UNSET

    @property
    def inner(self) -> Any:
        """What a second model says of it first; None where that is nothing."""
        return self.then.predictions[0] if self.then and self.then.predictions else None


class Regression(msgspec.Struct, frozen=True):
    """A number the model predicts, with its unit where the manifest names one."""

    name: str
    value: float
    unit: str | UnsetType = UNSET


class Anomaly(msgspec.Struct, frozen=True):
    """How far a sample is from the normal, and which side of the threshold."""

    score: float
    is_anomaly: bool


class Segmentation(msgspec.Struct, frozen=True):
    """Labels seen and the share of the picture (0 to 1) that each covers."""

    labels: list[str]
    areas: list[float]


class Text(msgspec.Struct, frozen=True):
    """A line of text that was read, and the mean probability of its characters."""

    text: str
    score: float


class Raw(msgspec.Struct, frozen=True):
    """An output as it is; `data` is flat, row-major."""

    name: str
    shape: list[int]
    dtype: str
    data: list[Any]


Prediction: TypeAlias = Classification | Detection | Regression | Anomaly | Segmentation | Text | Raw


class Timing(msgspec.Struct, frozen=True):
    """Milliseconds by stage."""

    preprocess: float
    infer: float
    postprocess: float


class Event(msgspec.Struct, frozen=True):
    """What happened to an object that is followed, in the frame of its result. `direction` of a `line`: `in` from its
    left to its right, seen from its first point to its second. `dwell_s`: how long it was in the `zone`, or there.
    `source` where it is another one than the result's: a topic that is followed no more."""

    type: Literal["appear", "gone", "enter", "leave", "cross"]
    track_id: int
    label: str
    zone: str | UnsetType = UNSET
    line: str | UnsetType = UNSET
    direction: Literal["in", "out"] | UnsetType = UNSET
    dwell_s: float | UnsetType = UNSET
    source: str | UnsetType = UNSET


class EventMessage(msgspec.Struct, frozen=True):
    """An event as it is published on `event`. `edge/data/event.schema.json` says the same as JSON Schema."""

    schema: int
    id: str
    time: str
    device: str
    model: str
    source: str
    seq: int
    type: str
    track_id: int
    label: str
    zone: str | UnsetType = UNSET
    line: str | UnsetType = UNSET
    direction: str | UnsetType = UNSET
    dwell_s: float | UnsetType = UNSET


class Result(msgspec.Struct, frozen=True):
    """One sample's result. `id` is device/model/boot/seq: unique, so a consumer drops repeats by it. With
    zones: `counts` of the objects in each, by label; with tracks: the `events` of this frame, where there are such."""

    schema: int
    id: str
    time: str
    clock_synced: bool
    device: str
    model: ModelRef
    source: str
    seq: int
    task: str
    predictions: list[Any]
    timing_ms: Timing
    input_id: str | int | UnsetType = UNSET
    retained: bool | UnsetType = UNSET
    replayed: bool | UnsetType = UNSET
    counts: dict[str, dict[str, int]] | UnsetType = UNSET
    events: list[Event] | UnsetType = UNSET


class Skipped(msgspec.Struct, frozen=True):
    """A sample that was skipped, as published on `error`."""

    schema: int
    id: str
    time: str
    device: str
    model: str
    source: str
    seq: int
    reason: str
    input_id: str | int | UnsetType = UNSET
    replayed: bool | UnsetType = UNSET
