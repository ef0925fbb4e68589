"""Where the tracks of one stream are, and what happens: an object appears, is gone, enters or leaves a zone, crosses
a line.

An object that is out of sight stays where it was until it is found again or gone; then it leaves its zones first.
Enters less leaves are what a zone counts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import msgspec

from edge.data.result import Detection, Event
from edge.data.units import SECOND_NS
from edge.tracking.places import Place, Point, Size, crosses, depth, inward, side, slimness

BAND = 0.05
"""Of the box's height: so far past an edge an object has to be."""
BAND_LEAST = 2.0
"""Pixels."""
BAND_MOST = 0.5
"""Of how slim a zone is: a large object comes into a narrow zone, too."""

Anchor = Literal["bottom", "center"]


class _Presence(msgspec.Struct):
    """`zones`: by name since when. `sides`: by line where the object was last for sure on one side."""

    label: str
    first_ns: int
    last_ns: int
    zones: dict[str, int] = msgspec.field(default_factory=dict)
    sides: dict[str, Point] = msgspec.field(default_factory=dict)


class Presences:
    """Belongs to one thread; bounded by its tracker, which says what is no more."""

    def __init__(self, zones: Sequence[Place], lines: Sequence[Place], anchor: Anchor) -> None:
        self._stated, self._anchor = (zones, lines), anchor
        self._zones, self._lines = zones, lines
        self._size: Size = (math.inf, math.inf)
        self._present: dict[int, _Presence] = {}

    def of_size(self, width: float, height: float) -> list[str]:
        """How large the frames are, in pixels; again where that changes: then the names of what is not in them."""
        if self._size == (width, height):
            return []
        self._size = (width, height)
        zones, lines = self._stated
        self._zones = [zone.within(width, height) for zone in zones]
        self._lines = [line.within(width, height) for line in lines]
        for known in self._present.values():
            known.sides.clear()  # these are points of the frames of before
        return [place.name for place in (*self._zones, *self._lines) if place.out_of(width, height)]

    def ended(self, track_id: int) -> list[Event]:
        """The object is gone."""
        known = self._present.pop(track_id, None)
        if known is None:
            return []
        leaves = [
            _event("leave", track_id, known, zone=name, dwell_s=_seconds(known.last_ns - since))
            for name, since in known.zones.items()
        ]
        return [*leaves, _event("gone", track_id, known, dwell_s=_seconds(known.last_ns - known.first_ns))]

    def all_ended(self) -> list[Event]:
        """None of them is followed any more."""
        return [event for track_id in tuple(self._present) for event in self.ended(track_id)]

    def seen(self, track_id: int, found: Detection, time_ns: int) -> list[Event]:
        """The object is there."""
        known = self._present.get(track_id)
        events: list[Event] = []
        if known is None:
            known = self._present[track_id] = _Presence(found.label, time_ns, time_ns)
            events.append(_event("appear", track_id, known))
        known.last_ns = time_ns
        x_min, y_min, x_max, y_max = found.box
        at = ((x_min + x_max) / 2, y_max if self._anchor == "bottom" else (y_min + y_max) / 2)
        band = max(BAND_LEAST, BAND * (y_max - y_min))
        edge = 0.0 if events else band  # where it appears there is no side yet that it could have changed
        for zone in self._zones:
            events += self._in_zone(track_id, known, zone, at, edge)
        for line in self._lines:
            events += self._at_line(track_id, known, line, at, band)
        return events

    def zones_of(self, track_id: int) -> list[str]:
        """The zones in which the object is."""
        return list(self._present[track_id].zones)

    def counts(self) -> dict[str, dict[str, int]]:
        """By zone and label how many are there."""
        found: dict[str, Counter[str]] = {zone.name: Counter() for zone in self._zones}
        for known in self._present.values():
            for name in known.zones:
                found[name][known.label] += 1
        return {name: dict(counted) for name, counted in found.items()}

    def _in_zone(self, track_id: int, known: _Presence, zone: Place, at: Point, band: float) -> list[Event]:
        since = known.zones.get(zone.name)
        deep = depth(zone.points, inward(at, self._size), self._size)
        band = min(band, BAND_MOST * slimness(zone.points))
        if since is None and deep > band:
            known.zones[zone.name] = known.last_ns
            return [_event("enter", track_id, known, zone=zone.name)]
        if since is not None and deep < -band:
            del known.zones[zone.name]
            return [_event("leave", track_id, known, zone=zone.name, dwell_s=_seconds(known.last_ns - since))]
        return []

    def _at_line(self, track_id: int, known: _Presence, line: Place, at: Point, band: float) -> list[Event]:
        now = side(line.points, at)
        if abs(now) <= band:
            return []
        before = known.sides.get(line.name)
        known.sides[line.name] = at
        if before is None or side(line.points, before) * now > 0 or not crosses(line.points, before, at):
            return []
        return [_event("cross", track_id, known, line=line.name, direction="in" if now > 0 else "out")]


def _event(
    kind: Literal["appear", "gone", "enter", "leave", "cross"], track_id: int, known: _Presence, **more: object
) -> Event:
    return msgspec.structs.replace(Event(type=kind, track_id=track_id, label=known.label), **more)


def _seconds(ns: int) -> float:
    return round(ns / SECOND_NS, 3)
