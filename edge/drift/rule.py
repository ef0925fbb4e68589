"""When windows are too far from those that this device has learnt. Pure: scores in, a verdict out.

A window is a vector of scores. How much scores differ from window to window, and how much a window goes with the one
before it, is learnt here: `ARMED` windows (a day of hours) before anything is judged, `FULL` (a week) before it is
frozen; from then on each hour of the day has its own middle. Judged are sums of the last two windows, of the last four
once all is learnt, and a slow mean for what creeps, each against the limit of a t-test at one false alarm in `MONTHS`
months over all scores. A single window counts for no more than the limit: one that is far off says nothing by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from edge.data.tensor import Array

ARMED = 24
FULL = 168
MONTH = 720
MONTHS = 100
SLOW = 0.08
SUMS = (2, 4)
FEWEST_A_SLOT = 5
"""Windows of each hour of the day that there have to be before the hour is taken off."""
_MOST_CORRELATION = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """What was learnt: the scores of windows, float [windows, scores], and the hour of the day of each."""

    scores: Array
    slots: Array

    @staticmethod
    def empty(scores: int) -> Baseline:
        return Baseline(np.zeros((0, scores)), np.zeros(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.scores)

    def plus(self, scores: Array, slot: int) -> Baseline:
        return Baseline(np.vstack([self.scores, scores]), np.append(self.slots, slot))


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """Of one window, by score: the distance in standard errors of a window, whether it is over the limit alone, and
    what drifts: 1 upward, -1 downward, 0. `least` is the smallest distance that would be seen in two windows; None
    while nothing is judged."""

    distance: Array
    over: Array
    drifts: Array
    least: Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Yardstick:
    """Of what was learnt, by score: the middle (of each hour of the day, or one), the standard error of a window, how
    far a window goes with the one before it; `limit` in standard errors."""

    middle: Array
    spread: Array
    correlation: Array
    limit: float
    full: bool

    def sum_sd(self, windows: int) -> Array:
        """The standard deviation of the sum of so many distances."""
        variance = np.full(self.correlation.shape, float(windows))
        for lag in range(1, windows):
            variance += 2 * (windows - lag) * self.correlation**lag
        return np.asarray(np.sqrt(variance))

    def slow_sd(self) -> Array:
        """The standard deviation of the slow mean of distances."""
        kept = (1 - SLOW) * self.correlation
        return np.asarray(np.sqrt(SLOW / (2 - SLOW) * (1 + kept) / (1 - kept)))


class Rule:
    """Learns and judges. Of one thread."""

    def __init__(self, scores: int, slots: int, baseline: Baseline | None = None, among: int = 0) -> None:
        """`slots`: how many windows a day has, 0 where windows and days do not fit. `among`: how many scores are judged
        in all, where another rule judges the others."""
        self._count, self._slots = scores, slots
        self._among = max(scores, among)
        self.baseline = baseline if baseline is not None else Baseline.empty(scores)
        self._last: list[Array] = []
        self._slow = np.zeros(scores)
        self._yardstick = self._fitted()

    @property
    def armed(self) -> bool:
        """Whether windows are judged."""
        return self._yardstick is not None

    def window(self, scores: Array, slot: int, floor: Array) -> Verdict:
        """The verdict on the next window, from which it learns while it still learns. `floor`: by score, the least
        standard error that a window has."""
        yard = self._yardstick
        if yard is None:
            self._learn(scores, slot)
            return Verdict(np.zeros(self._count), np.zeros(self._count, dtype=bool), np.zeros(self._count, np.int64))
        # No window is known more exactly than by chance alone: a feature that never moved would else be at an infinite
        # distance with its first move.
        sd = np.maximum(yard.spread, floor)
        distance = (scores - (yard.middle if yard.middle.ndim == 1 else yard.middle[slot])) / sd
        drifts = self._drifts(np.clip(distance, -yard.limit, yard.limit), yard)
        over = np.abs(distance) > yard.limit
        if not yard.full and not over.any() and not drifts.any():
            self._learn(scores, slot)
        return Verdict(distance, over, drifts, yard.limit * sd * yard.sum_sd(2) / 2)

    def _drifts(self, distance: Array, yard: _Yardstick) -> Array:
        self._last = [*self._last, distance][-max(SUMS) :]
        found = np.zeros(self._count, dtype=np.int64)
        for windows in SUMS if yard.full else SUMS[:1]:
            if len(self._last) >= windows:
                total = np.sum(self._last[-windows:], axis=0) / yard.sum_sd(windows)
                found = np.where(found != 0, found, _beyond(total, yard.limit))
        if yard.full:
            self._slow = self._slow + SLOW * (distance - self._slow)
            found = np.where(found != 0, found, _beyond(self._slow / yard.slow_sd(), yard.limit))
        return found

    def _learn(self, scores: Array, slot: int) -> None:
        self.baseline = self.baseline.plus(scores, slot)
        self._yardstick = self._fitted()

    def _fitted(self) -> _Yardstick | None:
        """What was learnt as a yardstick; None before there is enough of it."""
        base, windows = self.baseline, len(self.baseline)
        if windows < ARMED:
            return None
        middle, rest, df, fewest = base.scores.mean(axis=0), base.scores, windows - 1, windows
        if windows >= FULL and self._slots:
            counts = np.bincount(base.slots, minlength=self._slots)
            if counts.min() >= FEWEST_A_SLOT:
                middle = np.stack([base.scores[base.slots == s].mean(axis=0) for s in range(self._slots)])
                df, fewest = windows - self._slots, int(counts.min())
        rest = base.scores - (middle if middle.ndim == 1 else middle[base.slots])
        spread = np.sqrt((rest**2).sum(axis=0) / df)
        unit = rest / np.where(spread > 0, spread, 1.0)
        # Estimated of few windows: one standard error more than it seems.
        seen = (unit[1:] * unit[:-1]).mean(axis=0) + 1 / np.sqrt(windows)
        correlation = np.clip(seen, 0.0, _MOST_CORRELATION)
        # The middle is as uncertain as windows that go together make it.
        together = (1 + correlation) / (1 - correlation) if middle.ndim == 1 else np.ones(self._count)
        spread = spread * np.sqrt(1 + together / fewest)
        limit = t_limit(1 / (2 * MONTH * MONTHS * self._among), df)
        return _Yardstick(middle, spread, correlation, limit, windows >= FULL)


def _beyond(distance: Array, limit: float) -> Array:
    return np.asarray(np.sign(distance).astype(np.int64) * (np.abs(distance) > limit))


def t_limit(tail: float, df: int) -> float:
    """The t with `df` (20 and more) degrees of freedom that has `tail` above it: Abramowitz and Stegun, 26.7.5."""
    z = -NormalDist().inv_cdf(tail)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / float(df) ** (i + 1) for i, term in enumerate(terms))
