"""The stage behind the decoder: a result's objects get the ids of those before. Each stream has a tracker of its own.

A camera is a stream, each MQTT topic is one, and so are the files of a folder, in their order. What a stream measures
time by: the clock for frames of now; for recordings their own times, or a 30th of a second for each frame where they
tell none, so that the same recording gives the same ids on a fast board and on a slow one.
"""

from __future__ import annotations

import itertools
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from msgspec import UNSET
from msgspec.structs import replace

from edge.data.result import Detection, Event, Result
from edge.data.sample import Frame, Sample
from edge.data.streams import stream_of
from edge.data.units import SECOND_NS
from edge.tracking.places import Place
from edge.tracking.presence import Anchor, Presences
from edge.tracking.tracker import Tracker

log = logging.getLogger("edge.tracking")

STREAMS_MOST = 64
"""MQTT topics that are told apart; one more takes the place of the one not heard of for the longest time."""
TOO_SLOW = 5
"""Frames in a row that came too late for any object to be followed, before that is told."""


class Places(msgspec.Struct, frozen=True):
    """Where is looked, and at which point of a box."""

    zones: tuple[Place, ...] = ()
    lines: tuple[Place, ...] = ()
    anchor: Anchor = "bottom"


class _Stream(msgspec.Struct):
    tracker: Tracker
    presences: Presences
    time_ns: int = 0
    still_ns: int = 0
    late: int = 0


class Tracking:
    """Belongs to the thread that infers."""

    def __init__(self, lost_s: float, sure: float, places: Places | None = None, *, live: bool) -> None:
        """An object is forgotten when it was out of sight for `lost_s`. Scores from `sure` are an object's; those below
        only where an object was. `live`: frames are of now, not of a recording."""
        self._lost_s = lost_s
        self.sure = sure
        """May be changed from frame to frame."""
        self._live = live
        self._places = places or Places()
        self._ids = itertools.count(1)
        self._streams: OrderedDict[str, _Stream] = OrderedDict()
        self._told: set[tuple[str, object]] = set()

    def __call__(self, sample: Sample, result: Result, frame: Frame | None = None) -> Result:
        """The result with the ids of its objects, and without those that were looked for only to go on with a track."""
        stream, events = self._stream(sample.source)
        time_ns = sample.captured_ns if self._live else sample.at_ns or 0
        told_ns = sample.still_ns or stream.still_ns  # what asks for an answer was not looked at, and tells nothing
        still_ns, stream.still_ns = max(0, told_ns - stream.still_ns), told_ns
        self._watch_pace(stream, time_ns, still_ns)
        objects: list[Detection] = result.predictions
        boxes = np.array([o.box for o in objects], dtype=np.float64).reshape(-1, 4)
        classes = np.array([o.index for o in objects], dtype=np.int64)
        sure = np.array([o.score >= self.sure for o in objects], dtype=bool)
        seen = stream.tracker.step(boxes, classes, sure, time_ns, still_ns)
        now_ns = time_ns if self._live else stream.tracker.now_ns
        if frame is not None:
            self._tell_outside(stream.presences.of_size(frame.width, frame.height), frame)
        events += [event for track_id in seen.ended for event in stream.presences.ended(track_id)]
        told = []
        for o, ours, track_id, age, missed in zip(
            objects, sure.tolist(), seen.ids.tolist(), seen.ages.tolist(), seen.missed.tolist(), strict=True
        ):
            if track_id:
                events += stream.presences.seen(track_id, o, now_ns)
                zones = stream.presences.zones_of(track_id) if self._places.zones else UNSET
                told.append(replace(o, track_id=track_id, age=age, lost=missed or UNSET, zones=zones))
            elif ours:
                told.append(o)
        counts = stream.presences.counts() if self._places.zones else UNSET
        return replace(result, predictions=told, counts=counts, events=events or UNSET)

    def sure_from(self, score: float) -> Callable[[Sample, Result, Frame | None], Result]:
        """The stage behind a detector of which so high a score is an object's."""

        def follow(sample: Sample, result: Result, frame: Frame | None) -> Result:
            self.sure = score
            return self(sample, result, frame)

        return follow

    def _stream(self, source: str) -> tuple[_Stream, list[Event]]:
        """The stream, and what ends with another one that makes room for it."""
        name = stream_of(source)
        if name not in self._streams:
            places = self._places
            presences = Presences(places.zones, places.lines, places.anchor)
            self._streams[name] = _Stream(Tracker(self._lost_s, lambda: next(self._ids)), presences)
        self._streams.move_to_end(name)
        ended: list[Event] = []
        if len(self._streams) > STREAMS_MOST:
            other, dropped = self._streams.popitem(last=False)
            ended = [replace(event, source=other) for event in dropped.presences.all_ended()]
            self._warn("objects are followed in some topics only: there are too many", topics_most=STREAMS_MOST)
        return self._streams[name], ended

    def _tell_outside(self, names: Sequence[str], frame: Frame) -> None:
        for name in names:
            size = f"{frame.width}x{frame.height}"
            self._warn("a zone or line is not in the frame: nothing comes there", place=name, frame=size)

    def _warn(self, text: str, **about: object) -> None:
        """Once."""
        key = (text, about.get("place"))
        if key not in self._told:
            self._told.add(key)
            log.warning(text, extra=about)

    def _watch_pace(self, stream: _Stream, time_ns: int, still_ns: int) -> None:
        apart_s = (time_ns - stream.time_ns - still_ns) / SECOND_NS
        late = stream.time_ns and apart_s > self._lost_s
        stream.time_ns, stream.late = time_ns, stream.late + 1 if late else 0
        if stream.late == TOO_SLOW:
            text = "objects are not followed: frames come too slowly; say a longer --track"
            self._warn(text, apart_s=round(apart_s, 1), track_s=self._lost_s)
