from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.data.sample import EncodedImage, Image, Reply, Sample
from edge.data.units import SECOND_NS
from edge.runtime.motion_gate import MotionGate

RATE = 10


class Scene:
    """Frames of a room, each with noise of its own."""

    def __init__(self, noise: float) -> None:
        self._random = np.random.default_rng(7)
        self._noise = noise
        patches = self._random.integers(10, 220, (9, 12, 3)).astype(np.uint8)
        self._room = cv2.resize(patches, (320, 240), interpolation=cv2.INTER_CUBIC).astype(np.float32)

    def frame(self, light: float = 1.0, person_at: int | None = None) -> np.ndarray:
        frame = self._room.copy()
        if person_at is not None:
            frame[80:140, person_at : person_at + 20] += 60
        frame = frame * light + self._random.normal(0, self._noise, frame.shape)
        return np.clip(frame, 0, 255).astype(np.uint8)


def jpeg(frame: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", frame)[1].tobytes()


PAYLOADS = {"pixels": Image, "file": lambda f: EncodedImage(jpeg(f)), "bytes": jpeg}


def passed(gate: MotionGate, payloads, source: str = "camera:0", begin: int = 0) -> list[int]:
    """Which of the frames pass."""
    times = (SECOND_NS + (begin + n) * SECOND_NS // RATE for n in range(len(payloads)))
    samples = [Sample(p, source, time_ns, 0) for p, time_ns in zip(payloads, times, strict=True)]
    return [n for n, sample in enumerate(samples) if gate(sample) is not None]


@pytest.fixture
def gate():
    return MotionGate(0.001, 0, live=True)


@pytest.mark.parametrize("kind", PAYLOADS)
@pytest.mark.parametrize("noise", [0, 4, 20])
def test_of_a_still_scene_the_first_frame_passes_however_the_sensor_trembles(gate, kind, noise):
    scene = Scene(noise)
    assert passed(gate, [PAYLOADS[kind](scene.frame()) for _ in range(30)]) == [0]


def test_who_walks_through_is_seen_in_each_frame_even_where_it_is_dark_and_noisy(gate):
    scene = Scene(6)
    walk = [scene.frame(0.4, person_at=10 + 8 * n) for n in range(20)]
    assert passed(gate, [Image(f) for f in [scene.frame(0.4)] * 5 + walk]) == [0, *range(5, 25)]


@pytest.mark.parametrize(
    "light", [lambda n: 1 - n / 200, lambda n: 1 + 0.05 * np.sin(n), lambda n: 1.0 if n < 20 else 0.6]
)
def test_a_change_of_the_light_is_no_motion(gate, light):
    scene = Scene(4)
    assert passed(gate, [Image(scene.frame(light(n))) for n in range(60)]) == [0]


def test_what_came_to_stand_still_is_no_motion_after_some_seconds(gate):
    scene = Scene(4)
    seen = passed(gate, [Image(scene.frame(person_at=100 if n else None)) for n in range(100)])
    assert seen == list(range(len(seen)))
    assert len(seen) < 80


def test_another_scene_is_one_frame_of_motion(gate):
    scene, other = Scene(2), np.full((240, 320, 3), 255, np.uint8)
    other[:, ::40] = 0
    assert passed(gate, [Image(f) for f in [scene.frame()] * 5 + [other] * 20]) == [0, 5]


def test_a_frame_of_another_size_passes(gate):
    assert passed(gate, [Image(np.zeros(shape, np.uint8)) for shape in [(48, 64, 3)] * 2 + [(64, 48, 3)] * 2]) == [0, 2]


def test_after_the_keepalive_a_frame_passes_all_the_same():
    frame = Image(Scene(0).frame())
    assert passed(MotionGate(0.001, 2.0, live=True), [frame] * 50) == [0, 20, 40]


def test_pictures_of_a_recording_go_by_its_own_time():
    gate = MotionGate(0.001, 1.0, live=False)
    samples = [Sample(Image(Scene(0).frame()), "x.mp4", 0, 0, at_ns=n * SECOND_NS // 4) for n in range(9)]
    assert [n for n, s in enumerate(samples) if gate(s) is not None] == [0, 4, 8]
    untimed = [Sample(s.payload, "pictures", 0, 0) for s in samples * 7]
    gate = MotionGate(0.001, 1.0, live=False)
    assert [n for n, s in enumerate(untimed) if gate(s) is not None] == [0, 30, 60]


def test_each_topic_is_looked_at_by_itself(gate):
    one, other = Scene(0).frame(), np.zeros((240, 320, 3), np.uint8)
    samples = [Sample(jpeg(f), f"mqtt:{n}", n, 0) for n, f in enumerate([one, other])] * 3
    assert [gate(sample) is not None for sample in samples] == [True, True, False, False, False, False]


def test_what_it_cannot_look_at_and_what_asks_for_an_answer_passes(gate):
    picture = jpeg(Scene(0).frame())
    asked = Sample(picture, "mqtt:a", 1, 0, Reply("answers"))
    cut = Sample(picture[:300], "mqtt:a", 1, 0)
    row = Sample(b'{"a": 1}', "mqtt:a", 1, 0)
    for sample in (asked, cut, row) * 3:
        assert gate(sample) is sample


def test_what_was_sent_before_passes_for_its_result_may_have_died_with_the_process(gate):
    picture = jpeg(Scene(0).frame())
    samples = [Sample(picture, "mqtt:a", 1, 0, redelivered=again) for again in (False, False, True, True, False)]
    assert [gate(sample) is not None for sample in samples] == [True, False, True, True, False]


def test_how_long_nothing_moved_is_told_with_the_next_frame_that_passes():
    frame, gate = Image(Scene(0).frame()), MotionGate(0.001, 2.0, live=True)
    found = [gate(Sample(frame, "camera:0", SECOND_NS + n * SECOND_NS // RATE, 0)) for n in range(41)]
    assert [s.still_ns for s in found if s is not None] == [0, 19 * SECOND_NS // RATE, 38 * SECOND_NS // RATE]
