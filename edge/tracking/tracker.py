"""ByteTrack for one stream of frames, written from its paper (see `motion.py`): boxes in, ids out. Pure; time is passed
in. Of each frame, in this order:

    first      sure detections and all tracks, those out of sight among them
    second     what is left of the tracks, and detections below the threshold: a person behind a post is still a person,
               with a low score
    births     sure detections that are left

Pairs are those whose overlaps add up to the most. A track gets its id in the second frame that shows it. One that was
seen once and not again, or that was out of sight for longer than `lost_s`, ends. A track has a class, and no other
class takes it over.

Apart from the paper, tracks without an id have no round of their own, those out of sight take part in the second, and
the overlap need not be large: on scenes whose truth is known each gives fewer switches (`tests/benchmarks/tracking`).
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from edge.data.streams import RATE
from edge.data.tensor import Array
from edge.data.units import SECOND_NS
from edge.tracking.assignment import pairs
from edge.tracking.motion import Motion, centred, cornered, overlaps

LEAST = 0.1
"""Overlap from which a detection may belong to a track."""
STEP_NS = SECOND_NS // RATE
TRACKS_MOST = 1000
"""Those not seen for the longest time end first."""


class Seen(msgspec.Struct, frozen=True):
    """What a frame's detections belong to, an entry each: `ids` int64 [D], 0 for none; `ages` in frames since the
    first; `missed`: frames just before this one in which it was out of sight. `ended`: ids that are no more."""

    ids: Array
    ages: Array
    missed: Array
    ended: tuple[int, ...]


class Tracker:
    """Belongs to one thread. The same frames at the same times give the same ids."""

    def __init__(self, lost_s: float, next_id: Callable[[], int]) -> None:
        self._lost_ns = int(lost_s * SECOND_NS)
        self._next_id = next_id
        self._motion = Motion()
        self._ids = self._classes = self._first = self._last = self._last_ns = np.empty(0, dtype=np.int64)
        self._frame = 0
        self._time_ns = self._now_ns = 0

    def __len__(self) -> int:
        """Tracks that are kept."""
        return len(self._ids)

    @property
    def now_ns(self) -> int:
        """The time of the last frame; it never goes back."""
        return self._now_ns

    def step(self, boxes: Array, classes: Array, sure: Array, time_ns: int, still_ns: int = 0) -> Seen:
        """The next frame: `boxes` [D, 4] corners, `classes` [D], `sure` bool [D]. A time before that of the last frame
        is another recording: all tracks end. A box whose numbers are not finite belongs to nothing. `still_ns` of the
        time since the last frame nothing moved: what was seen in that one was there meanwhile."""
        elapsed_ns = time_ns - self._time_ns if self._frame else 0
        still_ns = min(still_ns, max(elapsed_ns, 0))
        self._last_ns[self._last == self._frame] += still_ns
        self._frame += 1
        self._time_ns = time_ns
        self._now_ns += max(elapsed_ns, 0) or STEP_NS  # the frames of a batch have one time
        ended = self._end((self._now_ns - self._last_ns > self._lost_ns) | (elapsed_ns < 0))
        seconds = ((elapsed_ns - still_ns) or STEP_NS) / SECOND_NS
        finite = np.asarray(np.isfinite(boxes).all(axis=1))
        boxes, sure = np.where(finite[:, None], boxes, 0.0), sure & finite
        unseen = self._last < self._frame - 1
        self._motion.predict(seconds, unseen)
        where = centred(boxes)
        likeness = overlaps(cornered(self._motion.mean), boxes)
        likeness *= self._classes[:, None] == classes[None, :]
        owner = self._owners(likeness, sure)
        found = np.flatnonzero(owner >= 0)
        tracks = owner[found]
        missed = np.zeros(len(boxes), dtype=np.int64)
        missed[found] = self._frame - 1 - self._last[tracks]
        self._motion.update(tracks, where[found])
        self._last[tracks], self._last_ns[tracks] = self._frame, self._now_ns
        self._ids[tracks[self._ids[tracks] == 0]] = [self._next_id() for _ in range((self._ids[tracks] == 0).sum())]
        ids, ages = np.zeros(len(boxes), dtype=np.int64), np.zeros(len(boxes), dtype=np.int64)
        ids[found], ages[found] = self._ids[tracks], self._frame - self._first[tracks]
        ended += self._end((self._ids == 0) & (self._last < self._frame))
        self._born(where, classes, np.flatnonzero(sure & (owner < 0)))
        return Seen(ids, ages, missed, ended + self._bound())

    def _owners(self, likeness: Array, sure: Array) -> Array:
        """By detection the track that it belongs to, -1 for none."""
        owner = np.full(len(sure), -1)
        free = np.ones(len(likeness), dtype=bool)
        for detections in (sure, ~sure):
            rows, columns = np.flatnonzero(free), np.flatnonzero(detections)
            if len(rows) and len(columns):
                at, to = pairs(likeness[np.ix_(rows, columns)] - LEAST)
                owner[columns[to]] = rows[at]
                free[rows[at]] = False
        return owner

    def _born(self, where: Array, classes: Array, which: Array) -> None:
        if not len(which):
            return
        self._motion.add(where[which])
        new = np.full(len(which), self._frame)
        self._ids = np.concatenate((self._ids, np.zeros(len(which), dtype=np.int64)))
        self._classes = np.concatenate((self._classes, classes[which]))
        self._first, self._last = np.concatenate((self._first, new)), np.concatenate((self._last, new))
        self._last_ns = np.concatenate((self._last_ns, np.full(len(which), self._now_ns)))

    def _bound(self) -> tuple[int, ...]:
        """Ends what is too many."""
        if len(self._ids) <= TRACKS_MOST:
            return ()
        oldest = np.argsort(self._last, kind="stable")[: len(self._ids) - TRACKS_MOST]
        return self._end(np.isin(np.arange(len(self._ids)), oldest))

    def _end(self, which: Array) -> tuple[int, ...]:
        """These are no more, bool [N]; the ids of those that had one."""
        if not which.any():
            return ()
        ended = self._ids[which & (self._ids > 0)]
        left = ~which
        self._motion.keep(left)
        self._ids, self._classes = self._ids[left], self._classes[left]
        self._first, self._last, self._last_ns = self._first[left], self._last[left], self._last_ns[left]
        return tuple(ended.tolist())
