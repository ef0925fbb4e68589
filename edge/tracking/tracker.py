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
        self._tracks = np.empty((5, 0), dtype=np.int64)
        """Of N tracks: id, 0 where there is none yet; class; the frames that showed it first and last, and when."""
        self._frame = 0
        self._time_ns = self._now_ns = 0

    def __len__(self) -> int:
        """Tracks that are kept."""
        return self._tracks.shape[1]

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
        if still_ns:
            self._tracks[4, self._tracks[3] == self._frame] += still_ns
        self._frame += 1
        self._time_ns = time_ns
        self._now_ns += max(elapsed_ns, 0) or STEP_NS  # the frames of a batch have one time
        ended = self._end(self._now_ns - self._tracks[4] > (self._lost_ns if elapsed_ns >= 0 else -1))
        finite = np.asarray(np.isfinite(boxes).all(axis=1))
        if not finite.all():
            boxes, sure = np.where(finite[:, None], boxes, 0.0), sure & finite
        ids, kinds, first, last, last_ns = self._tracks
        self._motion.predict(((elapsed_ns - still_ns) or STEP_NS) / SECOND_NS, last < self._frame - 1)
        where = centred(boxes)
        likeness = overlaps(cornered(self._motion.mean), boxes)
        likeness *= kinds[:, None] == classes
        owner = _owners(likeness, sure)
        found = (owner >= 0).nonzero()[0]
        tracks = owner[found]
        told = np.zeros((3, len(boxes)), dtype=np.int64)
        told[2, found] = self._frame - 1 - last[tracks]
        self._motion.update(tracks, where[found])
        last[tracks], last_ns[tracks] = self._frame, self._now_ns
        nameless = tracks[ids[tracks] == 0]
        if len(nameless):
            ids[nameless] = [self._next_id() for _ in nameless]
        told[0, found], told[1, found] = ids[tracks], self._frame - first[tracks]
        ended += self._end((ids == 0) & (last < self._frame))
        self._born(where, classes, (sure & (owner < 0)).nonzero()[0])
        return Seen(told[0], told[1], told[2], ended + self._bound())

    def _born(self, where: Array, classes: Array, which: Array) -> None:
        if not len(which):
            return
        self._motion.add(where[which])
        new = np.zeros((5, len(which)), dtype=np.int64)
        new[1], new[2:4], new[4] = classes[which], self._frame, self._now_ns
        self._tracks = np.concatenate((self._tracks, new), axis=1)

    def _bound(self) -> tuple[int, ...]:
        """Ends what is too many."""
        if len(self) <= TRACKS_MOST:
            return ()
        oldest = np.argsort(self._tracks[3], kind="stable")[: len(self) - TRACKS_MOST]
        return self._end(np.isin(np.arange(len(self)), oldest))

    def _end(self, which: Array) -> tuple[int, ...]:
        """These are no more, bool [N]; the ids of those that had one."""
        if not which.any():
            return ()
        ended = self._tracks[0, which]
        left = ~which
        self._motion.keep(left)
        self._tracks = self._tracks[:, left]
        return tuple(ended[ended > 0].tolist())


def _owners(likeness: Array, sure: Array) -> Array:
    """By detection the track that it belongs to, -1 for none."""
    owner = np.full(len(sure), -1)
    likeness -= LEAST
    certain, doubtful = sure.nonzero()[0], (~sure).nonzero()[0]
    at, to = pairs(likeness if not len(doubtful) else likeness[:, certain])
    owner[certain[to]] = at
    if len(doubtful):
        free = np.ones(len(likeness), dtype=bool)
        free[at] = False
        left = free.nonzero()[0]
        at, to = pairs(likeness[left[:, None], doubtful])
        owner[doubtful[to]] = left[at]
    return owner
