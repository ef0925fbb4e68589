"""Points, zones and lines."""

from __future__ import annotations

import math

import pytest

from edge.tracking.places import Place, crosses, depth, inward, side, slimness

SQUARE = ((10.0, 10.0), (30.0, 10.0), (30.0, 30.0), (10.0, 30.0))
# A U, open above: the point between its arms is outside.
CUP = ((0.0, 0.0), (10.0, 0.0), (10.0, 20.0), (20.0, 20.0), (20.0, 0.0), (30.0, 0.0), (30.0, 30.0), (0.0, 30.0))


@pytest.mark.parametrize(
    ("at", "deep"), [((20, 20), 10), ((12, 20), 2), ((5, 20), -5), ((20, 34), -4), ((33, 34), -5), ((33, 6), -5)]
)
def test_how_deep_a_point_is_in_a_polygon(at, deep):
    assert depth(SQUARE, at) == pytest.approx(deep)
    assert depth(SQUARE[::-1], at) == pytest.approx(deep)


@pytest.mark.parametrize(("at", "inside"), [((15, 10), False), ((5, 10), True), ((25, 10), True), ((15, 25), True)])
def test_polygons_need_not_be_convex(at, inside):
    assert (depth(CUP, at) > 0) is inside


def test_to_the_right_of_a_line_is_down_where_it_goes_right():
    gate = ((0.0, 100.0), (50.0, 100.0))
    assert (side(gate, (20, 130)), side(gate, (20, 70))) == (30, -30)


@pytest.mark.parametrize(("x", "through"), [(25, True), (0, True), (50, True), (60, False), (-5, False)])
def test_a_way_past_the_end_of_a_line_does_not_cross_it(x, through):
    assert crosses(((0.0, 100.0), (50.0, 100.0)), (x, 90), (x, 120)) is through


def test_shares_are_of_the_frame_and_pixels_stay():
    zone = Place("door", ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0)))
    assert zone.within(640, 480).points == ((0, 0), (320, 0), (320, 480))
    assert Place("door", SQUARE).within(640, 480).points == SQUARE


FRAME = (640.0, 480.0)
LOWER_HALF = ((0.0, 240.0), (639.0, 240.0), (639.0, 479.0), (0.0, 479.0))


@pytest.mark.parametrize(("at", "deep"), [((300, 480), 238), ((0, 300), 60), ((640, 480), 238), ((300, 200), -40)])
def test_an_edge_along_the_border_of_the_frame_is_none(at, deep):
    assert depth(LOWER_HALF, inward(at, FRAME), FRAME) == pytest.approx(deep)


def test_in_a_zone_that_is_the_whole_frame_all_is_deep():
    assert depth(((0, 0), (640, 0), (640, 480), (0, 480)), inward((640, 480), FRAME), FRAME) == math.inf


@pytest.mark.parametrize(
    ("polygon", "least", "most"), [(SQUARE, 4, 10), (((0, 0), (400, 0), (400, 20), (0, 20)), 9, 10)]
)
def test_a_zone_is_at_least_as_deep_as_it_is_slim(polygon, least, most):
    assert least < slimness(polygon) <= most
    assert slimness(polygon) == slimness(polygon[::-1])


@pytest.mark.parametrize(
    ("size", "outside"), [((640, 480), False), ((31, 31), False), ((10, 480), True), ((640, 8), True)]
)
def test_a_place_in_pixels_may_be_outside_of_a_frame(size, outside):
    assert Place("door", SQUARE).out_of(*size) is outside
