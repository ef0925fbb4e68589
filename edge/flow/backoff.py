"""How long to wait before the next try."""

from __future__ import annotations

import random


class Backoff:
    """Doubles from `first_s` to `most_s`, with full jitter above half, so that a hundred devices do not
    come back in the same second."""

    def __init__(self, first_s: float = 0.5, most_s: float = 30.0, rng: random.Random | None = None) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._rng = rng or random.Random()  # noqa: S311 - spreads retries, keeps no secret
        self._next_s = first_s

    def next_s(self) -> float:
        """Seconds to wait now."""
        wait = self._next_s
        self._next_s = min(self._most_s, self._next_s * 2)
        return wait * self._rng.uniform(0.5, 1.0)

    def reset(self) -> None:
        """It worked: begin again at the shortest wait."""
        self._next_s = self._first_s
