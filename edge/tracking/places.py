"""Zones and lines in a frame, and how far a point is from their edge. Pure.

A point that trembles on an edge would come and go with each frame. So an object changes sides only when it is past the
edge by more than a band, and stays where it was within it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import msgspec

Point: TypeAlias = tuple[float, float]
Size: TypeAlias = tuple[float, float]
BORDER = 1.0
"""Pixels: what is not further from the frame's border is on it."""


class Place(msgspec.Struct, frozen=True):
    """A zone has at least three `points`, a line two. In pixels of the frame, or in shares of its width and height
    where all are from 0 to 1."""

    name: str
    points: tuple[Point, ...]

    def out_of(self, width: float, height: float) -> bool:
        """Whether nothing of it is in a frame of this size, where it is in pixels."""
        return min(x for x, _ in self.points) >= width or min(y for _, y in self.points) >= height

    def within(self, width: float, height: float) -> Place:
        """In pixels of a frame of this size."""
        if any(value > 1 for point in self.points for value in point):
            return self
        return Place(self.name, tuple((x * width, y * height) for x, y in self.points))


def slimness(polygon: Sequence[Point]) -> float:
    """Pixels: the area by the perimeter. Of a long strip half its width, and never more than what is inside at most."""
    edges = list(zip(polygon, (*polygon[1:], polygon[0]), strict=True))
    area = abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in edges)) / 2
    return area / sum(math.dist(a, b) for a, b in edges)


def inward(at: Point, size: Size) -> Point:
    """The point of the frame next to this one that is not on its border: a box that the border cuts off ends there."""
    x, y = (min(max(value, 2 * BORDER), most - 2 * BORDER) for value, most in zip(at, size, strict=True))
    return x, y


def depth(polygon: Sequence[Point], at: Point, size: Size = (math.inf, math.inf)) -> float:
    """Pixels from the edge: above 0 within the polygon, below 0 outside of it. An edge along the border of a frame of
    this `size` is none: nothing comes or goes there but with the frame's own end."""
    x, y = at
    inside, nearest = False, math.inf
    before = polygon[-1]
    for corner in polygon:
        if not _along_border(before, corner, size):
            nearest = min(nearest, _distance(before, corner, at))
        (x0, y0), (x1, y1) = before, corner
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
            inside = not inside
        before = corner
    return nearest if inside else -nearest


def side(line: Sequence[Point], at: Point) -> float:
    """Pixels from the line, as long as one likes: above 0 to its right, seen from its first point to its second."""
    (x0, y0), (x1, y1) = line
    return ((x1 - x0) * (at[1] - y0) - (y1 - y0) * (at[0] - x0)) / math.hypot(x1 - x0, y1 - y0)


def crosses(line: Sequence[Point], start: Point, end: Point) -> bool:
    """Whether the way between two points on its two sides goes through the line, and not past its ends."""
    way = (start, end)
    return side(way, line[0]) * side(way, line[1]) <= 0


def _along_border(a: Point, b: Point, size: Size) -> bool:
    return any(
        max(a[axis], b[axis]) <= BORDER or min(a[axis], b[axis]) >= most - BORDER for axis, most in enumerate(size)
    )


def _distance(a: Point, b: Point, at: Point) -> float:
    """Of a point from the stretch between two."""
    along_x, along_y = b[0] - a[0], b[1] - a[1]
    length = along_x**2 + along_y**2
    share = 0.0 if not length else ((at[0] - a[0]) * along_x + (at[1] - a[1]) * along_y) / length
    share = min(1.0, max(0.0, share))
    return math.hypot(at[0] - a[0] - share * along_x, at[1] - a[1] - share * along_y)
