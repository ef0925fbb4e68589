"""Rules in use elsewhere, on the same samples: each window against the samples of the device's first day."""

from __future__ import annotations

import importlib.util
from typing import Protocol

import numpy as np
from scipy.stats import kstwobign

from .streams import BINS, EDGES, FEATURES, HOURS, WINDOW, Day

MONTH = 720


class Rival(Protocol):
    """Is given the first day, then each day; tells in how many windows it alarmed."""

    name: str

    def learn(self, day: Day) -> None: ...

    def alarms(self, day: Day) -> int: ...


class KolmogorovSmirnov:
    """The two-sample test for each feature, Bonferroni-corrected to one false window a month."""

    name = "Kolmogorov-Smirnov, Bonferroni"

    def learn(self, day: Day) -> None:
        self._first = np.sort(day.samples, axis=0)

    def alarms(self, day: Day) -> int:
        windows = np.sort(day.samples.reshape(-1, WINDOW, FEATURES), axis=1)
        return sum(any(self._differs(w[:, i], self._first[:, i]) for i in range(FEATURES)) for w in windows)

    @staticmethod
    def _differs(window: np.ndarray, first: np.ndarray) -> bool:
        """The largest distance of the two distributions, by its limit for large samples (as `ks_2samp` has it)."""
        n, m = len(window), len(first)
        below = np.searchsorted(first, window) / m
        steps = np.arange(n + 1) / n
        distance = max(np.max(np.abs(below - steps[:-1])), np.max(np.abs(below - steps[1:])))
        return bool(kstwobign.sf(np.sqrt(n * m / (n + m)) * distance) < 1 / (MONTH * FEATURES))


class Psi:
    """The population stability index above 0.2 in any feature, ten bins."""

    name = "PSI > 0.2"

    def learn(self, day: Day) -> None:
        self._expected = self._shares(day.samples)

    def alarms(self, day: Day) -> int:
        windows = day.samples.reshape(-1, WINDOW, FEATURES)
        return sum(bool((self._index(w) > 0.2).any()) for w in windows)

    def _index(self, window: np.ndarray) -> np.ndarray:
        shares = self._shares(window)
        return ((shares - self._expected) * np.log(shares / self._expected)).sum(axis=0)

    @staticmethod
    def _shares(samples: np.ndarray) -> np.ndarray:
        places = np.searchsorted(EDGES, samples.ravel()).reshape(samples.shape)
        counts = np.stack([(places == b).sum(axis=0) for b in range(BINS)])
        return np.maximum(counts / len(samples), 1e-4)


class Adwin:
    """river's ADWIN at its own settings, on the first feature alone: windows in which it saw a change."""

    name = "ADWIN (river), one feature"

    def learn(self, day: Day) -> None:
        from river.drift import ADWIN

        self._adwin = ADWIN()
        self.alarms(day)

    def alarms(self, day: Day) -> int:
        found = 0
        for hour in range(HOURS):
            seen = False
            for value in day.samples[hour * WINDOW : (hour + 1) * WINDOW, 0].tolist():
                self._adwin.update(value)
                seen = seen or self._adwin.drift_detected
            found += seen
        return found


def installed() -> list[Rival]:
    """Those whose libraries are here."""
    found: list[Rival] = [KolmogorovSmirnov(), Psi()]
    return [*found, Adwin()] if importlib.util.find_spec("river") else found
