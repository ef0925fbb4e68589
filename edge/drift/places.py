"""From values to counts: how many fell into each place of each feature. Exact, and merged by adding.

The places of a number: below the smallest value of the reference, its bins, above the largest, missing. Of a text: its
categories in the order of the reference, unknown, missing. All counts stand in one vector, feature after feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from edge.data.tensor import Array
from edge.drift import exact
from edge.drift.reference import OBJECT_SCORE, OBJECTS, FeatureReference
from edge.drift.report import Kind

SHARES_MOST = 20
"""Of texts and classes: the shares of the most frequent ones are judged, each by itself."""


CHANCE = 0.29
"""The standard deviation of a rank (1 / sqrt 12), and no less than that of a rank's distance from the middle."""

RAREST = 0.02
"""A class that is rarer than that in the sample may be about so frequent."""

_KINDS: dict[str, Kind] = {"place": "place", "spread": "spread", "share": "share"}


class Score(NamedTuple):
    """What one number of a window's scores says: of which feature, and what of it. `category`: of a share."""

    feature: int
    what: str
    category: str = ""


class Places:
    """Of all features, or of all predictions. Pure."""

    def __init__(self, features: Sequence[FeatureReference]) -> None:
        """Raises ValueError for bins that cannot be read."""
        self.features = tuple(features)
        self.numbers = tuple(i for i, f in enumerate(features) if f.bins)
        """Which features are numbers; the others are texts."""
        self.texts = tuple(i for i, f in enumerate(features) if not f.bins)
        self._categories = {i: tuple(features[i].categories) for i in self.texts}
        self._shares = {i: features[i].bin_shares() for i in self.numbers}
        edges = {i: features[i].edges() for i in self.numbers}
        sizes = [(len(edges[i]) if i in edges else len(self._categories[i])) + 2 for i in range(len(features))]
        self.starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        """Where each feature's counts begin; the last one is the length of the vector."""
        self._lookup = {
            i: {text: int(self.starts[i]) + at for at, text in enumerate(self._categories[i])} for i in self.texts
        }
        self._edges = _table(list(edges.values()))
        self._first = self.starts[list(self.numbers)][:, None]
        self._missing = np.asarray([self.starts[i + 1] - 1 for i in self.numbers], dtype=np.int64)[:, None]
        self.scores = tuple(self._described())
        """What each score of a window says."""
        self.kinds = tuple(score.what for score in self.scores)
        """Scores of one kind are alike, as far as one knows before."""
        self.runs_of = tuple(self.features[i].name for i in self.numbers)
        """What stands still where a number does."""
        names = [f.name for f in self.features]
        self.of_objects = OBJECTS in names[1:2]
        """Of a detector: the classes of all objects, how many there are in each picture and, if the sample told them,
        the scores of all."""
        self.object_score = 2 if self.of_objects and names[2:] == [OBJECT_SCORE] else None
        """Which of them is that."""
        self._chance = np.asarray([self._chance_of(score) for score in self.scores])

    def __len__(self) -> int:
        """How many counts there are."""
        return int(self.starts[-1])

    def count_numbers(self, values: Array) -> Array:
        """int64 [counts], of values float32 [numbers, rows]; NaN is missing."""
        if not values.size:
            return np.zeros(len(self), dtype=np.int64)
        reached = np.zeros(values.shape, dtype=np.int8)
        for at in range(self._edges.shape[1]):
            reached += (values >= self._edges[:, at : at + 1]).view(np.int8)
        found = reached + self._first
        missing = np.isnan(values)
        if missing.any():
            found = np.where(missing, self._missing, found)
        return np.bincount(found.ravel(), minlength=len(self))

    def count_number(self, feature: int, values: Array) -> Array:
        """int64 [counts], of values float32 of one number, of which there may be more or fewer than rows."""
        edges = self._edges[self.numbers.index(feature)]
        found = np.searchsorted(edges, values, side="right") + self.starts[feature]
        found[np.isnan(values)] = self.starts[feature + 1] - 1
        return np.bincount(found, minlength=len(self))

    def count_texts(self, feature: int, values: Sequence[str], times: Array | None = None) -> Array:
        """int64 [counts], of the values of one feature; "" is missing where it is no category. `times`: how often each
        value came, once if not given."""
        end = int(self.starts[feature + 1])
        places = self._lookup[feature]
        last = {"": end - 1}
        found = [places[v] if v in places else last.get(v, end - 2) for v in values]
        counts = np.bincount(np.asarray(found, dtype=np.int64), times, minlength=len(self))
        return counts.astype(np.int64, copy=False)

    def of(self, counts: Array, feature: int) -> Array:
        """One feature's counts."""
        return counts[self.starts[feature] : self.starts[feature + 1]]

    def missing(self, counts: Array) -> Array:
        """int64 [features]."""
        return counts[self.starts[1:] - 1]

    def unknown(self, counts: Array) -> Array:
        """int64 [features]: texts that are no category; 0 for numbers."""
        found = counts[self.starts[1:] - 2].copy()
        found[list(self.numbers)] = 0
        return np.asarray(found)

    def judged(self, counts: Array) -> Array:
        """float64 [scores], of a window's counts. Of what is missing altogether: as the reference."""
        found: list[float] = []
        for i in range(len(self.features)):
            if i in self._shares:
                found += self._place_and_spread(i, self.of(counts, i)[:-1])
            else:
                found += self._category_shares(i, self.of(counts, i)[:-1])
        return np.asarray(found, dtype=np.float64)

    def name_of(self, score: Score) -> str:
        """Of what a score tells."""
        return self.features[score.feature].name

    def kind_of(self, score: Score, *, up: bool) -> Kind:
        """What is odd where a score is."""
        return _KINDS[score.what]

    def floor(self, rows: int, counts: Array) -> Array:
        """float64 [scores]: no window of these counts is known more exactly than that, by chance alone."""
        found = np.full(len(self.scores), 0.1 / np.sqrt(max(1, rows)))
        if self.of_objects:
            found = np.maximum(found, self._chance / np.sqrt(max(1, self._objects(counts))))
        return found

    def wider(self, counts: Array, learnt: Array, windows: int) -> Array:
        """float64 [scores], 1 or more: how many times as far a window of these counts is off by chance as one of those
        that were learnt, `windows` with the counts `learnt`. What is said of each object goes by how many there are: a
        quiet hour has few, a busy one thousands."""
        found = np.ones(len(self.scores))
        if self.of_objects and windows:
            usual = self._objects(learnt) / windows
            found[self._chance > 0] = max(1.0, np.sqrt(usual / max(1, self._objects(counts))))
        return found

    def _objects(self, counts: Array) -> int:
        return int(self.of(counts, 0).sum())

    def doubtful(self, counts: Array) -> list[str]:
        """Numbers whose counts lie where the sample did not: one deviation off, or in one bin of many."""
        judged = dict(zip(self.scores, self.judged(counts), strict=True))
        found = []
        for i in self.numbers:
            known = self.of(counts, i)[:-1]
            still = known.max() > exact.STILL * max(1, known.sum()) and self.then(i).max() < 0.5
            if still or abs(judged[Score(i, "place")] - 0.5) > exact.FAR:
                found.append(self.features[i].name)
        return found

    def then(self, feature: int) -> Array:
        """float64: the shares that the sample had, in the places of `of` without the missing."""
        if feature in self._shares:
            return np.concatenate([[0.0], self._shares[feature], [0.0]])
        shares = list(self.features[feature].categories.values())
        return np.asarray([*shares, max(0.0, 1.0 - sum(shares) - self.features[feature].missing)])

    def labels(self, feature: int) -> tuple[str, ...]:
        """The categories of a text."""
        return self._categories[feature]

    def edges(self, feature: int) -> Array:
        """float32 [bins + 1], of a number."""
        return self.features[feature].edges()

    def _described(self) -> list[Score]:
        found = []
        for i in range(len(self.features)):
            if i in self._shares:
                found += [Score(i, "place"), Score(i, "spread")]
            else:
                found += [Score(i, "share", text) for text in self._categories[i][:SHARES_MOST]]
        return found

    def _chance_of(self, score: Score) -> float:
        """The standard deviation of what is said of one object; 0 where it is said of a picture."""
        if score.what == "share" and score.feature == 0:
            share = min(max(self.features[0].categories[score.category], RAREST), 1 - RAREST)
            return float(np.sqrt(share * (1 - share)))
        return CHANCE if score.feature == self.object_score else 0.0

    def _place_and_spread(self, feature: int, counts: Array) -> list[float]:
        """The mean of the ranks, and their mean distance from the middle; 0 to 1 in the reference."""
        known = int(counts.sum())
        shares = self._shares[feature] / self._shares[feature].sum()
        ranks = np.concatenate([[0.0], np.cumsum(shares) - shares / 2, [1.0]])
        weights = counts / known if known else np.concatenate([[0.0], shares, [0.0]])
        return [float(weights @ ranks), float(weights @ np.abs(ranks - 0.5))]

    def _category_shares(self, feature: int, counts: Array) -> list[float]:
        known = int(counts.sum())
        shares = counts / known if known else self.then(feature)
        return [float(s) for s in shares[: min(SHARES_MOST, len(self._categories[feature]))]]


def _table(edges: Sequence[Array]) -> Array:
    """float32 [numbers, edges], so that the number of edges that a value reaches is its place; filled up with inf."""
    most = max((len(e) for e in edges), default=0)
    found = np.full((len(edges), most), np.inf, dtype=np.float32)
    for row, one in zip(found, edges, strict=True):
        row[: len(one)] = one
        row[len(one) - 1] = np.nextafter(one[-1], np.float32(np.inf))
    return found


class Runs:
    """How long each number has stood still, and how long it has been missing. Of one thread."""

    def __init__(self, numbers: int) -> None:
        self._last = np.full(numbers, np.inf, dtype=np.float32)
        self._lengths = np.zeros(numbers, dtype=np.int32)

    def longest(self, values: Array) -> tuple[Array, Array]:
        """int32 [numbers] each: the longest run of one value, and of missing ones, that ends in these rows or goes on;
        `values` float32 [numbers, rows]."""
        if not values.size:
            return np.zeros_like(self._lengths), np.zeros_like(self._lengths)
        before = np.concatenate([self._last[:, None], values[:, :-1]], axis=1)
        missing = np.isnan(values)
        same = (values == before) | (missing & np.isnan(before))
        at = np.arange(values.shape[1], dtype=np.int32)
        begins = np.where(same, -self._lengths[:, None], at)
        lengths = at - np.maximum.accumulate(begins, axis=1) + 1
        self._last, self._lengths = values[:, -1].copy(), lengths[:, -1].copy()
        if not missing.any():
            return lengths.max(axis=1), np.zeros_like(self._lengths)
        return np.where(missing, 0, lengths).max(axis=1), np.where(missing, lengths, 0).max(axis=1)
