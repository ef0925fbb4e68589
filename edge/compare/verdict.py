"""What a new model changes: each row a win, a loss, another answer or the same one; counted by class and slice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.compare.answers import Classes, Numbers, plain
from edge.compare.slices import Slice, ranges
from edge.data.tensor import Array
from edge.errors import ConfigError

NEAR = 0.01
"""Two numbers agree that are apart by at most this share of the span of the answers."""
BY_CHANCE = 0.05
_EXACT = 1000


@dataclass(frozen=True, slots=True)
class Counts:
    """Of some rows. Without expected answers only `rows` and `agree` are known, the others None.

    `old` and `new`: the share of right classes, or the mean absolute error. `chance` is the probability that as
    uneven a split of wins and losses, or a more uneven one, comes of two equally good models (an exact sign test).
    """

    name: str
    rows: int
    agree: float
    old: float | None = None
    new: float | None = None
    wins: int | None = None
    losses: int | None = None
    chance: float | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """A row that is answered otherwise. `row` is 1 for the first; `change` is "" where no answer was expected."""

    row: int
    old: str
    new: str
    expected: str | None = None
    change: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of two models. `confusions`: old class, new class and how many rows."""

    total: Counts
    measure: str
    classes: tuple[Counts, ...] = ()
    slices: tuple[Counts, ...] = ()
    confusions: tuple[tuple[str, str, int], ...] = ()
    changed: tuple[Changed, ...] = field(default=(), repr=False)

    @property
    def chance_of_one(self) -> float:
        """Below this a slice's `chance` says something though so many slices were looked at."""
        return BY_CHANCE / max(1, len(self.slices))


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """By row: whether the answers agree; where they are judged, how good each is and who is better."""

    agree: Array
    good_old: Array | None
    good_new: Array | None
    wins: Array | None
    losses: Array | None

    def counts(self, name: str, chosen: Array) -> Counts:
        rows = int(chosen.sum())
        agree = float(np.mean(self.agree[chosen]))
        if self.wins is None or self.losses is None or self.good_old is None or self.good_new is None:
            return Counts(name, rows, agree)
        wins, losses = int(self.wins[chosen].sum()), int(self.losses[chosen].sum())
        old, new = float(np.nanmean(self.good_old[chosen])), float(np.nanmean(self.good_new[chosen]))
        return Counts(name, rows, agree, old, new, wins, losses, sign_test(wins, losses))


def of_classes(old: Classes, new: Classes, expected: Array | None, slices: Sequence[Slice]) -> Verdict:
    """Two classifiers, or two detectors of anomalies."""
    agree = np.asarray(old.names == new.names, dtype=bool)
    if expected is None:
        rows = _Rows(agree, None, None, None, None)
        truth, measure = old.names, ""
    else:
        right_old, right_new = old.right(expected), new.right(expected)
        rows = _Rows(agree, right_old, right_new, right_new & ~right_old, right_old & ~right_new)
        truth, measure = np.array([plain(e) for e in expected], dtype=object), "accuracy"
    classes = [rows.counts(str(c), np.asarray(truth == c, dtype=bool)) for c in sorted(set(truth))]
    pairs, how_many = _counted(old.names[~agree], new.names[~agree])
    return Verdict(
        total=rows.counts("all", np.ones(len(agree), dtype=bool)), measure=measure, classes=tuple(classes),
        slices=_sliced(rows, slices),
        confusions=tuple((o, n, c) for (o, n), c in zip(pairs, how_many, strict=True)),
        changed=_changed(rows, old.names, new.names, None if expected is None else truth),
    )  # fmt: skip


def of_numbers(old: Numbers, new: Numbers, expected: Array | None, slices: Sequence[Slice]) -> Verdict:
    """Two regressions. A win is a row whose error shrinks by more than `NEAR` of the span of the answers."""
    a, b = old.values, new.values
    if a.shape != b.shape:
        raise ConfigError(f"--compare: the models give {a.shape[1]} and {b.shape[1]} numbers for a row")
    truth = None if expected is None else _numbers(expected, a.shape[1])
    reference = a if truth is None else truth
    span = np.nanmax(reference, axis=0) - np.nanmin(reference, axis=0)
    span = np.where(span > 0, span, 1.0)
    agree = np.asarray((np.abs(a - b) / span).max(axis=1) <= NEAR)  # NaN, a refused row, agrees with nothing
    agree |= np.isnan(a).all(axis=1) & np.isnan(b).all(axis=1)
    if truth is None:
        rows = _Rows(agree, None, None, None, None)
    else:
        errors = [np.abs(values - truth) for values in (a, b)]
        worst = [np.where(np.isnan(e), np.inf, e / span).max(axis=1) for e in errors]
        better, worse = worst[1] + NEAR < worst[0], worst[0] + NEAR < worst[1]
        rows = _Rows(agree, errors[0].mean(axis=1), errors[1].mean(axis=1), better, worse)
    by_value = list(ranges("answer", reference[:, 0])) if reference.shape[1] == 1 else []
    return Verdict(
        total=rows.counts("all", np.ones(len(a), dtype=bool)), measure="" if truth is None else "mean error",
        classes=tuple(rows.counts(s.name, s.rows) for s in by_value if s.rows.any()), slices=_sliced(rows, slices),
        changed=_changed(rows, _shown(a), _shown(b), None if truth is None else _shown(truth)),
    )  # fmt: skip


def sign_test(wins: int, losses: int) -> float:
    """The probability of a split at least as uneven where each change is as likely a win as a loss; two-sided."""
    n, fewer = wins + losses, min(wins, losses)
    if not n:
        return 1.0
    if n > _EXACT:  # the normal curve, with the usual half taken off
        return min(1.0, math.erfc((abs(wins - losses) - 1) / math.sqrt(2 * n)))
    tail = sum(math.comb(n, i) for i in range(fewer + 1))
    return min(1.0, 2 * tail / (1 << n))


def _numbers(expected: Array, width: int) -> Array:
    try:
        truth = expected.astype(np.float64).reshape(len(expected), -1)
    except ValueError:
        raise ConfigError("--expect: the models predict numbers, the expected answers are text") from None
    if truth.shape[1] != width:
        raise ConfigError(f"--expect: {truth.shape[1]} numbers a row, the models give {width}")
    if not np.isfinite(truth).all():
        raise ConfigError(f"--expect: answer {int(np.argmin(np.isfinite(truth).all(axis=1))) + 1} is no number")
    return truth


def _sliced(rows: _Rows, slices: Sequence[Slice]) -> tuple[Counts, ...]:
    """The worst first: most rows lost beyond those won; without expected answers, least agreement."""
    found = [rows.counts(s.name, s.rows) for s in slices]
    return tuple(sorted(found, key=lambda c: ((c.wins or 0) - (c.losses or 0), c.agree)))


def _counted(old: Array, new: Array) -> tuple[list[tuple[str, str]], list[int]]:
    counts: dict[tuple[str, str], int] = {}
    for pair in zip(old.tolist(), new.tolist(), strict=True):
        counts[pair] = counts.get(pair, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [p for p, _ in ordered], [c for _, c in ordered]


def _changed(rows: _Rows, old: Array, new: Array, expected: Array | None) -> tuple[Changed, ...]:
    found: list[Changed] = []
    for at in np.flatnonzero(~rows.agree):
        change = ""
        if rows.wins is not None and rows.losses is not None:
            change = "win" if rows.wins[at] else "loss" if rows.losses[at] else "other"
        wanted = None if expected is None else str(expected[at])
        found.append(Changed(int(at) + 1, str(old[at]), str(new[at]), wanted, change))
    return tuple(found)


def _shown(values: Array) -> Array:
    shown = [", ".join("(refused)" if np.isnan(v) else f"{v:.6g}" for v in row) for row in values]
    return np.array(shown, dtype=object)
