"""What a model has done since it runs, and what the watch after a switch makes of it.

A watch goes on over ends in order: what was seen so far is kept with the state then, so a device that is switched off
every evening comes to an end of it, too.
"""

from __future__ import annotations

from typing import Any

from edge.plugins.protocols import Clock
from edge.telemetry.metrics import Metrics
from edge.updates import gates
from edge.updates.gates import Limits, Seen
from edge.updates.state import Baseline, State, Watched


class UpdateWatch:
    """`told` is for any thread; the rest for that of the updates, and the main thread before it runs."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits, self._clock = limits, clock
        self._metrics: Metrics | None = None
        self._before = self._earlier = Seen()
        self._earlier_s = 0.0
        self._began_ns = clock.monotonic_ns()
        self._told: dict[str, Any] | None = None

    def counts_with(self, metrics: Metrics) -> None:
        """Where the service counts."""
        self._metrics = metrics

    def begin(self, earlier: Watched | None) -> None:
        """A model takes over. `earlier`: what it has done in lives of the process before this one."""
        self._earlier, self._earlier_s, self._told = Seen(), 0.0, None
        if earlier is not None:
            self._earlier = Seen(earlier.results, earlier.skipped, earlier.infer_ms, earlier.timed)
            self._earlier_s = earlier.seconds
        self._began_ns = self._clock.monotonic_ns()
        self._before = Seen()
        self._before = self._here()

    @property
    def seen(self) -> Seen:
        """Since the model runs."""
        return self._here().plus(self._earlier)

    def _here(self) -> Seen:
        if self._metrics is None:
            return Seen()
        return Seen.counted(self._metrics.snapshot()).since(self._before)

    @property
    def seconds(self) -> float:
        """For which it was watched."""
        return self._earlier_s + (self._clock.monotonic_ns() - self._began_ns) / 1e9

    @property
    def watched(self) -> Watched:
        """For the next life of the process."""
        seen = self.seen
        return Watched(self.seconds, seen.results, seen.skipped, seen.infer_ms, seen.timed)

    def look(self, before: Baseline | None) -> tuple[int, str]:
        """How many hundredths of the watch are over, and why the model is to be given up, "" where it is not."""
        seen, seconds = self.seen, self.seconds
        self._told = {"samples": seen.samples, "seconds": int(seconds), "note": self._note(seen, seconds)}
        return gates.watched_percent(seen, seconds, self._limits), gates.watched(seen, before, self._limits)

    def decided(self, before: Baseline | None) -> bool:
        """Whether the next look ends the watch."""
        return self.enough or bool(gates.watched(self.seen, before, self._limits))

    @property
    def enough(self) -> bool:
        """Whether the watch is over, where nothing was wrong."""
        return gates.watched_enough(self.seen, self.seconds, self._limits)

    def told(self) -> dict[str, Any] | None:
        """As of the last look; None before the first."""
        return self._told

    @property
    def note(self) -> str:
        """Why it takes longer than it has to."""
        return self._told["note"] if self._told is not None else ""

    def _note(self, seen: Seen, seconds: float) -> str:
        limits = self._limits
        if seconds < limits.watch_time_s or seen.samples >= limits.watch_samples:
            return ""
        said = f"{seen.samples} of {limits.watch_samples} samples came so far (--updates-watch-samples)"
        if limits.watch_samples <= gates.FEWEST:
            return said
        return f"{said}; {gates.FEWEST} are enough after {limits.watch_most_s / 86400:.3g} days (--updates-watch-most)"

    def ended(self, now: State) -> str:
        """What is to be known of a watch that is over: what neither it nor a gate before it could judge, too."""
        seen = self.seen
        said = [now.reason] if now.reason and not gates.timed(seen, now.baseline) else []
        if seen.samples < self._limits.watch_samples:
            said.append(
                f"watched on {seen.samples} samples in {self.seconds / 86400:.3g} days: --updates-watch-samples wants "
                f"{self._limits.watch_samples}, --updates-watch-most is over"
            )
        return "; ".join(said)
