"""When windows are too far from those that this device has learnt. Pure: scores in, a verdict out.

A window is a vector of scores. How much scores differ from window to window, and how much a window goes with the one
before it, is learnt here: `ARMED` windows (a day of hours) before anything is judged, `FULL` (a week) before it is
frozen; from then on each hour of the day has its own middle. Judged are sums of the last two windows, of the last four
once all is learnt, and a slow mean for what creeps, each against the limit of a t-test over all scores (`MONTHS`). A
single window counts for a part of the limit only: one that is far off says nothing by itself.

Little is known of few windows. So the middles of the hours are drawn towards the day's, and spreads and correlations
towards those of the scores of their kind, as far as they differ by no more than chance (`_drawn`): where hours, or
features, are alike each is known as well as all of them together, and where they are not each keeps its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from edge.data.tensor import Array

ARMED = 24
FULL = 168
MONTH = 720
SLOW = 0.08
SUMS = (2, 4)
MONTHS: Mapping[int, float] = {2: 200, 4: 14, 0: 200}
"""For one false alarm of the sum of so many windows over all scores; 0: of the slow mean. What has moved far is seen
by each of them, half a deviation by the sum of four alone: that one has most of what may be false."""
WEIGHTS: Mapping[str, float] = {"spread": 0.1}
"""The part of it that a score of some kind has, beside 1: what moves is first seen by its place."""
TWO_COUNT_FOR = 1.06
"""Two windows that are far off count for so many of the limits of their sum, and each for half of it."""
UNEVEN = 0.2
"""Hours whose middles differ have other spreads, too, which seven windows do not tell: so much more is allowed them."""
FEWEST_A_SLOT = 5
"""Windows of each hour of the day that there have to be before the hour is taken off."""
_MOST_CORRELATION = 0.9
_FEWEST_ALIKE = 4
_LEAST_KEPT = 0.4
"""Of what was drawn together one error in so many is left, for features are never quite alike."""
_TINY = 1e-300


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
    """Of what was learnt, by score: the middle (of each hour of the day, or one) and the standard error of a window;
    how many of these one window may be off by, and by arm, as `MONTHS`, how many their sum, or slow mean."""

    middle: Array
    spread: Array
    alone: Array
    limits: Mapping[int, Array]
    full: bool

    def beside(self, scores: Array, slots: Sequence[int]) -> Array:
        """The middle of an hour; where it may be one of several, what lies between them and next to the scores."""
        if self.middle.ndim == 1:
            return self.middle
        middles = self.middle[list(slots)]
        return np.clip(scores, middles.min(axis=0), middles.max(axis=0))


@dataclass(frozen=True, slots=True, eq=False)
class _Errors:
    """By score: how far a window goes with the one before it, and the variance of the middle's error in squared
    standard errors of a window, that of each hour and that which all have in common."""

    correlation: Array
    own: Array
    common: Array

    def of_sum(self, windows: int) -> Array:
        """The standard error of the sum of so many distances."""
        variance = np.full(self.correlation.shape, float(windows))
        for lag in range(1, windows):
            variance += 2 * (windows - lag) * self.correlation**lag
        return np.asarray(np.sqrt(variance * (1 + self.own) + windows**2 * self.common))

    def of_slow_mean(self) -> Array:
        kept = (1 - SLOW) * self.correlation
        variance = SLOW / (2 - SLOW) * (1 + kept) / (1 - kept)
        return np.asarray(np.sqrt(variance * (1 + self.own) + self.common))


class Rule:
    """Learns and judges. Of one thread."""

    def __init__(self, kinds: Sequence[str], slots: int, baseline: Baseline | None = None, among: float = 0.0) -> None:
        """`kinds`: of each score, alike scores have the same. `slots`: how many windows a day has, 0 where windows and
        days do not fit. `among`: the weight of all scores that are judged, where another rule judges others."""
        self._kinds, self._slots = np.asarray(kinds, dtype=str), slots
        weights = np.asarray([WEIGHTS.get(kind, 1.0) for kind in kinds])
        self._parts = weights / max(weight(kinds), among)
        self.baseline = baseline if baseline is not None else Baseline.empty(len(kinds))
        self._last: list[Array] = []
        self._slow = np.zeros(len(kinds))
        self._yardstick = self._fitted()

    @property
    def armed(self) -> bool:
        """Whether windows are judged."""
        return self._yardstick is not None

    def window(
        self, scores: Array, slot: int, floor: Array, wider: Array | float = 1.0, also: Sequence[int] = ()
    ) -> Verdict:
        """The verdict on the next window, from which it learns while it still learns. `floor`: by score, the least
        standard error that a window has; `wider`: how many times as large this one's is as that of those learnt;
        `also`: hours of the day that it may be one of as well."""
        yard, count = self._yardstick, len(scores)
        if yard is None:
            self._learn(scores, slot)
            return Verdict(np.zeros(count), np.zeros(count, dtype=bool), np.zeros(count, np.int64))
        # No window is known more exactly than by chance alone: a feature that never moved would else be at an infinite
        # distance with its first move.
        sd = np.maximum(yard.spread * wider, floor)
        distance = (scores - yard.beside(scores, (slot, *also))) / sd
        most = TWO_COUNT_FOR / 2 * yard.limits[2]
        drifts = self._drifts(np.clip(distance, -most, most), yard)
        over = np.abs(distance) > yard.alone
        if not yard.full and not over.any() and not drifts.any():
            self._learn(scores, slot)
        return Verdict(distance, over, drifts, sd * yard.limits[2] / 2)

    def _drifts(self, distance: Array, yard: _Yardstick) -> Array:
        self._last = [*self._last, distance][-max(SUMS) :]
        found = np.zeros(len(distance), dtype=np.int64)
        for windows in SUMS if yard.full else SUMS[:1]:
            if len(self._last) >= windows:
                total = np.sum(self._last[-windows:], axis=0)
                found = np.where(found != 0, found, _beyond(total, yard.limits[windows]))
        if yard.full:
            self._slow = self._slow + SLOW * (distance - self._slow)
            found = np.where(found != 0, found, _beyond(self._slow, yard.limits[0]))
        return found

    def _learn(self, scores: Array, slot: int) -> None:
        self.baseline = self.baseline.plus(scores, slot)
        self._yardstick = self._fitted()

    def _fitted(self) -> _Yardstick | None:
        """What was learnt as a yardstick; None before there is enough of it."""
        base, windows = self.baseline, len(self.baseline)
        if windows < ARMED:
            return None
        hours = self._hours()
        middle, variance, own = _one_middle(base.scores) if not hours else _middles(base, hours)
        rest = base.scores - (middle[base.slots] if hours else middle)
        spread = np.sqrt(variance)
        unit = rest / np.where(spread > 0, spread, 1.0)
        seen = (unit[1:] * unit[:-1]).mean(axis=0)
        # About their own mean windows seem to go together less than they do (Marriott and Pope 1954).
        seen = np.minimum(seen + (1 + 3 * seen) / windows, _MOST_CORRELATION)
        drawn, _ = self._alike(seen, np.sqrt((1 - seen**2) / windows))
        correlation = np.maximum(drawn, 0.0)
        df = windows - max(1, hours)
        error = np.full(len(spread), (2 * df) ** -0.5)
        logarithms, kept = self._alike(np.log(np.where(spread > 0, spread, np.nan)), error)
        together = (1 + correlation) / (1 - correlation)
        # The middle is as uncertain as windows that go together make it.
        errors = _Errors(correlation, own, (1 / windows - own / max(1, hours)) * together)
        limits = {arm: t_limit(self._parts / (2 * MONTH * months), df / kept**2) for arm, months in MONTHS.items()}
        return _Yardstick(
            middle=middle,
            spread=np.nan_to_num(np.exp(logarithms)) * (1 + UNEVEN * (own * windows / max(1, hours)) ** 2),
            alone=limits[2],
            limits={
                arm: limit * (errors.of_sum(arm) if arm else errors.of_slow_mean()) for arm, limit in limits.items()
            },
            full=windows >= FULL,
        )

    def _hours(self) -> int:
        """Of the day, where each has its own middle; 0 where there is one."""
        if len(self.baseline) < FULL or not self._slots:
            return 0
        counts = np.bincount(self.baseline.slots, minlength=self._slots)
        return self._slots if counts.min() >= FEWEST_A_SLOT else 0

    def _alike(self, found: Array, error: Array) -> tuple[Array, Array]:
        """What was measured of each score, with such an error, drawn towards the mean of its kind, by one error at most
        (there may be one that is unlike the others); and what part of its distance from there each keeps."""
        drawn, kept = found.copy(), np.ones(len(found))
        for kind in np.unique(self._kinds):
            alike = (self._kinds == kind) & np.isfinite(found)
            if alike.sum() >= _FEWEST_ALIKE:
                towards, part = _drawn(found[alike], error[alike].mean())
                drawn[alike] = np.clip(towards, found[alike] - error[alike], found[alike] + error[alike])
                kept[alike] = max(_LEAST_KEPT, float(part))
        return drawn, kept


def weight(kinds: Sequence[str]) -> float:
    """Of so many scores."""
    return sum(WEIGHTS.get(kind, 1.0) for kind in kinds)


def _one_middle(scores: Array) -> tuple[Array, Array, Array]:
    """The middle of all windows, the variance about it, and what of its error is an hour's own: nothing."""
    return scores.mean(axis=0), scores.var(axis=0, ddof=1), np.zeros(scores.shape[1])


def _middles(base: Baseline, hours: int) -> tuple[Array, Array, Array]:
    """[hours, scores], the middle of each hour, drawn towards the day's; the variance about them, and that of the
    middles in units of it, as far as it is an hour's own."""
    windows = len(base)
    means = np.stack([base.scores[base.slots == hour].mean(axis=0) for hour in range(hours)])
    within = ((base.scores - means[base.slots]) ** 2).sum(axis=0)
    each = windows / hours
    drawn, kept = _drawn(means, np.sqrt(within / (windows - hours) / each))
    between = each * ((means - means.mean(axis=0)) ** 2).sum(axis=0)
    # What hours differ by chance tells of the variance, too.
    return drawn, (within + (1 - kept) * between) / (windows - 1), kept / each


def _drawn(found: Array, error: Array | float) -> tuple[Array, Array]:
    """What was measured of alike things, [things, ...], each with the standard error `error`, drawn towards their mean,
    and the part of its distance from there that each keeps: 1 less what chance alone makes of their squares (James and
    Stein 1961, with the mean estimated and never less than 0: Efron and Morris 1975)."""
    mean = found.mean(axis=0)
    squares = ((found - mean) ** 2).sum(axis=0)
    chance = (len(found) - 3) * np.square(error)
    kept = np.clip(1 - chance / np.maximum(squares, _TINY), 0.0, 1.0)
    return mean + kept * (found - mean), np.asarray(kept)


def _beyond(distance: Array, limit: Array) -> Array:
    return np.asarray(np.sign(distance).astype(np.int64) * (np.abs(distance) > limit))


def t_limit(tails: Array, df: Array) -> Array:
    """The t with `df` (20 and more) degrees of freedom that has a tail above it, by score: Abramowitz and Stegun,
    26.7.5."""
    z = np.asarray([-NormalDist().inv_cdf(tail) for tail in tails.tolist()])
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return np.asarray(z + sum(term / df ** (i + 1.0) for i, term in enumerate(terms)))
