"""The frame rate of a live source under heat: lowered before the firmware lowers the clock for everybody.

The firmware's throttling is blunt: it takes the clock down for the whole board, and a broker or an SSH session on it
suffers too. So the model looks at fewer frames instead. Every few seconds the thermometer is read:

- at or above the limit the rate goes down by a tenth for each degree above it (at least a tenth, at most by half),
  from the rate that the model really reached, however many frames the camera gave;
- from `HYSTERESIS_C` below the limit it goes up by a tenth, until nothing has to be shed any more;
- in between it stays: a heat sink answers in minutes, a controller that hurries would swing.

A frame that comes too early is shed and counted; the log tells the two changes of state, not frames.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from edge.data.units import SECOND_NS
from edge.plugins.protocols import Clock, Source
from edge.telemetry.metrics import Metrics

log = logging.getLogger("edge.heat")

PERIOD_S = 5.0
HYSTERESIS_C = 3.0
STEP = 0.1
LARGEST_STEP = 0.5
SLOWEST_HZ = 0.1
"""A service that watches something goes on watching it, if only once in ten seconds."""


class HeatLimit:
    """Which frames the model may look at. `admit` is called by one thread, for every frame of the source."""

    def __init__(
        self, max_celsius: float, thermometer: Callable[[], float | None], *, clock: Clock, metrics: Metrics
    ) -> None:
        """`thermometer` gives degrees Celsius, or None where it does not tell (then nothing is shed)."""
        self._max_celsius = max_celsius
        self._thermometer = thermometer
        self._clock = clock
        self._metrics = metrics
        self._limit_hz: float | None = None
        self._began_ns = clock.monotonic_ns()
        self._next_ns = self._began_ns
        self._admitted = 0
        self._shed = 0

    @property
    def limit_hz(self) -> float | None:
        """Frames a second at most; None where there is no need for a limit."""
        return self._limit_hz

    def admit(self) -> bool:
        """True where the model may look at the frame that is there now."""
        now = self._clock.monotonic_ns()
        if now - self._began_ns >= int(PERIOD_S * SECOND_NS):
            self._look(now)
        if self._limit_hz is not None:
            if now < self._next_ns:
                self._shed += 1
                return False
            # Counted on from the moment that was due: a frame that came a little late does not slow all others.
            interval_ns = int(SECOND_NS / self._limit_hz)
            self._next_ns = max(self._next_ns + interval_ns, now)
        self._admitted += 1
        return True

    def _look(self, now: int) -> None:
        reached_hz = self._admitted * SECOND_NS / (now - self._began_ns)
        celsius = self._thermometer()
        if celsius is not None:
            if celsius >= self._max_celsius:
                self._lower(celsius, reached_hz)
            elif self._limit_hz is not None and celsius <= self._max_celsius - HYSTERESIS_C:
                self._raise(celsius)
        self._began_ns, self._admitted, self._shed = now, 0, 0

    def _lower(self, celsius: float, reached_hz: float) -> None:
        if not reached_hz:
            return  # no frames came: the heat is not ours
        step = min(LARGEST_STEP, STEP * max(1.0, celsius - self._max_celsius))
        before = self._limit_hz
        limit = max(SLOWEST_HZ, min(before or reached_hz, reached_hz) * (1 - step))
        self._set(limit)
        if before is None:
            self._next_ns = self._clock.monotonic_ns()
            log.warning(
                "hot: fewer frames, before the firmware throttles",
                extra={"celsius": celsius, "max_celsius": self._max_celsius, "frames_a_second": round(limit, 2)},
            )

    def _raise(self, celsius: float) -> None:
        if self._shed:
            self._set((self._limit_hz or SLOWEST_HZ) * (1 + STEP))
            return
        self._set(None)
        log.info("cool again: every frame counts", extra={"celsius": celsius})

    def _set(self, limit_hz: float | None) -> None:
        self._limit_hz = limit_hz
        self._metrics.set("heat_limit_hz", limit_hz or 0.0)


def admission(
    max_celsius: float | None,
    source: Source | None,
    thermometer: Callable[[], float | None],
    *,
    clock: Clock,
    metrics: Metrics,
) -> Callable[[], bool] | None:
    """Whether the model may look at a sample of a live source, under `--max-temperature`; None: always."""
    if max_celsius is None or source is None:
        return None
    if not source.live:
        log.warning("max-temperature is for live sources: nothing is shed", extra={"max_celsius": max_celsius})
        return None
    if thermometer() is None:
        log.warning("no thermometer: max-temperature does nothing", extra={"max_celsius": max_celsius})
    return HeatLimit(max_celsius, thermometer, clock=clock, metrics=metrics).admit
