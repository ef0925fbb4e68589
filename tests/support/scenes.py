"""Scenes whose truth is known: boxes that cross, pass behind one another, are missed, and boxes that are nothing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

WIDTH, HEIGHT = 1280, 720


class Frame(NamedTuple):
    """`truth` by object its box; what a detector says: `boxes` [D, 4], `scores` [D]."""

    truth: dict[int, tuple[float, float, float, float]]
    boxes: np.ndarray
    scores: np.ndarray


def scene(seed: int, *, frames: int = 600, objects: int = 20, missed: float = 0.05, false: float = 0.4) -> list[Frame]:
    """Objects walk, bounce off the walls and turn now and then. One that another covers by more than half is seen
    with a low score or not at all, for as long as that lasts."""
    rng = np.random.default_rng(seed)
    size = np.stack((rng.uniform(40, 90, objects), rng.uniform(80, 180, objects)), axis=1)
    at = rng.uniform((0, 0), (WIDTH, HEIGHT), (objects, 2))
    speed = rng.normal(0, 4, (objects, 2))
    return [_frame(rng, at, speed, size, missed, false) for _ in range(frames)]


def _frame(rng, at, speed, size, missed, false) -> Frame:
    turns = rng.random(len(at)) < 0.01
    speed[turns] = rng.normal(0, 4, (int(turns.sum()), 2))
    at += speed
    for axis, limit in enumerate((WIDTH, HEIGHT)):
        out = (at[:, axis] < 0) | (at[:, axis] > limit)
        speed[out, axis] *= -1
        at[:, axis] = np.clip(at[:, axis], 0, limit)
    boxes = np.concatenate((at - size / 2, at + size / 2), axis=1)
    truth = {i: tuple(box) for i, box in enumerate(boxes.tolist())}
    scores = np.clip(rng.normal(0.8, 0.08, len(at)), 0.05, 1)
    covered = _covered(boxes)
    scores[covered > 0.5] = rng.uniform(0.1, 0.5, int((covered > 0.5).sum()))
    seen = (rng.random(len(at)) >= missed) & (covered < 0.8)
    noise = rng.normal(0, 0.02, boxes.shape) * np.concatenate((size, size), axis=1)
    ghosts = rng.poisson(false)
    corner = rng.uniform((0, 0), (WIDTH, HEIGHT), (ghosts, 2))
    wrong = np.concatenate((corner, corner + rng.uniform(30, 120, (ghosts, 2))), axis=1)
    return Frame(
        truth,
        np.concatenate(((boxes + noise)[seen], wrong)),
        np.concatenate((scores[seen], rng.uniform(0.2, 0.7, ghosts))),
    )


def _covered(boxes) -> np.ndarray:
    """The share of each that the one most in front of it (a later one is nearer) covers."""
    sides = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    common = np.prod(np.maximum(sides, 0), axis=2)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return np.triu(common / area[:, None], 1).max(axis=1)
