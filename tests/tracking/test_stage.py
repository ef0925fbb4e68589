"""Results with the ids of their objects: streams kept apart, thresholds kept."""

from __future__ import annotations

import logging

import pytest
from msgspec import UNSET

from edge.data.result import Detection, ModelRef, Result, Timing
from edge.data.sample import Frame, Sample
from edge.tracking.places import Place
from edge.tracking.stage import STREAMS_MOST, Places, Tracking

SECOND = 1_000_000_000
FRAME_NS = SECOND // 30


def result(*objects: Detection) -> Result:
    ref, timing = ModelRef("m", "1", "00"), Timing(0, 0, 0)
    return Result(1, "d/m/0/1", "", True, "d", ref, "s", 1, "detect", list(objects), timing)


def person(x: float, score: float = 0.9) -> Detection:
    return Detection(0, "person", score, (x, 10.0, x + 40, 90.0))


class Camera:
    def __init__(self, tracking: Tracking, source: str = "camera:0") -> None:
        self._tracking, self._source, self._time_ns = tracking, source, SECOND

    def frame(self, *objects: Detection, after_ns: int = FRAME_NS) -> list[Detection]:
        self._time_ns += after_ns
        return self._tracking(Sample(None, self._source, self._time_ns, 0), result(*objects)).predictions


def ids(objects: list[Detection]) -> list[object]:
    return [o.track_id for o in objects]


@pytest.fixture
def tracking():
    return Tracking(1.0, 0.5, live=True)


@pytest.fixture
def camera(tracking):
    return Camera(tracking)


def test_all_else_of_a_result_stays_as_it_is(camera):
    camera.frame(person(0))
    (found,) = camera.frame(person(2))
    assert (found.label, found.score, found.box) == ("person", 0.9, (2.0, 10.0, 42.0, 90.0))
    assert (found.track_id, found.age, found.lost) == (1, 1, UNSET)


def test_an_object_without_a_track_is_told_as_ever(camera):
    assert ids(camera.frame(person(0))) == [UNSET]


def test_below_the_threshold_only_what_goes_on_with_a_track_is_told(camera):
    camera.frame(person(0))
    camera.frame(person(2))
    found = camera.frame(person(4, 0.2), person(500, 0.2))
    assert [(o.track_id, o.score) for o in found] == [(1, 0.2)]


def test_an_object_that_comes_back_says_for_how_many_frames_it_was_lost(camera):
    camera.frame(person(0))
    camera.frame(person(0))
    camera.frame()
    camera.frame()
    assert [o.lost for o in camera.frame(person(0))] == [2]


def test_two_topics_have_objects_of_their_own(tracking):
    door, yard = (Camera(tracking, f"mqtt:edge/{name}/input") for name in ("door", "yard"))
    for _ in range(3):
        seen = [*door.frame(person(0)), *yard.frame(person(0))]
    assert ids(seen) == [1, 2]


def test_the_files_of_a_folder_are_one_stream(tracking):
    first = Tracking(1.0, 0.5, live=False)
    found = [first(Sample(None, f"{n}.jpg", 0, 0), result(person(2 * n))).predictions for n in range(4)]
    assert [ids(f) for f in found] == [[UNSET], [1], [1], [1]]


def test_a_recording_goes_by_its_own_time_and_not_by_how_fast_it_is_read():
    tracking = Tracking(1.0, 0.5, live=False)

    def frame(at_s: float, captured_s: float) -> list[object]:
        sample = Sample(None, "film.mp4", int(captured_s * SECOND), 0, at_ns=int(at_s * SECOND))
        return ids(tracking(sample, result(person(0))).predictions)

    assert [frame(0.1 * n, 100.0 * n) for n in range(4)] == [[UNSET], [1], [1], [1]]
    assert frame(2.0, 400.1) == [UNSET]


def test_topics_past_the_bound_are_forgotten_oldest_first(tracking):
    first = Camera(tracking, "mqtt:0")
    first.frame(person(0))
    first.frame(person(0))
    for n in range(1, STREAMS_MOST + 1):
        Camera(tracking, f"mqtt:{n}").frame(person(0))
    assert ids(first.frame(person(0))) == [UNSET]


def test_frames_too_far_apart_to_follow_anything_are_told_once(camera, caplog):
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            camera.frame(person(0), after_ns=3 * SECOND)
    assert [r.getMessage() for r in caplog.records] == [
        "objects are not followed: frames come too slowly; say a longer --track"
    ]


def test_zones_counts_and_events_are_in_the_result():
    door = Place("door", ((0.0, 0.0), (300.0, 0.0), (300.0, 300.0), (0.0, 300.0)))
    tracking = Tracking(1.0, 0.5, Places(zones=(door,)), live=True)

    def frame(at_s: float, *objects: Detection) -> Result:
        return tracking(Sample(None, "camera:0", int(at_s * SECOND), 0), result(*objects))

    frame(1.0, person(0))
    seen = frame(1.1, person(0))
    assert [o.zones for o in seen.predictions] == [["door"]]
    assert [(e.type, e.track_id, e.label) for e in seen.events] == [("appear", 1, "person"), ("enter", 1, "person")]
    assert seen.counts == {"door": {"person": 1}}
    still = frame(1.2)
    assert (still.counts, still.events) == ({"door": {"person": 1}}, UNSET)
    assert [e.type for e in frame(3.0).events] == ["leave", "gone"]


def test_without_zones_there_are_no_counts(camera, tracking):
    camera.frame(person(0))
    found = tracking(Sample(None, "camera:0", 2 * SECOND, 0), result(person(0)))
    assert found.counts is UNSET
    assert found.predictions[0].zones is UNSET


def test_a_zone_that_is_not_in_the_frame_is_told_once(caplog):
    door = Place("door", ((3000.0, 0.0), (3300.0, 0.0), (3300.0, 300.0)))
    tracking = Tracking(1.0, 0.5, Places(zones=(door,)), live=True)
    with caplog.at_level(logging.WARNING):
        for n, width in enumerate((640, 640, 1280)):
            tracking(Sample(None, "camera:0", (n + 1) * FRAME_NS, 0), result(person(0)), Frame(width, 480))
    assert [(r.getMessage(), r.place) for r in caplog.records] == [
        ("a zone or line is not in the frame: nothing comes there", "door")
    ]


def test_more_topics_than_are_told_apart_are_told_once(tracking, caplog):
    with caplog.at_level(logging.WARNING):
        for n in range(STREAMS_MOST + 3):
            Camera(tracking, f"mqtt:{n}").frame(person(0))
    assert [r.getMessage() for r in caplog.records] == ["objects are followed in some topics only: there are too many"]


def test_pictures_that_come_together_take_no_time_of_their_own():
    """A payload of thirty frames each second: what is seen for two seconds was there for two."""
    tracking = Tracking(1.5, 0.5, live=True)
    events = []
    for second in range(1, 8):
        for _ in range(30):
            objects = [person(0)] if second <= 3 else []
            found = tracking(Sample(None, "mqtt:door", second * SECOND, 0), result(*objects))
            events += found.events or []
    assert [(e.type, e.dwell_s) for e in events] == [("appear", UNSET), ("gone", 2.0)]


def test_objects_of_a_topic_that_makes_room_for_another_leave_and_are_gone_with_its_name():
    zone = Place("door", ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)))
    tracking = Tracking(1.0, 0.5, Places(zones=(zone,)), live=True)
    time_ns, told = SECOND, []
    for n in (0, 0, *range(1, STREAMS_MOST + 1)):
        time_ns += FRAME_NS
        sample = Sample(None, f"mqtt:cam/{n}", time_ns, 0)
        found = tracking(sample, result(person(0)), Frame(100, 100))
        told += [] if found.events is UNSET else found.events
    ended = [(e.type, e.source) for e in told if e.source is not UNSET]
    assert ended == [("leave", "mqtt:cam/0"), ("gone", "mqtt:cam/0")]


def test_who_stands_still_keeps_the_track_and_who_had_left_is_gone():
    """Two were there, one has left; then nothing moves for a minute, and its frames are left out."""
    tracking = Tracking(1.5, 0.5, live=True)
    # time and stillness in s, objects; one frame has passed the gate unseen, so that it tells of no stillness
    frames = [(0, 0, 2), (1, 0, 2), (2, 0, 1), (62, 59, 1), (63, 59, 1), (64, 0, 1), (65, 59, 1)]
    told = []
    for at_s, still_s, count in frames:
        sample = Sample(None, "camera:0", (at_s + 1) * SECOND, 0, still_ns=still_s * SECOND)
        told.append(tracking(sample, result(*[person(0), person(300)][:count])))
    assert [[o.track_id for o in r.predictions] for r in told[1:]] == [[1, 2], [1], [1], [1], [1], [1]]
    gone = [(e.type, e.track_id, e.dwell_s) for r in told for e in r.events or () if e.type == "gone"]
    assert gone == [("gone", 2, 0.0)]
