"""Ids that stay with their object."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from support.scenes import scene

from edge.tracking.tracker import TRACKS_MOST, Seen, Tracker

FRAME_NS = 1_000_000_000 // 30


class Film:
    """Frames one after the other into a tracker, a 30th of a second apart unless said."""

    def __init__(self, lost_s: float = 1.0) -> None:
        self.tracker = Tracker(lost_s, itertools.count(1).__next__)
        self._time_ns = 0

    def show(self, *boxes, scores=None, classes=None, after_ns: int = FRAME_NS) -> Seen:
        self._time_ns += after_ns
        count = len(boxes)
        return self.tracker.step(
            np.array(boxes, dtype=np.float64).reshape(-1, 4),
            np.array(classes or [0] * count, dtype=np.int64),
            np.array(scores or [0.9] * count) >= 0.5,
            self._time_ns,
        )


def at(x: float, y: float = 100.0):
    return (x, y, x + 50, y + 100)


@pytest.fixture
def film():
    return Film()


def walk(film, start: int, frames: int, step: float = 5.0) -> Seen:
    for n in range(frames):
        seen = film.show(at(start + n * step))
    return seen


def test_an_object_has_an_id_from_the_second_frame_on_and_keeps_it(film):
    assert film.show(at(0)).ids.tolist() == [0]
    assert [film.show(at(5 * n)).ids.tolist() for n in range(1, 30)] == [[1]] * 29


def test_the_age_is_in_frames_since_the_first(film):
    assert walk(film, 0, 10).ages.tolist() == [9]


def test_two_objects_that_cross_keep_their_ids(film):
    ids = [film.show(at(10 * n), at(300 - 10 * n, 120)).ids.tolist() for n in range(31)]
    assert ids[5] == ids[-1] == [1, 2]


def test_an_object_that_was_out_of_sight_has_its_id_again_where_it_went_to(film):
    walk(film, 0, 20)
    for _ in range(8):
        film.show()
    seen = film.show(at(5 * 28))
    assert (seen.ids.tolist(), seen.missed.tolist(), seen.ages.tolist()) == ([1], [8], [28])


def test_an_object_that_was_out_of_sight_for_too_long_is_another_one(film):
    walk(film, 0, 20)
    ended = [film.show().ended for _ in range(35)]
    assert [e for e in ended if e] == [(1,)]
    assert walk(film, 0, 2).ids.tolist() == [2]


def test_time_counts_and_not_frames():
    """Of 30 frames a second every tenth comes: the object is where it went to meanwhile, half its width on."""
    film = Film()
    walk(film, 0, 20, step=8)
    assert film.show(at(8 * 29), after_ns=10 * FRAME_NS).ids.tolist() == [1]


def test_a_low_score_goes_on_with_a_track_and_begins_none(film):
    walk(film, 0, 5)
    assert film.show(at(25), at(400), scores=[0.2, 0.2]).ids.tolist() == [1, 0]
    assert film.show(at(30), at(400), scores=[0.2, 0.2]).ids.tolist() == [1, 0]


def test_what_is_seen_once_and_not_again_takes_no_id(film):
    walk(film, 0, 5)
    film.show(at(25), at(400))
    film.show(at(30))
    film.show(at(35), at(400))
    assert film.show(at(40), at(400)).ids.tolist() == [1, 2]


def test_no_other_class_takes_a_track_over(film):
    walk(film, 0, 5)
    assert film.show(at(25), classes=[3]).ids.tolist() == [0]


def test_a_recording_that_begins_again_has_other_objects(film):
    walk(film, 0, 5)
    assert film.show(at(25), after_ns=-3 * FRAME_NS).ended == (1,)
    assert film.show(at(25)).ids.tolist() == [2]


def test_frames_of_one_time_follow_one_another(film):
    walk(film, 0, 5)
    assert film.show(at(25), after_ns=0).ids.tolist() == [1]


def test_memory_is_bounded():
    film = Film(lost_s=1e6)
    for n in range(8):
        boxes = [at(60 * i, 5000 * n) for i in range(300)]
        film.show(*boxes)
        film.show(*boxes)
    assert len(film.tracker) == TRACKS_MOST


def test_the_same_frames_give_the_same_ids():
    def ids():
        film = Film()
        return [film.show(*f.boxes, scores=f.scores.tolist()).ids.tolist() for f in scene(3, frames=100)]

    assert ids() == ids()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_in_a_crowd_with_misses_and_false_boxes_ids_hardly_switch(seed):
    """20 objects, 200 frames: an object's box has its object's id; when it gets another one, that is a switch."""
    film, switches, told, of = Film(), 0, 0, {}
    for frame in scene(seed, frames=200):
        seen = film.show(*frame.boxes, scores=frame.scores.tolist())
        for thing, box in frame.truth.items():
            near = np.abs(frame.boxes - np.array(box)).max(axis=1)
            nearest = int(near.argmin())
            if near[nearest] < 12 and seen.ids[nearest]:
                told += 1
                switches += of.get(thing, seen.ids[nearest]) != seen.ids[nearest]
                of[thing] = seen.ids[nearest]
    assert told > 3300
    assert switches <= 12


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_box_without_numbers_takes_nobody_elses_track(wrong):
    film = Film()
    seen = [film.show((10, 10, 50, 90), (10, 10, wrong, 90)).ids.tolist() for _ in range(4)]
    assert seen == [[0, 0], [1, 0], [1, 0], [1, 0]]
