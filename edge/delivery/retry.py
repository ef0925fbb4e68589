"""How long to wait before the next try: of sources and sinks, and of the broker."""

from __future__ import annotations

import random

EAGER_MOST_S = 0.25


class Backoff:
    """Doubles from `first_s` to `most_s`, with full jitter above half, so that a hundred devices do not
    come back in the same second.

    With `eager_s` the waits stay short for as many seconds first: for what may be back at any moment, and costs
    whoever comes late. `calm` ends that until it works again.
    """

    def __init__(
        self, first_s: float = 0.5, most_s: float = 30.0, rng: random.Random | None = None, *, eager_s: float = 0.0
    ) -> None:
        self._first_s = first_s
        self._eager_s = self._eager_left_s = eager_s
        self._most_s = most_s
        self._rng = rng or random.Random()  # noqa: S311 - spreads retries, keeps no secret
        self._next_s = first_s

    def next_s(self) -> float:
        """Seconds to wait now."""
        most = EAGER_MOST_S if self._eager_left_s > 0 else self._most_s
        wait = min(most, self._next_s) * self._rng.uniform(0.5, 1.0)
        self._next_s = min(most, self._next_s * 2)
        self._eager_left_s -= wait
        return wait

    def calm(self) -> None:
        """It said no: to ask again at once would change nothing."""
        self._eager_left_s = 0.0

    def reset(self) -> None:
        """It worked: begin again at the shortest wait."""
        self._next_s = self._first_s
        self._eager_left_s = self._eager_s


def for_broker() -> Backoff:
    """Eager for a minute: a broker without a memory has forgotten our subscription when it starts again, and what is
    published until we are back reaches no one."""
    return Backoff(first_s=0.1, eager_s=60.0)
