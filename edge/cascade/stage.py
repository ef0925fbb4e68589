"""`--then FILE`: each object is cut out of the picture and shown to a second model; what that says is told with it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from edge.cascade.gallery import Gallery
from edge.data.result import Detection, Nested, Raw, Result, Skipped, Timing
from edge.data.sample import Frame, Image, Sample
from edge.data.tensor import Array
from edge.errors import SampleError
from edge.pipeline.pipeline import Pipeline
from edge.pipeline.results import timing
from edge.preprocess.image import picture
from edge.preprocess.image.decode import Decoded

TENSOR = "a tensor, and no picture to cut the object out of"


SMALLEST = 1.0
"""Pixels: of less there is nothing to see."""


class Objects(msgspec.Struct, frozen=True):
    """Which objects the second model sees, and how much of the picture.

    `labels`: the first model's, empty for all. `margin`: what is added on each side, as a share of the box's. `least`:
    pixels of the shorter side, so far as it is in the frame; a smaller object is passed over. `most`: of one picture,
    the surest first.
    """

    labels: frozenset[str] = frozenset()
    margin: float = 0.0
    least: float = 16.0
    most: int = 10


class Cascade:
    """Belongs to one thread, as its pipeline does."""

    def __init__(
        self,
        pipeline: Pipeline,
        objects: Objects,
        gallery: Gallery | None = None,
        now: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """`gallery` names the vectors of the second model. `now` gives nanoseconds, of which differences count."""
        self._pipeline, self._objects, self._gallery = pipeline, objects, gallery
        self._now = now
        self._model = pipeline.identity.model.name
        self._task = "classify" if gallery is not None else pipeline.identity.task

    def __call__(self, sample: Sample, result: Result, frame: Frame | None) -> Result:
        """The result with `then` in each object that was looked at; `timing_ms` holds the time of both models."""
        chosen = self._chosen(result.predictions, frame)
        if not chosen:
            return result
        began = self._now()
        try:
            shown = picture(sample.payload)
        except SampleError as exc:
            return self._told(result, dict.fromkeys(chosen, self._nothing(str(exc))))
        if not isinstance(shown, Decoded):
            return self._told(result, dict.fromkeys(chosen, self._nothing(TENSOR)))
        crops = {at: _Crop(shown, result.predictions[at].box, self._objects.margin) for at in chosen}
        spent = timing(self._now() - began, 0, 0)
        found = self._found(sample, [crop.pixels for crop in crops.values()])
        nested = {at: self._nested(one, crop) for (at, crop), one in zip(crops.items(), found, strict=True)}
        times = [one.timing_ms for one in found if isinstance(one, Result)]
        return self._told(replace(result, timing_ms=_sum([result.timing_ms, spent, *times])), nested)

    def _chosen(self, predictions: Sequence[Any], frame: Frame | None) -> list[int]:
        """Places of the objects that are looked at; of one that the frame cuts off what is in it counts."""
        wanted = [
            at
            for at, p in enumerate(predictions)
            if isinstance(p, Detection)
            and (not self._objects.labels or p.label in self._objects.labels)
            and _shorter_side(p.box, frame) >= max(self._objects.least, SMALLEST)
        ]
        return sorted(wanted, key=lambda at: -predictions[at].score)[: self._objects.most]

    def _found(self, sample: Sample, crops: Sequence[Array]) -> list[Result | Skipped]:
        samples = [Sample(Image(c), sample.source, sample.captured_ns, sample.time_ns) for c in crops]
        found: list[Result | Skipped] = []
        while len(found) < len(samples):
            works = self._pipeline.prepare(samples[len(found) : len(found) + self._pipeline.batching.at_once])
            found += [outcomes[0] for outcomes in self._pipeline.run(works)]
        return found

    def _nested(self, found: Result | Skipped, crop: _Crop) -> Nested:
        if isinstance(found, Skipped):
            return self._nothing(found.reason)
        predictions = found.predictions
        if self._gallery is not None:
            (vector,) = predictions
            assert isinstance(vector, Raw)
            if len(vector.data) != (width := self._gallery.width):
                return self._nothing(f"a vector of {len(vector.data)} numbers, and those of the gallery have {width}")
            return Nested(self._model, self._task, self._gallery.named(np.asarray(vector.data, np.float64)))
        return Nested(self._model, self._task, [crop.placed(p) for p in predictions])

    def _nothing(self, reason: str) -> Nested:
        return Nested(self._model, self._task, [], reason)

    @staticmethod
    def _told(result: Result, nested: dict[int, Nested]) -> Result:
        told = [replace(p, then=nested[at]) if at in nested else p for at, p in enumerate(result.predictions)]
        return replace(result, predictions=told)


class _Crop:
    """The part of a picture in which an object is."""

    def __init__(self, picture: Decoded, box: tuple[float, float, float, float], margin: float) -> None:
        height, width = picture.pixels.shape[:2]
        # A picture that was too large for the memory is smaller than the one whose pixels the box counts.
        self._across, self._down = picture.size[0] / width, picture.size[1] / height
        left, right = _span(box[0], box[2], margin, self._across, width)
        top, bottom = _span(box[1], box[3], margin, self._down, height)
        self.pixels = np.ascontiguousarray(picture.pixels[top:bottom, left:right])
        self._left, self._top = left, top

    def placed(self, prediction: Any) -> Any:
        """With its points in pixels of the captured frame."""
        if not isinstance(prediction, Detection):
            return prediction
        p = prediction
        (x_min, y_min), (x_max, y_max) = self._at(*p.box[:2]), self._at(*p.box[2:])
        return replace(
            p,
            box=(x_min, y_min, x_max, y_max),
            keypoints=[(*self._at(x, y), score) for x, y, score in p.keypoints] if p.keypoints else p.keypoints,
            corners=[self._at(x, y) for x, y in p.corners] if p.corners else p.corners,
            polygons=[[self._at(x, y) for x, y in one] for one in p.polygons] if p.polygons else p.polygons,
        )

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return round((x + self._left) * self._across, 2), round((y + self._top) * self._down, 2)


def _shorter_side(box: tuple[float, float, float, float], frame: Frame | None) -> float:
    """In pixels of the frame; 0 or less where nothing of the box is in it."""
    left, top, right, bottom = box
    if frame is not None:
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, frame.width), min(bottom, frame.height)
    return min(right - left, bottom - top)


def _span(low: float, high: float, margin: float, scale: float, most: int) -> tuple[int, int]:
    """First and last pixel, the last not included; at least one."""
    more = (high - low) * margin
    first = min(max(0, math.floor((low - more) / scale)), most - 1)
    return first, max(first + 1, min(most, math.ceil((high + more) / scale)))


def _sum(times: Sequence[Timing]) -> Timing:
    return Timing(*(round(sum(getattr(t, stage) for t in times), 3) for stage in Timing.__struct_fields__))
