"""The reference: what the sample of a conversion looked like, in numbers that tell nothing of a single row.

It stands in the manifest as `reference` (docs/DRIFT.md). Of a feature of numbers: ten bins of about equal share between
the smallest and the largest value, both rounded outward; of a feature of texts: the share of each that is not rare.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
import numpy as np

from edge.data.tensor import Array
from edge.drift.look import HEIGHT, STATISTICS, WIDTH

BINS = 10
CATEGORIES_MOST = 32
RARE = 5
"""A text that fewer rows have is not told: it may be one person's."""
FEATURES_MOST = 1000
OBJECTS = "objects"
"""The name of how many objects a detector found, which stands behind their classes."""
OBJECT_SCORE = "object score"
"""The name of their scores, which stand behind that. A file that was converted before has none."""
_FULL = 65535
_BYTE = 127
_LARGEST = float(np.finfo(np.float32).max)
_SMALLEST = 1e-30


class FeatureReference(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One feature, or one number that the model predicts.

    `bins` is base64 of float32: the smallest value, the edges between the bins, the largest value, ascending; `shares`
    base64 of uint16: the share of each bin, of 65535. Of texts `categories` are the shares by text, 0 to 1; what is not
    among them is rare or unknown. `missing` is the share of missing values, `run` the longest run of one and the same
    value, 0 where the sample's rows are in no order.
    """

    name: str
    bins: str = ""
    shares: str = ""
    categories: dict[str, float] = {}
    missing: float = 0.0
    run: int = 0

    def edges(self) -> Array:
        """float32 [bins + 1]. Raises ValueError for a text that does not hold them."""
        found = np.frombuffer(_decoded(self.name, self.bins, 4), dtype="<f4")
        if len(found) < 2 or not np.isfinite(found).all() or (np.diff(found) < 0).any():
            raise ValueError(f"the bins of {self.name!r} are no ascending numbers")
        return found

    def bin_shares(self) -> Array:
        """float64 [bins], of all rows that are not missing. Raises ValueError for a text that does not hold them."""
        found = np.frombuffer(_decoded(self.name, self.shares, 2), dtype="<u2").astype(np.float64) / _FULL
        if len(found) != len(self.edges()) - 1 or not 0.9 < float(found.sum()) < 1.1:
            raise ValueError(f"the shares of {self.name!r} do not fit its bins")
        return found


class Reference(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of a sample of `rows`: the model's features in their order, and the numbers or classes that it predicted."""

    rows: int
    order: Literal["", "time"] = ""
    features: tuple[FeatureReference, ...] = ()
    predictions: tuple[FeatureReference, ...] = ()
    thumbnail: str = ""
    """Of pictures, whose features are `look.STATISTICS`: base64 of int8, the mean thumbnail."""
    alike: float = 0.0
    """How far the sample's thumbnails go with their mean, -1 to 1: near 1 they are of one scene."""

    def mean_thumbnail(self) -> Array:
        """float64 [HEIGHT x WIDTH], of length 1. Raises ValueError for a text that does not hold one."""
        found = np.frombuffer(_decoded("thumbnail", self.thumbnail, 1), dtype=np.int8).astype(np.float64)
        if len(found) != HEIGHT * WIDTH:
            raise ValueError(f"the thumbnail holds {len(found)} bytes, {HEIGHT * WIDTH} belong there")
        return found / max(1.0, float(np.linalg.norm(found)))


def read(found: object, features: Sequence[str], *, pictures: bool = False) -> Reference:
    """The reference of a manifest, checked; `pictures`: the model takes those, and no features. Raises ValueError for
    one that is damaged or of other features."""
    try:
        reference = msgspec.convert(found, Reference)
    except msgspec.ValidationError as exc:
        raise ValueError(str(exc)) from exc
    names = [f.name for f in reference.features]
    if pictures != bool(reference.thumbnail):
        kinds = ("rows", "pictures")
        raise ValueError(f"it is of {kinds[not pictures]}, and the model takes {kinds[pictures]}")
    if pictures:
        reference.mean_thumbnail()
        features = STATISTICS
    if names != list(features):
        raise ValueError(f"it is of other features ({_some(names)}) than the model's ({_some(features)})")
    for one in (*reference.features, *reference.predictions):
        if one.bins:
            one.bin_shares()
        if any(not 0 <= share <= 1 for share in (one.missing, *one.categories.values())):
            raise ValueError(f"a share of {one.name!r} is not between 0 and 1")
    return reference


def of_numbers(name: str, values: Array, *, ordered: bool = False) -> FeatureReference:
    """Of a column of numbers, float [rows]; NaN is a missing value. `ordered`: the rows are in the order of time."""
    known = values[np.isfinite(values)].astype(np.float64)
    missing = 1.0 - len(known) / max(1, len(values))
    run = longest_run(values) if ordered else 0
    if not len(known):
        return FeatureReference(name=name, missing=round(missing, 6), run=run)
    edges = _edges(known)
    shares = np.round(binned(edges, known)[1:-1] / len(known) * _FULL).astype("<u2")
    return FeatureReference(
        name=name, bins=_encoded(edges), shares=_encoded(shares), missing=round(missing, 6), run=run
    )  # fmt: skip


def of_pictures(looks: Array) -> tuple[tuple[FeatureReference, ...], str, float]:
    """The features, the thumbnail and `alike`, of looks, float [pictures, SIZE]."""
    thumbnails = looks[:, len(STATISTICS) :].astype(np.float64)
    mean = thumbnails.mean(axis=0)
    unit = mean / max(1e-9, float(np.linalg.norm(mean)))
    features = tuple(of_numbers(name, looks[:, i]) for i, name in enumerate(STATISTICS))
    scaled = np.round(unit / max(1e-9, float(np.abs(unit).max())) * _BYTE).astype(np.int8)
    return features, _encoded(scaled), round(float((thumbnails @ unit).mean()), 4)


def of_texts(name: str, values: Iterable[str], *, others_missing: bool = True) -> FeatureReference:
    """Of a column of texts; "" is a missing value unless `others_missing` is False (a class of a model may be "")."""
    counted = Counter(values)
    rows = sum(counted.values())
    missing = counted.pop("", 0) / max(1, rows) if others_missing else 0.0
    told = [(text, n) for text, n in counted.most_common(CATEGORIES_MOST) if n >= RARE]
    categories = {text: round(n / rows, 6) for text, n in told}
    return FeatureReference(name=name, categories=categories, missing=round(missing, 6))


def of_classes(counts: dict[str, int]) -> FeatureReference:
    """Of the classes that the model predicted, rare ones too: they stand in the model."""
    rows = max(1, sum(counts.values()))
    return FeatureReference(name="class", categories={label: round(n / rows, 6) for label, n in counts.items()})


def of_objects(counts: Sequence[int]) -> FeatureReference:
    """Of how many objects a detector found in each picture."""
    return of_numbers(OBJECTS, np.asarray(counts, dtype=np.float64))


def of_scores(scores: Sequence[float]) -> FeatureReference:
    """Of the scores of all objects, 0 to 1."""
    return of_numbers(OBJECT_SCORE, np.asarray(scores, dtype=np.float64))


def binned(edges: Array, values: Array) -> Array:
    """How many of some finite values lie in each bin, int64 [len(edges) + 1]: the first is below the smallest, the last
    above the largest value of the reference. An edge belongs to the bin above it, the largest to the one below."""
    # As many passes as there are edges, some ten: a quarter of the time that it takes to look up the bin of each.
    below = [np.count_nonzero(values < edge) for edge in edges[:-1]]
    return np.diff([0, *below, len(values) - np.count_nonzero(values > edges[-1]), len(values)])


def longest_run(values: Array) -> int:
    """The most rows in a row with one and the same value; missing values are no run."""
    if not len(values):
        return 0
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    return int(np.max(np.diff(np.append(-1, ends))))


def lag_correlation(values: Array) -> float:
    """The correlation of the ranks of neighbouring rows, -1 to 1; 0 where there is nothing to tell."""
    known = values[np.isfinite(values)]
    if len(known) < 3 or known.min() == known.max():
        return 0.0
    ranks = np.argsort(np.argsort(known, kind="stable"), kind="stable").astype(np.float64)
    return float(np.corrcoef(ranks[:-1], ranks[1:])[0, 1])


def _edges(known: Array) -> Array:
    """The smallest value, what divides the rows into ten about equal parts, the largest; fewer where values repeat."""
    values = np.unique(known)
    if len(values) <= BINS:
        inner = (values[:-1] + values[1:]) / 2
    else:
        inner = np.unique(np.quantile(known, np.arange(1, BINS) / BINS, method="higher"))
    low, high = _outward(float(values[0]), down=True), _outward(float(values[-1]), down=False)
    edges = np.clip([low, *inner, high], -_LARGEST, _LARGEST).astype("<f4")
    # What is rounded to float32 may have moved inward.
    edges[0] = np.nextafter(edges[0], np.float32(-np.inf)) if edges[0] > values[0] else edges[0]
    edges[-1] = np.nextafter(edges[-1], np.float32(np.inf)) if edges[-1] < values[-1] else edges[-1]
    return np.asarray(np.maximum.accumulate(edges))


def _outward(value: float, *, down: bool) -> float:
    """Rounded to three digits, away from the others: the extreme of a sample is somebody's very value."""
    if abs(value) < _SMALLEST:
        return 0.0 if (value >= 0.0 and down) or (value <= 0.0 and not down) else math.copysign(_SMALLEST, value)
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 2)
    return math.floor(value / step) * step if down else math.ceil(value / step) * step


def _encoded(values: Array) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def _decoded(name: str, text: str, size: int) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise ValueError(f"the bins of {name!r}: {exc}") from exc
    if not raw or len(raw) % size:
        raise ValueError(f"the bins of {name!r} hold {len(raw)} bytes")
    return raw


def _some(names: Sequence[str]) -> str:
    return f"{len(names)}: {', '.join(names[:3])}" + (", ..." if len(names) > 3 else "")
