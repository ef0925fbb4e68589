"""A camera that is watched, window by window: what is told of it, in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from support.drifting import HOUR_S, MODEL

from edge.data.result import Classification, Detection, ModelRef, Result, Timing
from edge.data.sample import ModelInput
from edge.drift import reference
from edge.drift.look import SIZE, look
from edge.drift.reference import FeatureReference, Reference
from edge.drift.report import Report
from edge.drift.rule import ARMED
from edge.drift.tally import Looker, PictureTally
from edge.drift.watch import DriftWatch, Subject
from edge.pipeline.results import timestamp
from edge.telemetry.metrics import Metrics
from edge.testing.fakes import FakeClock

PICTURES = 10
WIDTH, HEIGHT = 160, 120

Fault = Callable[[np.ndarray], np.ndarray]
Found = Callable[[int], list[Any]]


def world(seed: int = 0) -> np.ndarray:
    """A scene that is wider than the camera sees."""
    random = np.random.default_rng(seed)
    coarse = cv2.resize(random.uniform(0, 255, (9, 13)).astype(np.float32), (240, 200), interpolation=cv2.INTER_CUBIC)
    fine = cv2.GaussianBlur(random.normal(0, 60, (200, 240)).astype(np.float32), (0, 0), 0.8)
    return np.clip(coarse * 0.8 + fine + 25, 0, 255)


def lens(picture: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(picture, (0, 0), 0.7)


def night(picture: np.ndarray) -> np.ndarray:
    return picture * 0.12


def same(picture: np.ndarray) -> np.ndarray:
    return picture


class Camera:
    """`hours` lets time pass; `at` is where it looks, in pixels."""

    def __init__(
        self, folder: Path, predictions: Sequence[FeatureReference] = (reference.of_classes({"day": 10, "night": 10}),)
    ) -> None:
        self._random = np.random.default_rng(4)
        self._world = world()
        self.at = 40
        looks = np.stack([look(self.picture()) for _ in range(20)])
        features, thumbnail, alike = reference.of_pictures(looks)
        made = Reference(
            rows=20, features=features, thumbnail=thumbnail, alike=alike,
            predictions=tuple(predictions),
        )  # fmt: skip
        self.reference = reference.read(msgspec.to_builtins(made), (), pictures=True)
        self.clock = FakeClock(time_ns=1_700_000_000 // 3600 * 3600 * 10**9)
        self.metrics = Metrics()
        subject = Subject("device", "model", MODEL, self.reference, folder / "drift.json", HOUR_S)
        self.watch = DriftWatch(subject, self.clock, self.metrics, timestamp)
        self.watch.open()
        self.tally = PictureTally(self.watch.put, self.clock.monotonic_ns)
        self.tally.open(self.watch.places, self.watch.predicted_places)

    def picture(self, fault: Fault = same) -> np.ndarray:
        seen = self._world[40 : 40 + HEIGHT, self.at : self.at + WIDTH] * self._random.uniform(0.8, 0.9)
        seen = fault(seen) + self._random.normal(0, 1.5, seen.shape)
        return np.repeat(np.clip(seen, 0, 255).astype(np.uint8)[..., None], 3, axis=2)

    def give(self, seen: np.ndarray, *found: Any) -> None:
        result = Result(
            1, "d/m/b/1", "", True, "d", ModelRef("m", "1", ""), "s", 1, "classify",
            list(found or [Classification(0, "day", 0.9)]), Timing(0, 0, 0),
        )  # fmt: skip
        self.tally.watch(result, {}, ModelInput({}, look=seen))

    def hours(self, count: int, fault: Fault = same, night: float = 0.5, found: Found | None = None) -> Report:
        """The last report. `found`: in the picture of a number; else "night" in such a share of them, or "day"."""
        half = found or (lambda number: [Classification(0, "night" if number < night * PICTURES else "day", 0.9)])
        for _ in range(count):
            looks = [look(self.picture(fault)) for _ in range(3)]
            for number in range(PICTURES):
                self.give(looks[number % 3], *half(number))
            self.tally.end()
            self.clock.advance(HOUR_S)
            self.watch.tick()
        return self.watch.newest

    @property
    def alarms(self) -> int:
        return int(self.metrics.counter("drift_alarms"))


@pytest.fixture
def camera(folder: Path) -> Camera:
    return Camera(folder)


def test_objects_are_watched_by_their_classes_and_by_how_many_there_are(folder: Path) -> None:
    street = Camera(folder, (reference.of_classes({"person": 30, "car": 10}), reference.of_objects(range(16))))

    def hours(count: int, people: int, cars: int) -> Report:
        found = [Detection(0, "person", 0.9, (0, 0, 9, 9))] * people + [Detection(1, "car", 0.9, (0, 0, 9, 9))] * cars
        return street.hours(count, found=lambda number: found[number % 3 :])

    hours(ARMED, people=4, cars=2)
    assert hours(2, people=4, cars=2).state == "ok"

    crowd = hours(2, people=8, cars=4).features
    assert [(f.name, f.of, f.kind, f.direction) for f in crowd if not f.alone] == [
        ("objects", "prediction", "place", "up")
    ]
    hours(4, people=4, cars=2)
    queue = hours(2, people=2, cars=4).features
    assert {(f.name, f.category, f.direction) for f in queue if f.kind == "share"} == {
        ("class", "car", "up"), ("class", "person", "down"),
    }  # fmt: skip


def test_objects_that_are_seen_less_surely_are_one_alarm_and_a_quiet_hour_is_none(folder: Path) -> None:
    random = np.random.default_rng(1)
    known = (reference.of_classes({"person": 60}), reference.of_objects(range(16)))
    street = Camera(folder, (*known, reference.of_scores(np.linspace(0.3, 0.98, 60))))

    def hours(count: int, less: float = 0.0, people: int = 6) -> Report:
        def found(_: int) -> list[Any]:
            return [Detection(0, "person", s - less, (0, 0, 9, 9)) for s in random.uniform(0.3, 0.98, people).tolist()]

        return street.hours(count, found=found)

    hours(ARMED + 6)
    quiet = hours(2, people=1).features
    hours(4)
    duller = hours(2, less=0.3).features

    assert {f.name for f in quiet} == {"objects"}
    assert ("object score", "prediction", "place", "down") in [
        (f.name, f.of, f.kind, f.direction) for f in duller if not f.alone
    ]


def kinds(report: Report) -> set[str]:
    return {f.kind for f in report.features if not f.alone}


@pytest.mark.parametrize(("fault", "kind", "by"), [(lens, "blurred", 0), (night, "darker", 0), (same, "moved", 20)])
def test_a_fault_of_a_camera_is_one_alarm_in_words_within_two_windows(
    camera: Camera, fault: Fault, kind: str, by: int
) -> None:
    assert camera.hours(30).state == "ok"

    camera.at += by
    report = camera.hours(2, fault)

    assert report.state == "drifted"
    assert kind in kinds(report)
    assert camera.alarms == 1


def test_blur_alone_is_told_of_a_lens_and_no_move(camera: Camera) -> None:
    camera.hours(30)

    assert kinds(camera.hours(2, lens)) == {"blurred"}


def test_a_day_that_is_darker_by_hours_is_no_drift_once_a_week_was_learnt(camera: Camera) -> None:
    def daylight(picture: np.ndarray) -> np.ndarray:
        hour = camera.clock.time_ns() // int(HOUR_S * 1e9) % 24
        return picture * (0.7 + 0.3 * np.cos(2 * np.pi * hour / 24))

    camera.hours(172, daylight)

    assert camera.alarms == 0
    assert "darker" in kinds(camera.hours(2, lambda picture: daylight(picture) * 0.5))


def test_classes_of_pictures_are_watched(camera: Camera) -> None:
    camera.hours(30)

    report = camera.hours(2, night=1.0)

    assert {(f.of, f.kind) for f in report.features} == {("prediction", "share")}


def test_a_camera_that_sends_the_same_picture_for_ever_stands_still(camera: Camera) -> None:
    camera.hours(25)
    seen = look(camera.picture())

    for _ in range(32):
        camera.give(seen)
    camera.tally.end()
    camera.watch.tick()

    assert camera.watch.newest.state == "drifted"
    assert {(f.name, f.kind) for f in camera.watch.newest.features} == {("picture", "stuck")}


def test_a_camera_that_was_learnt_looking_elsewhere_than_the_sample_is_doubtful(camera: Camera) -> None:
    camera.hours(24, lambda picture: picture[::-1, ::-1])

    assert "scene" in camera.watch.newest.doubtful


def test_one_picture_in_ten_seconds_is_looked_at() -> None:
    clock = FakeClock()
    looker = Looker(10.0, clock.monotonic_ns)
    picture = np.zeros((8, 8, 3), np.uint8)

    seen = []
    for _ in range(21):
        seen.append(looker(picture) is not None)
        clock.advance(1.0)

    assert [i for i, looked in enumerate(seen) if looked] == [0, 10, 20]


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (5, 300), (1000, 3)])
def test_a_picture_of_any_size_can_be_looked_at(shape: tuple[int, int]) -> None:
    found = look(np.random.default_rng(0).integers(0, 255, (*shape, 3)).astype(np.uint8))

    assert found.shape == (SIZE,)
    assert np.isfinite(found).all()


def test_a_reference_of_rows_or_a_damaged_one_is_no_reference_of_pictures(camera: Camera) -> None:
    rows = Reference(rows=9, features=(reference.of_numbers("a", np.arange(9.0)),))
    known = msgspec.to_builtins(camera.reference)

    for found, text in ((msgspec.to_builtins(rows), "of rows"), ({**known, "thumbnail": "AAAA"}, "3 bytes")):
        with pytest.raises(ValueError, match=text):
            reference.read(found, (), pictures=True)
    with pytest.raises(ValueError, match="of pictures"):
        reference.read(known, ("a",))
