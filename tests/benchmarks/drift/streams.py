"""Simulated devices: 30 features, a sample every 5 seconds, hours of 720 samples; a day to arm and a month to judge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter

WINDOW, FEATURES, HOURS, DAYS = 720, 30, 24, 31
BINS = 10
EDGES = np.array([NormalDist().inv_cdf(i / BINS) for i in range(1, BINS)], dtype=np.float32)
"""Between the bins: those that a conversion makes of a large sample."""


class Stream(NamedTuple):
    """`memory` is the correlation of a sample with the one before it, of all features or of one in turn; a `cycle` of a
    day has the variance of the noise. Every feature has the deviation 1."""

    name: str
    memory: float | tuple[float, ...] = 0.0
    cycle: bool = False


STREAMS = (
    Stream("independent"),
    Stream("AR(1) 0.9", 0.9),
    Stream("AR(1) 0.99", 0.99),
    Stream("AR(1) 0.999", 0.999),
    Stream("AR(1) 0.99 and a daily cycle", 0.99, cycle=True),
    Stream("AR(1) 0.9 and a daily cycle", 0.9, cycle=True),
    Stream("features of each kind, AR(1) 0 to 0.999", (0.0, 0.5, 0.9, 0.99, 0.999)),
)


class Day(NamedTuple):
    """A day's samples, float32 [samples, features], its windows' scores, [hours, scores], and those of the same
    samples with all features moved, by fault."""

    samples: np.ndarray
    scores: np.ndarray
    moved: Mapping[str, np.ndarray] = {}


def days(stream: Stream, seed: int) -> Iterator[Day]:
    """A device's first month after the day on which it arms."""
    random = np.random.default_rng(10 * seed + STREAMS.index(stream))
    memories = np.resize(np.asarray(stream.memory, np.float32), FEATURES)
    # What came before the first sample, as a filter's state wants it.
    state = random.standard_normal(FEATURES, dtype=np.float32) * memories
    phase = random.uniform(0, 2 * np.pi, FEATURES).astype(np.float32)
    times = np.arange(HOURS * WINDOW, dtype=np.float32)[:, None] * np.float32(2 * np.pi / (HOURS * WINDOW))
    for _ in range(DAYS):
        samples = random.standard_normal((HOURS * WINDOW, FEATURES), dtype=np.float32)
        for memory in {float(m) for m in memories} - {0.0}:
            which = memories == np.float32(memory)
            filter_b, filter_a = np.ones(1, np.float32), np.array([1, -memory], np.float32)
            own = samples[:, which] * np.float32(np.sqrt(1 - memory**2))
            samples[:, which], ends = lfilter(filter_b, filter_a, own, axis=0, zi=state[None, which])
            state[which] = ends[0]
        if stream.cycle:
            samples = (samples + np.sqrt(np.float32(2)) * np.sin(times + phase)) / np.sqrt(np.float32(2))
        yield Day(samples, scores(samples))


def scores(samples: np.ndarray) -> np.ndarray:
    """[windows, 2 x features]: place and spread of the ranks, by the bins; of what lies outside too."""
    places = np.zeros(samples.shape, np.int8)
    for edge in EDGES:
        places += samples > edge
    by_window = places.reshape(-1, WINDOW, samples.shape[1])
    place = (by_window.sum(axis=1, dtype=np.int32) / WINDOW + 0.5) / BINS
    spread = np.abs(2 * by_window - (BINS - 1)).sum(axis=1, dtype=np.int32) / (2 * BINS * WINDOW)
    return np.concatenate([place, spread], axis=1)


FAULTS: Mapping[str, float] = {"one deviation": 1.0, "half a deviation": 0.5}
