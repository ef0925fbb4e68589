"""Pictures to counts, and what is odd about them in words. Exact, and merged by adding, as rows are.

Behind the counts of the three statistics stand sums: how many pictures, the statistics, the thumbnails. They are judged
by their means and not by the bins, in which another camera than the sample's has all its pictures on one side. Of the
mean thumbnail the slowest waves are judged, each by itself: people who walk by change them little, a camera that is
turned all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.data.tensor import Array
from edge.drift.look import SIZE, STATISTICS, cosines
from edge.drift.places import Places, Score
from edge.drift.reference import FeatureReference, Reference
from edge.drift.report import Finding, Kind

SCALE = 1_000_000
"""Sums are whole numbers of a millionth."""
FLOORS = (0.02, 0.005, 0.02)
"""By statistic, and for a wave of the thumbnail: a scene that never changed is not at an infinite distance with its
first change."""
FLOOR_SCENE = 0.004
ONE_SCENE = 0.8
OTHER_SCENE = 0.4
"""The sample is of one scene where its thumbnails go with their mean so far, the device looks at another one where its
own do not go with it so far."""
WORDS: dict[str, tuple[Kind, Kind]] = {
    "sharpness": ("blurred", "sharper"),
    "brightness": ("darker", "brighter"),
    "contrast": ("flatter", "harder"),
    "scene": ("moved", "moved"),
}


class PicturePlaces(Places):
    """Of pictures. Pure."""

    def __init__(self, features: Sequence[FeatureReference], reference: Reference) -> None:
        """`features`: the bins of the statistics. Raises ValueError for what cannot be read."""
        self._waves = cosines()
        super().__init__(features)
        if self.numbers != tuple(range(len(STATISTICS))):
            raise ValueError(f"a statistic of the pictures has no bins; there are to be {', '.join(STATISTICS)}")
        self._thumbnail = reference.mean_thumbnail() if reference.alike >= ONE_SCENE else None
        self.runs_of = ("picture",) * len(STATISTICS)

    def __len__(self) -> int:
        return int(self.starts[-1]) + 1 + SIZE

    def count_looks(self, looks: Array) -> Array:
        """int64 [counts], of looks, float [pictures, SIZE]."""
        counts = self.count_numbers(np.ascontiguousarray(looks[:, : len(STATISTICS)].T, dtype=np.float32))
        tail = counts[int(self.starts[-1]) :]
        tail[0] = len(looks)
        tail[1:] = np.round(looks.astype(np.float64) * SCALE).astype(np.int64).sum(axis=0)
        return counts

    def judged(self, counts: Array) -> Array:
        means = self._means(counts)
        return np.concatenate([means[: len(STATISTICS)], self._waves @ _unit(means[len(STATISTICS) :])])

    def floor(self, rows: int, counts: Array) -> Array:
        return np.asarray([*FLOORS, *[FLOOR_SCENE] * len(self._waves)])

    def doubtful(self, counts: Array) -> list[str]:
        """Statistics of which most lie where the sample had none, and a scene that is another one than the sample's."""
        found = []
        for i in self.numbers:
            own = self.of(counts, i)
            if max(own[0], own[-2]) > own.sum() / 2:
                found.append(self.features[i].name)
        thumbnail = _unit(self._means(counts)[len(STATISTICS) :])
        if self._thumbnail is not None and float(thumbnail @ self._thumbnail) < OTHER_SCENE:
            found.append("scene")
        return found

    def name_of(self, score: Score) -> str:
        return score.what

    def kind_of(self, score: Score, *, up: bool) -> Kind:
        return WORDS[score.what][up]

    def _means(self, counts: Array) -> Array:
        tail = counts[int(self.starts[-1]) :]
        return np.asarray(tail[1:] / SCALE / max(1, int(tail[0])))

    def _described(self) -> list[Score]:
        waves = [Score(0, "scene", str(n)) for n in range(len(self._waves))]
        return [*(Score(i, name) for i, name in enumerate(STATISTICS)), *waves]


def _unit(thumbnail: Array) -> Array:
    return np.asarray(thumbnail / max(1e-9, float(np.linalg.norm(thumbnail))))


def in_words(findings: Sequence[Finding]) -> list[Finding]:
    """One for each thing that is odd, the farthest: the scene has many waves. Noise in the dark looks sharp, and is no
    news beside the darkness."""
    found: dict[tuple[str, Kind, object], Finding] = {}
    for finding in sorted(findings, key=lambda f: f.weight):
        found[finding.name, finding.kind, finding.category] = finding
    kinds = {f.kind for f in found.values()}
    return [f for f in found.values() if not (f.kind == "sharper" and "darker" in kinds)]
