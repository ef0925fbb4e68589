"""Whether the pictures of a file come at the rate that its container says.

Matroska and WebM hold no count of pictures, and that of an .avi counts places that hold none: OpenCV's count is length
times rate, or such places. It is right where every picture stands one step of the rate behind the one before. Recorders
of screens and browsers write none where nothing moved.
"""

from __future__ import annotations

ROUNDED_MS = 1.5
"""Matroska's times are whole milliseconds."""
OFF = 0.2
"""Share of a step by which a picture may stand beside it."""
MOST = 0.05
"""Share of pictures that may, in a file of one rate: times behind a damaged place may be wrong."""
FEW = 5


class Pace:
    """Of one file."""

    def __init__(self, rate: float) -> None:
        """`rate`: pictures a second, as the container says; 0 where it does not."""
        self._step_ms = 1000 / rate if rate > 0 else 0.0
        self._first_ms = 0.0
        self._last_ms: float | None = None
        self._steps = self._ones = self._irregular = 0

    def came(self, at_ms: float) -> None:
        """A picture, in the order of their times."""
        last_ms, self._last_ms = self._last_ms, at_ms
        if last_ms is None:
            self._first_ms = at_ms
        if last_ms is None or not self._step_ms:
            return
        steps = round((at_ms - last_ms) / self._step_ms)
        self._steps += 1
        self._ones += steps <= 1
        beside_ms = abs(at_ms - last_ms - steps * self._step_ms)
        self._irregular += beside_ms > max(ROUNDED_MS, OFF * self._step_ms)

    @property
    def varies(self) -> bool:
        """Pictures come at no rate, or at none that the container knows."""
        if self._steps < FEW:
            return False
        return not self._ones or self._irregular > MOST * self._steps

    @property
    def room(self) -> int:
        """How many pictures there would be up to the last one, at the rate."""
        if self._last_ms is None or not self._step_ms:
            return 0
        return round((self._last_ms - self._first_ms) / self._step_ms) + 1
