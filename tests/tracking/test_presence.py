"""What happens to an object on its way through zones and over lines: each thing once."""

from __future__ import annotations

import pytest
from msgspec import UNSET

from edge.data.result import Detection
from edge.tracking.places import Place
from edge.tracking.presence import Presences

SECOND = 1_000_000_000
DOOR = Place("door", ((100.0, 0.0), (200.0, 0.0), (200.0, 400.0), (100.0, 400.0)))
GATE = Place("gate", ((300.0, 0.0), (300.0, 200.0)))


def box(x: float, y: float = 150.0, label: str = "person") -> Detection:
    """40 wide and 100 tall; the middle of its bottom edge is at x, y."""
    return Detection(0, label, 0.9, (x - 20, y - 100, x + 20, y))


def happens(presences: Presences, *way: float, track_id: int = 1, y: float = 150.0) -> list[tuple[str, object]]:
    """The events on a way, a second for each step, as type and place."""
    told = []
    for n, x in enumerate(way):
        told += presences.seen(track_id, box(x, y), n * SECOND)
    return [(e.type, e.line if e.zone is UNSET else e.zone) for e in told]


@pytest.fixture
def presences():
    return Presences([DOOR], [GATE], "bottom")


def test_an_object_appears_enters_and_leaves_once(presences):
    assert happens(presences, 50, 80, 110, 150, 190, 220, 250) == [
        ("appear", UNSET),
        ("enter", "door"),
        ("leave", "door"),
    ]


def test_one_that_appears_in_a_zone_enters_it(presences):
    assert happens(presences, 102, 102) == [("appear", UNSET), ("enter", "door")]


def test_one_that_trembles_on_an_edge_does_nothing(presences):
    assert happens(presences, 90, 103, 98, 104, 97, 103) == [("appear", UNSET)]
    assert happens(presences, 150, 201, 198, 204, 197, track_id=2) == [("appear", UNSET), ("enter", "door")]


def test_dwell_is_in_seconds(presences):
    told = [e for n, x in enumerate((50, 150, 150, 150, 250)) for e in presences.seen(1, box(x), n * SECOND)]
    assert [e.dwell_s for e in told if e.type == "leave"] == [3.0]
    assert [(e.type, e.dwell_s) for e in presences.ended(1)] == [("gone", 4.0)]


def test_one_that_is_gone_leaves_its_zones_first(presences):
    happens(presences, 150, 150, 150)
    assert [(e.type, e.zone, e.dwell_s) for e in presences.ended(1)] == [("leave", "door", 2.0), ("gone", UNSET, 2.0)]
    assert presences.counts() == {"door": {}}


def test_what_never_had_an_id_is_not_gone(presences):
    assert presences.ended(7) == []


def test_objects_in_a_zone_are_counted_by_label(presences):
    for track_id, label in ((1, "person"), (2, "person"), (3, "dog")):
        presences.seen(track_id, box(150, label=label), 0)
    presences.seen(4, box(250), 0)
    assert presences.counts() == {"door": {"person": 2, "dog": 1}}
    assert (presences.zones_of(1), presences.zones_of(4)) == (["door"], [])


@pytest.mark.parametrize(("way", "direction"), [((280, 295, 304, 320), "out"), ((320, 304, 295, 280), "in")])
def test_a_line_is_crossed_once_and_in_a_direction(presences, way, direction):
    """Its second point is below the first: to the right of it is the left of the frame."""
    told = [e for n, x in enumerate(way) for e in presences.seen(1, box(x), n)]
    assert [(e.type, e.line, e.direction) for e in told if e.type == "cross"] == [("cross", "gate", direction)]


def test_one_that_trembles_on_a_line_crosses_it_once(presences):
    assert happens(presences, 280, 303, 297, 304, 298, 310, 297, 303, 320).count(("cross", "gate")) == 1


def test_past_the_end_of_a_line_is_not_across(presences):
    assert happens(presences, 280, 320, y=300.0) == [("appear", UNSET)]


def test_a_fast_one_crosses_too(presences):
    assert ("cross", "gate") in happens(presences, 250, 390)


def test_the_center_may_be_the_point_that_counts():
    zone = Place("high", ((0.0, 0.0), (400.0, 0.0), (400.0, 120.0), (0.0, 120.0)))
    presences = Presences([zone], [], "center")
    presences.seen(1, box(150, y=150), 0)
    assert presences.zones_of(1) == ["high"]


def test_shares_wait_for_the_size_of_the_frame():
    presences = Presences([Place("left", ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)))], [], "bottom")
    presences.of_size(400, 300)
    presences.seen(1, box(150), 0)
    presences.seen(2, box(250), 0)
    assert (presences.zones_of(1), presences.zones_of(2)) == (["left"], [])


def test_shares_are_of_each_size_that_the_frames_have():
    presences = Presences([Place("left", ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)))], [], "bottom")
    for track_id, width in ((1, 400), (2, 1000), (3, 400)):
        presences.of_size(width, 300)
        presences.seen(track_id, box(300), 0)
    assert [presences.zones_of(track_id) for track_id in (1, 2, 3)] == [[], ["left"], []]


def test_a_frame_of_another_size_moves_nobody_over_a_line():
    presences = Presences([], [Place("middle", ((0.5, 0.0), (0.5, 1.0)))], "bottom")
    told = []
    for n, (width, x) in enumerate(((400, 150), (200, 150), (200, 150), (200, 60))):
        presences.of_size(width, 400)
        told += [e.type for e in presences.seen(1, box(x), n)]
    assert told == ["appear", "cross"]


def test_an_object_that_the_border_of_the_frame_cuts_off_is_in_the_zone_there():
    presences = Presences([Place("all", ((0.0, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0)))], [], "bottom")
    presences.of_size(400, 300)
    assert happens(presences, 150, 200, 250, y=300.0) == [("appear", UNSET), ("enter", "all")]


def test_a_large_object_comes_into_a_narrow_zone():
    strip = Place("strip", ((0.0, 145.0), (400.0, 145.0), (400.0, 151.0), (0.0, 151.0)))
    presences = Presences([strip], [], "bottom")
    told = [e.type for n, y in enumerate((120, 148, 170)) for e in presences.seen(1, box(150, y), n)]
    assert told == ["appear", "enter", "leave"]


def test_what_is_not_in_the_frame_is_named_once_for_each_size():
    presences = Presences([DOOR], [GATE], "bottom")
    assert presences.of_size(640, 480) == []
    assert presences.of_size(150, 480) == ["gate"]
    assert presences.of_size(150, 480) == []
