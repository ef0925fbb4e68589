"""What a device has learnt, on disk: one JSON file, written whole, at most once a window.

It holds the reference by whose places it was counted, so that it goes on where a new version of the model brings
another sample of the same features: places are but a scale. What was learnt of the predictions belongs to one model.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from edge.drift.places import Places
from edge.drift.reference import FeatureReference
from edge.drift.report import Of
from edge.drift.rule import Baseline, Rule
from edge.storage import atomic

SCHEMA = 1


class SavedSide(msgspec.Struct, frozen=True):
    """Of the features, or of the predictions. `scores`: base64 of float32 [windows, scores]; `slots` the part of the
    day of each window; `counts` of all that was learnt."""

    features: tuple[FeatureReference, ...]
    scores: str
    slots: list[int]
    counts: list[int]


class Saved(msgspec.Struct, frozen=True):
    """`runs` and `missing_runs` are the longest, `missing` and `unknown` the most in one window, by feature.
    `offset_s`: of the local time from UTC when it was begun; None in files from before that was kept."""

    sha256: str
    window_s: float
    rows: int
    inputs: SavedSide
    predictions: SavedSide
    runs: list[int]
    missing_runs: list[int]
    missing: list[int]
    unknown: list[int]
    schema: int = SCHEMA
    offset_s: int | None = None


class Side:
    """The features, or the predictions: where they are counted, how they are judged, what was learnt of them."""

    def __init__(self, of: Of, places: Places, slots: int, among: float = 0.0) -> None:
        self.of, self.places = of, places
        self._slots, self._among = slots, among
        self.rule = Rule(self.places.kinds, slots, among=among)
        self.counts = np.zeros(len(self.places), dtype=np.int64)

    def restore(self, saved: SavedSide) -> None:
        """What was learnt in another life. Raises ValueError for what does not fit its own reference."""
        raw = np.frombuffer(base64.b64decode(saved.scores, validate=True), dtype="<f4").astype(np.float64)
        width = len(self.places.scores)
        if raw.size != width * len(saved.slots) or len(saved.counts) != len(self.places):
            raise ValueError(f"{raw.size} scores of {len(saved.slots)} windows, {width} belong to each")
        if not np.isfinite(raw).all() or any(not 0 <= s < max(1, self._slots) for s in saved.slots):
            raise ValueError("scores or hours that are none")
        baseline = Baseline(raw.reshape(len(saved.slots), width), np.asarray(saved.slots, dtype=np.int64))
        self.rule = Rule(self.places.kinds, self._slots, baseline, self._among)
        self.counts = np.asarray(saved.counts, dtype=np.int64)

    def saved(self) -> SavedSide:
        """As it is written."""
        baseline = self.rule.baseline
        scores = base64.b64encode(baseline.scores.astype("<f4").tobytes()).decode()
        return SavedSide(self.places.features, scores, baseline.slots.tolist(), self.counts.tolist())


def read(path: Path) -> Saved | None:
    """None where there is none. Raises ValueError for a damaged one, OSError."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        found = msgspec.json.decode(text, type=Saved)
    except msgspec.MsgspecError as exc:
        raise ValueError(str(exc)) from exc
    if found.schema != SCHEMA:
        raise ValueError(f"schema {found.schema}, and this edge-run reads {SCHEMA}")
    return found


def write(path: Path, saved: Saved) -> None:
    """Whole or not at all. Raises OSError."""
    atomic.write(path, msgspec.json.encode(saved))


def same_scale(ours: Sequence[FeatureReference], theirs: Sequence[FeatureReference]) -> bool:
    """Whether what was counted in the places of one reference can go on with another: the same features, and of texts
    the same categories."""
    return [_kind(f) for f in ours] == [_kind(f) for f in theirs]


def _kind(feature: FeatureReference) -> tuple[str, object]:
    return feature.name, "number" if feature.bins else tuple(feature.categories)
