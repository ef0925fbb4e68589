"""What a run found, in short: how many rows, what was skipped and why, which classes, which numbers, how far the
features are from the sample of the conversion."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from edge.data.tensor import Array
from edge.drift import reference
from edge.drift.reference import FeatureReference, Reference
from edge.model.manifest import Manifest
from edge.score import arrow
from edge.score.kernel import Found
from edge.score.schema import ERROR, ResultColumns

REASONS = 50
"""Different reasons that are counted; those beyond are one."""
OTHER = "(other reasons)"
GATHERED = 1_000_000
"""Numbers that wait to be counted, about."""
_FLOOR = 1e-4
"""The least share that is reckoned with: a bin that nothing fell into would make the index infinite."""


class Numbers(msgspec.Struct):
    """Of a column: how many, their sum, the lowest and the highest."""

    count: int = 0
    total: float = 0.0
    lowest: float = math.inf
    highest: float = -math.inf


class Summary(msgspec.Struct):
    """Of a part, or of all. `bins`: by feature how many values lay below, in each bin of and above the reference;
    `texts` how many rows had each text that it names."""

    rows: int = 0
    results: int = 0
    skipped: dict[str, int] = {}
    classes: dict[str, int] = {}
    numbers: dict[str, Numbers] = {}
    bins: dict[str, list[int]] = {}
    texts: dict[str, dict[str, int]] = {}
    missing: dict[str, int] = {}
    compared: int = 0
    """Rows whose features were held against the reference."""
    apart: float = 0.0
    """The largest difference between rows in a batch and alone, where that was tried."""

    def add(self, found: Found, columns: ResultColumns, rows: int) -> None:
        """Results of so many rows, those that were skipped among them."""
        batch = found.batch
        reasons = batch.column(ERROR)
        self.rows += rows
        self.results += reasons.null_count
        if reasons.null_count < len(reasons):
            for reason in reasons.drop_null().to_pylist():
                _count(self.skipped, reason, 1, most=REASONS)
        if columns.label:
            classes = _labels(batch.column(columns.label)) if found.classes is None else found.classes
            for label, count in classes.items():
                _count(self.classes, label, count)
        for name in columns.numbers:
            values = arrow.to_numpy(batch.column(name))
            values = values[~np.isnan(values)]
            if len(values):
                _join(self.numbers, name, Numbers(len(values), *map(float, (values.sum(), values.min(), values.max()))))

    def merge(self, other: Summary) -> None:
        """Those of another part, too."""
        self.rows += other.rows
        self.results += other.results
        self.compared += other.compared
        self.apart = max(self.apart, other.apart)
        for reason, count in other.skipped.items():
            _count(self.skipped, reason, count, most=REASONS)
        for label, count in other.classes.items():
            _count(self.classes, label, count)
        for name, numbers in other.numbers.items():
            _join(self.numbers, name, numbers)
        for name, bins in other.bins.items():
            mine = self.bins.setdefault(name, [0] * len(bins))
            self.bins[name] = [a + b for a, b in zip(mine, bins, strict=True)]
        for name, texts in other.texts.items():
            for text, count in texts.items():
                _count(self.texts.setdefault(name, {}), text, count)
        for name, count in other.missing.items():
            _count(self.missing, name, count)


class Drift:
    """Holds features against the reference in the manifest, where there is one."""

    def __init__(self, manifest: Manifest) -> None:
        """A reference that is damaged is none: its use is not what the run is for."""
        self._reference: Reference | None = None
        self._edges: Sequence[Array | None] = ()
        if manifest.reference is not None:
            try:
                self._reference = reference.read(manifest.reference, [f.name for f in manifest.features])
            except ValueError:
                return
            self._edges = [f.edges() if f.bins else None for f in self._reference.features]

    @property
    def there(self) -> bool:
        """Whether there is one."""
        return self._reference is not None

    def tally(self, summary: Summary) -> Tally:
        """Counts features into this summary."""
        known = self._reference.features if self._reference is not None else ()
        return Tally(summary, known, self._edges)

    def indices(self, summary: Summary) -> dict[str, float]:
        """The population stability index of each feature, the largest first: 0 is none, above 0.25 a large drift."""
        if self._reference is None or not summary.compared:
            return {}
        found = {f.name: _index(f, summary) for f in self._reference.features if f.bins or f.categories}
        return dict(sorted(found.items(), key=lambda item: -item[1]))


class Tally:
    """Counts how features lie to the reference. Numbers are gathered first: a few at a time cost as much again."""

    def __init__(self, summary: Summary, known: Sequence[FeatureReference], edges: Sequence[Array | None]) -> None:
        """`known`, `edges`: of each feature of the model, in its order; None: of a feature that has no bins."""
        self._summary = summary
        self._known = known
        self._edges = edges
        self._waiting: list[list[Array]] = [[] for _ in known]
        self._rows = 0

    def add(self, features: Sequence[pa.Array]) -> None:
        """A column for each feature of the model, in its order."""
        rows = len(features[0])
        self._summary.compared += rows
        for known, edges, waiting, column in zip(self._known, self._edges, self._waiting, features, strict=True):
            if edges is not None:
                waiting.append(np.array(arrow.to_numpy(column), dtype=np.float64))  # a copy, that the table may go
            elif known.categories:
                texts = Counter(column.to_pylist())
                _count(self._summary.missing, known.name, texts.pop(None, 0) + texts.pop("", 0))
                own = self._summary.texts.setdefault(known.name, {})
                for text, count in texts.items():
                    _count(own, text if text in known.categories else "", count)
        self._rows += rows
        if self._rows * len(features) > GATHERED:
            self.count()

    def count(self) -> None:
        """What is gathered: once more, after the last."""
        for known, edges, waiting in zip(self._known, self._edges, self._waiting, strict=True):
            if edges is None or not waiting:
                continue
            values = np.concatenate(waiting)
            fine = values[np.isfinite(values)]
            counts = reference.binned(edges, fine)
            mine = self._summary.bins.get(known.name, [0] * len(counts))
            self._summary.bins[known.name] = [a + int(b) for a, b in zip(mine, counts, strict=True)]
            _count(self._summary.missing, known.name, len(values) - len(fine))
            waiting.clear()
        self._rows = 0


def _index(known: FeatureReference, summary: Summary) -> float:
    """Of the bins, of what lies outside of them, and of what is missing."""
    if known.bins:
        counts: Array = np.array(summary.bins.get(known.name, []), dtype=np.float64)
        expected = np.concatenate([[0.0], known.bin_shares(), [0.0]])
    else:
        own = summary.texts.get(known.name, {})
        counts = np.array([*(own.get(text, 0) for text in known.categories), own.get("", 0)], dtype=np.float64)
        shares = np.array([*known.categories.values()])
        expected = np.append(shares, max(0.0, 1.0 - known.missing - float(shares.sum())))
        expected = expected / max(_FLOOR, float(expected.sum()))
    seen = counts * (1 - summary.missing.get(known.name, 0) / summary.compared) / max(1.0, float(counts.sum()))
    expected = np.append(expected * (1 - known.missing), known.missing)
    seen = np.append(seen, summary.missing.get(known.name, 0) / summary.compared)
    a, b = np.maximum(seen, _FLOOR), np.maximum(expected, _FLOOR)
    return round(float(((a - b) * np.log(a / b)).sum()), 4)


def _count(into: dict[str, int], name: str, count: int, most: int = 1_000_000) -> None:
    if count:
        name = name if name in into or len(into) < most else OTHER
        into[name] = into.get(name, 0) + count


def _join(into: dict[str, Numbers], name: str, more: Numbers) -> None:
    mine = into.setdefault(name, Numbers())
    mine.count += more.count
    mine.total += more.total
    mine.lowest, mine.highest = min(mine.lowest, more.lowest), max(mine.highest, more.highest)


def _labels(column: pa.Array) -> dict[str, int]:
    """How often each class stands there; objects count one by one."""
    if pa.types.is_list(column.type):
        column = column.flatten().field("label")
    counted: list[dict[str, Any]] = column.drop_null().value_counts().to_pylist()
    return {str(c["values"]): int(c["counts"]) for c in counted}
