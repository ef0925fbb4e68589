"""From the counts of one window to what is odd about it. It learns what is normal; of one thread, and no clock."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import Literal

import msgspec
import numpy as np
from msgspec import UNSET

from edge.data.tensor import Array
from edge.drift import exact, pictures
from edge.drift.learnt import Saved, Side
from edge.drift.pictures import PicturePlaces
from edge.drift.places import Places
from edge.drift.reference import FeatureReference, Reference
from edge.drift.report import Counts, FeatureCounts, Finding, Kind, Sees
from edge.drift.rule import FULL, Verdict, weight
from edge.drift.tally import Counted

COUNTS_MOST = 16_000
"""Bytes of the counts in one report: 300 features of ten bins."""


class Judged(msgspec.Struct, frozen=True, eq=False):
    """Of one window. `least`: by score of the features the smallest distance that would be seen; None before that."""

    findings: tuple[Finding, ...]
    least: Array | None
    learned: bool


class Judge:
    """One for a model's life on a device."""

    def __init__(
        self, reference: Reference, slots: int, sha256: str, scale: Sequence[FeatureReference] | None = None
    ) -> None:
        """`slots`: windows of a day, 0 where that is none. `scale`: the reference whose places the features are counted
        in, where it is an earlier one. Raises ValueError for a reference that cannot be used."""
        self.reference = reference
        self._sha256 = sha256
        features = reference.features if scale is None else scale
        inputs, predictions = _places(reference, features), Places(reference.predictions)
        self._scale = _scale(features, reference.predictions)
        among = weight(inputs.kinds + predictions.kinds)
        self.inputs = Side("input", inputs, slots, among)
        self.predictions = Side("prediction", predictions, slots, among)
        self.rows = 0
        """Of the windows that were learnt."""
        count, numbers = len(features), len(self.inputs.places.numbers)
        self._runs, self._missing_runs = np.zeros(numbers, np.int64), np.zeros(numbers, np.int64)
        self._missing, self._unknown = np.zeros(count, np.int64), np.zeros(count, np.int64)

    def restore(self, saved: Saved) -> str:
        """Goes on with what was saved, of this scale. What of it was not kept, and why; "" where all was. Raises
        ValueError for what does not fit."""
        lists = (saved.runs, saved.missing_runs, saved.missing, saved.unknown)
        ours = (self._runs, self._missing_runs, self._missing, self._unknown)
        if any(len(mine) != len(theirs) for mine, theirs in zip(ours, lists, strict=True)):
            raise ValueError("it has counts of other features")
        self.inputs.restore(saved.inputs)
        for mine, theirs in zip(ours, lists, strict=True):
            mine[:] = theirs
        self.rows = saved.rows
        if saved.sha256 != self._sha256:
            return "another model: its predictions are learnt anew"
        if self.reference.predictions:
            self.predictions.restore(saved.predictions)
        return ""

    def saved(self, window_s: float) -> Saved:
        """As it is written."""
        return Saved(
            sha256=self._sha256,
            window_s=window_s,
            rows=self.rows,
            inputs=self.inputs.saved(),
            predictions=self.predictions.saved(),
            runs=self._runs.tolist(),
            missing_runs=self._missing_runs.tolist(),
            missing=self._missing.tolist(),
            unknown=self._unknown.tolist(),
        )

    @property
    def armed(self) -> bool:
        """Whether windows are judged."""
        return self.inputs.rule.armed

    @property
    def learned(self) -> int:
        """Windows, of those that are learnt before all is."""
        return min(FULL, len(self.inputs.rule.baseline))

    def window(self, counted: Counted, *slots: int) -> Judged:
        """The next window, of at least one row; `slots`: its hour of the day, then those that it may be as well."""
        findings = [*self.standing(counted), *self._too_many(counted)]
        if not self.armed:
            findings += self._far(counted.features, counted.rows)
        inputs = self._judge(self.inputs, counted.features, counted.rows, slots, findings)
        predictions = self._judge(self.predictions, counted.predictions, counted.rows, slots, findings)
        if inputs.learned:
            self._learn(counted, findings)
        ordered = tuple(sorted(findings, key=lambda f: -f.weight))
        return Judged(ordered, inputs.verdict.least, inputs.learned or predictions.learned)

    # --- what is counted ----------------------------------------------------------------------------

    def standing(self, counted: Counted) -> list[Finding]:
        """Numbers that stand still, or are missing, for longer than ever. At once: no window is needed."""
        places = self.inputs.places
        limits, missing_limits = self._run_limits()
        found = []
        for at in range(len(places.numbers)):
            name = places.runs_of[at]
            if counted.missing_runs[at] > missing_limits[at]:
                found.append(Finding(name=name, of="input", kind="missing", rows=int(counted.missing_runs[at])))
            elif counted.runs[at] > limits[at]:
                found.append(Finding(name=name, of="input", kind="stuck", rows=int(counted.runs[at])))
        return found

    def _run_limits(self) -> tuple[Array, Array]:
        """By number, float64; inf where it cannot be told yet: the sample was in no order."""
        places, reference = self.inputs.places, self.reference
        sample = [reference.features[i] for i in places.numbers]
        runs = exact.run_limits(np.maximum(self._runs, [f.run for f in sample])).astype(np.float64)
        missing = exact.run_limits(self._missing_runs).astype(np.float64)
        if not self.armed:
            if reference.order != "time":
                runs[:] = np.inf
            missing[[f.missing > 0 for f in sample]] = np.inf
        return runs, missing

    def _too_many(self, counted: Counted) -> Iterator[Finding]:
        places, sample = self.inputs.places, self.reference.features
        rows = self.reference.rows
        known_missing = np.asarray([f.missing * rows for f in sample])
        kinds: tuple[tuple[Kind, Array, Array, Array], ...] = (
            ("missing", places.missing(counted.features), known_missing + places.missing(self.inputs.counts),
             self._missing),
            ("unknown", places.unknown(counted.features), places.unknown(self.inputs.counts), self._unknown),
        )  # fmt: skip
        for kind, counts, seen, worst in kinds:
            over = exact.too_many(counts, counted.rows, seen, rows + self.rows)
            over &= counts > exact.STUCK_TIMES * worst  # what comes now and then comes in bursts
            if kind == "missing" and not self.armed:
                over &= known_missing == 0
            for i in np.flatnonzero(over):
                share = round(float(counts[i]) / counted.rows, 6)
                yield Finding(name=sample[i].name, of="input", kind=kind, share=share)

    def _far(self, counts: Array, rows: int) -> Iterator[Finding]:
        """Numbers of which most lie where the sample had none."""
        places = self.inputs.places
        for i in places.numbers:
            own = places.of(counts, i)
            for at, direction in ((0, "down"), (len(own) - 2, "up")):
                if own[at] > rows / 2:
                    share = round(float(own[at]) / rows, 6)
                    yield Finding(
                        name=places.features[i].name, of="input", kind="far", share=share, alone=True,
                        direction="up" if direction == "up" else "down",
                    )  # fmt: skip

    @property
    def doubtful(self) -> tuple[str, ...]:
        """What was learnt where the sample was not."""
        places, counts = self.inputs.places, self.inputs.counts
        return tuple(places.doubtful(counts)) if self.armed else ()

    # --- what is judged -----------------------------------------------------------------------------

    def _judge(self, side: Side, counts: Array, rows: int, slots: Sequence[int], findings: list[Finding]) -> _Sided:
        """Adds to the findings; learns the counts of a window that the rule has learnt."""
        if not side.places.scores:
            return _Sided(Verdict(np.zeros(0), np.zeros(0, bool), np.zeros(0, np.int64)), learned=False)
        before = len(side.rule.baseline)
        places = side.places
        verdict = side.rule.window(
            places.judged(counts),
            slots[0],
            places.floor(rows, counts),
            places.wider(counts, side.counts, before),
            slots[1:],
        )
        learned = len(side.rule.baseline) > before
        if learned:
            side.counts = side.counts + counts
        findings += pictures.in_words(_findings(side, verdict))
        return _Sided(verdict, learned=learned)

    def _learn(self, counted: Counted, findings: list[Finding]) -> None:
        self.rows += counted.rows
        stuck = {f.name for f in findings if f.kind in ("stuck", "missing", "unknown")}
        places = self.inputs.places
        for at in range(len(places.numbers)):
            if places.runs_of[at] not in stuck:
                self._runs[at] = max(self._runs[at], counted.runs[at])
                self._missing_runs[at] = max(self._missing_runs[at], counted.missing_runs[at])
        usual = np.asarray([f.name not in stuck for f in places.features])
        self._missing = np.where(usual, np.maximum(self._missing, places.missing(counted.features)), self._missing)
        self._unknown = np.where(usual, np.maximum(self._unknown, places.unknown(counted.features)), self._unknown)

    def counted(self, counted: Counted) -> Counts:
        """A window as it is told to a fleet: what fits into `COUNTS_MOST` bytes of JSON."""
        found: list[FeatureCounts] = []
        size = total = 0
        for side, counts in ((self.inputs, counted.features), (self.predictions, counted.predictions)):
            for i, feature in enumerate(side.places.features):
                kind: Literal["number", "text"] = "number" if i in side.places.numbers else "text"
                one = FeatureCounts(feature.name, side.of, kind, side.places.of(counts, i).tolist())
                size += len(msgspec.json.encode(one)) + 1
                total += 1
                if size <= COUNTS_MOST:
                    found.append(one)
        return Counts(self._scale, counted.rows, tuple(found), total - len(found))

    def sees(self, least: Array | None) -> tuple[Sees | None, dict[str, float | None]]:
        """How small a shift is seen, in all and by feature: in standard deviations of the sample."""
        if least is None:
            return None, {}
        places = self.inputs.places
        by_name = {
            places.features[score.feature].name: _deviations(float(least[n]))
            for n, score in enumerate(places.scores)
            if score.what == "place"
        }
        if not by_name:
            return None, {}
        ordered = sorted(by_name.items(), key=lambda item: np.inf if item[1] is None else item[1])
        return Sees(ordered[len(ordered) // 2][1], ordered[-1][1], ordered[-1][0]), by_name


def _scale(*sides: Sequence[FeatureReference]) -> str:
    """The same where all is counted in the same places."""
    named = [[(f.name, f.bins, list(f.categories)) for f in side] for side in sides]
    return hashlib.sha256(msgspec.json.encode(named)).hexdigest()[:12]


def _places(reference: Reference, features: Sequence[FeatureReference]) -> Places:
    if not reference.thumbnail:
        return Places(features)
    return PicturePlaces(features, reference)


def _findings(side: Side, verdict: Verdict) -> list[Finding]:
    found, places = [], side.places
    for n in np.flatnonzero((verdict.drifts != 0) | verdict.over):
        score, drifts = places.scores[n], bool(verdict.drifts[n])
        up = bool(verdict.drifts[n] > 0 if drifts else verdict.distance[n] > 0)
        found.append(
            Finding(
                name=places.name_of(score),
                of=side.of,
                kind=places.kind_of(score, up=up),
                direction=UNSET if score.what in pictures.WORDS else "up" if up else "down",
                distance=round(abs(float(verdict.distance[n])), 1),
                alone=not drifts,
                category=score.category if score.what == "share" else UNSET,
            )
        )
    return found


class _Sided(msgspec.Struct, frozen=True, eq=False):
    verdict: Verdict
    learned: bool


def _deviations(rank: float) -> float | None:
    """How many deviations a normal feature has moved whose mean rank has moved so far."""
    if rank >= 0.5:
        return None
    return round(2**0.5 * NormalDist().inv_cdf(0.5 + rank), 2)
