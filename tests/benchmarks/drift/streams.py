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
    """`memory` is the correlation of a sample with the one before it; a `cycle` of a day has the variance of the
    noise. Every feature has the deviation 1."""

    name: str
    memory: float = 0.0
    cycle: bool = False


STREAMS = (
    Stream("independent"),
    Stream("AR(1) 0.9", 0.9),
    Stream("AR(1) 0.99", 0.99),
    Stream("AR(1) 0.999", 0.999),
    Stream("AR(1) 0.99 and a daily cycle", 0.99, cycle=True),
    Stream("AR(1) 0.9 and a daily cycle", 0.9, cycle=True),
)


class Day(NamedTuple):
    """A day's samples, float32 [samples, features], and its windows' scores, [hours, scores]."""

    samples: np.ndarray
    scores: np.ndarray


def days(stream: Stream, seed: int) -> Iterator[Day]:
    """A device's first month after the day on which it arms."""
    random = np.random.default_rng(10 * seed + STREAMS.index(stream))
    state = random.standard_normal((1, FEATURES), dtype=np.float32) * np.float32(stream.memory)
    phase = random.uniform(0, 2 * np.pi, FEATURES).astype(np.float32)
    times = np.arange(HOURS * WINDOW, dtype=np.float32)[:, None] * np.float32(2 * np.pi / (HOURS * WINDOW))
    for _ in range(DAYS):
        samples = random.standard_normal((HOURS * WINDOW, FEATURES), dtype=np.float32)
        if stream.memory:
            samples *= np.float32(np.sqrt(1 - stream.memory**2))
            filter_b, filter_a = np.ones(1, np.float32), np.array([1, -stream.memory], np.float32)
            samples, state = lfilter(filter_b, filter_a, samples, axis=0, zi=state)
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


def shifted(day: Day, by: float) -> np.ndarray:
    """The scores of the day with the first feature moved."""
    moved = scores(day.samples[:, :1] + np.float32(by))
    found = day.scores.copy()
    found[:, 0], found[:, FEATURES] = moved[:, 0], moved[:, 1]
    return found
