"""trackers' ByteTrack, and the judge for both: run in an environment with trackers and motmetrics.

`bytetrack.py FOLDER`: reads each `*.npz` there (`counts`, `boxes`, `scores`, all frames behind one another),
prints what its tracker took and, by motmetrics, how its tracks and `ours` (ids, 0 for none) compare with the truth.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import motmetrics
import numpy as np
import supervision as sv
from trackers import ByteTrackTracker


def main() -> None:
    figures = []
    for path in sorted(Path(sys.argv[1]).glob("*.npz")):
        held = np.load(path)
        theirs, cpu_us = _theirs(held)
        ours = _split(held["ours"], held["counts"])
        boxes = _split(held["boxes"], held["counts"])
        figures.append(
            {"scene": path.stem, "cpu_us": cpu_us, "theirs": _judged(held, theirs),
             "ours": _judged(held, [(b[i > 0], i[i > 0]) for b, i in zip(boxes, ours, strict=True)])}
        )  # fmt: skip
    print(json.dumps(figures))


def _theirs(held):
    """Boxes and ids of each frame; microseconds of processor for a frame."""
    tracker = ByteTrackTracker(
        high_conf_det_threshold=float(held["sure"]), track_activation_threshold=float(held["sure"])
    )
    given = [
        sv.Detections(xyxy=b, confidence=s, class_id=np.zeros(len(b), dtype=int))
        for b, s in zip(_split(held["boxes"], held["counts"]), _split(held["scores"], held["counts"]), strict=True)
    ]
    started = time.process_time()
    found = [tracker.update(one) for one in given]
    took = time.process_time() - started
    return [(f.xyxy[f.tracker_id >= 0], f.tracker_id[f.tracker_id >= 0]) for f in found], took / len(given) * 1e6


def _split(values, counts):
    return np.split(values, np.cumsum(counts)[:-1])


def _judged(held, frames) -> dict[str, float]:
    judge = motmetrics.MOTAccumulator(auto_id=True)
    for truth, (boxes, ids) in zip(held["truth"], frames, strict=True):
        judge.update(list(range(len(truth))), ids.tolist(), _distances(truth, boxes))
    table = motmetrics.metrics.create().compute(judge, metrics=["mota", "idf1", "num_switches"])
    return {name: float(table[name].iloc[0]) for name in table.columns}


def _distances(a, b):
    """1 - IoU, NaN where that is below 0.5 (motmetrics' own asks numpy for what it has no more)."""
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    common = np.prod(np.maximum(sides, 0), axis=2)
    areas = [np.prod(c[:, 2:] - c[:, :2], axis=1) for c in (a, b)]
    distance = 1 - common / (areas[0][:, None] + areas[1][None, :] - common)
    return np.where(distance > 0.5, np.nan, distance)


main()
