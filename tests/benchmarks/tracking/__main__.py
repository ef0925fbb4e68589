"""`python -m tracking --rival PYTHON`: MOTA, IDF1, switches and processor time beside trackers' ByteTrack.

PYTHON is that of an environment with `trackers` and `motmetrics` (`pip install trackers motmetrics`: 660 MB); its
environment is not ours. Scenes are made here (`tests/support/scenes.py`), the judge runs there, for both.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from support.scenes import scene

from edge.tracking.tracker import Tracker

SURE = 0.5
FRAME_NS = 1_000_000_000 // 30
KINDS: tuple[dict[str, float], ...] = (
    {},
    {"objects": 30},
    {"missed": 0.15},
    {"objects": 12, "missed": 0.1, "false": 1.0},
)
JUDGE = Path(__file__).parent / "rivals" / "bytetrack.py"


def main() -> None:
    parser = argparse.ArgumentParser(prog="tracking")
    parser.add_argument("--rival", required=True, help="the Python of an environment with trackers and motmetrics")
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument("--first", type=int, default=1, help="the seed of the first scene")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seeds = range(args.first, args.first + args.scenes)
        ours_us = {f"scene-{seed:02}": _write(Path(folder), seed) for seed in seeds}
        said = subprocess.run([args.rival, str(JUDGE), folder], check=True, stdout=subprocess.PIPE, text=True)
    figures = json.loads(said.stdout.splitlines()[-1])
    print(f"{'':10} {'MOTA':>15} {'IDF1':>15} {'switches':>11} {'us a frame':>13}")
    print(f"{'':10} {'ours  theirs':>15} {'ours  theirs':>15} {'ours theirs':>11} {'ours theirs':>13}")
    for one in figures:
        one["ours"]["us"], one["theirs"]["us"] = ours_us[one["scene"]], one["cpu_us"]
        _print(one["scene"], one["ours"], one["theirs"])
    names = ("mota", "idf1", "num_switches", "us")
    mean = [{n: statistics.mean(one[of][n] for one in figures) for n in names} for of in ("ours", "theirs")]
    _print("mean", *mean)


def _print(name: str, ours: dict[str, float], theirs: dict[str, float]) -> None:
    print(
        f"{name:10} {ours['mota']:8.3f} {theirs['mota']:6.3f} {ours['idf1']:8.3f} {theirs['idf1']:6.3f} "
        f"{ours['num_switches']:5.0f} {theirs['num_switches']:5.0f} {ours['us']:7.0f} {theirs['us']:5.0f}"
    )


def _write(folder: Path, seed: int) -> float:
    """The scene, and our ids for it; microseconds of processor for a frame."""
    frames = scene(seed, **KINDS[seed % len(KINDS)])
    tracker = Tracker(1.0, itertools.count(1).__next__)
    given = [(f.boxes, np.zeros(len(f.boxes), dtype=np.int64), f.scores >= SURE) for f in frames]
    started = time.process_time()
    seen = [tracker.step(*one, at * FRAME_NS) for at, one in enumerate(given)]
    took = time.process_time() - started
    np.savez(
        folder / f"scene-{seed:02}.npz",
        truth=np.array([list(f.truth.values()) for f in frames]),
        counts=np.array([len(f.boxes) for f in frames]),
        boxes=np.concatenate([f.boxes for f in frames]),
        scores=np.concatenate([f.scores for f in frames]),
        ours=np.concatenate([s.ids for s in seen]),
        sure=SURE,
    )
    return took / len(frames) * 1e6


main()
