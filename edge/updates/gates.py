"""What a new model must stand, in figures: each answers with the reason why not, "" where all is well. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from edge.updates.state import Baseline

CLOSE_MS = 0.5
"""Two models that are no further apart than this are equally fast, whatever the ratio."""
FEWEST = 20
"""Samples below which a mean says nothing."""
ALIKE = 3
"""So many of the fastest runs say how fast a model is. What else a machine does only ever adds to a run, so a time that
several reach is the model's own: the K-best scheme of Bryant and O'Hallaron, Computer Systems, 9.4 (1st edition)."""
MB = 1_000_000


class Seen(msgspec.Struct, frozen=True):
    """What a model has done since it runs. `infer_ms` is the sum of so many as are `timed`."""

    results: int = 0
    skipped: int = 0
    infer_ms: float = 0.0
    timed: int = 0

    @classmethod
    def counted(cls, figures: Mapping[str, float]) -> Seen:
        """Of what a service counts."""
        timed = int(figures.get("results", 0))
        return cls(
            results=timed + int(figures.get("http_inferences", 0)),
            skipped=int(figures.get("samples_skipped", 0) + figures.get("http_failed", 0)),
            infer_ms=figures.get("infer_ms", 0.0),
            timed=timed,
        )

    @property
    def mean_ms(self) -> float:
        """Of an inference; 0 where too few were timed."""
        return self.infer_ms / self.timed if self.timed >= FEWEST else 0.0

    @property
    def samples(self) -> int:
        return self.results + self.skipped

    def since(self, before: Seen) -> Seen:
        """Without what was seen before it ran, in the same process."""
        return Seen(
            self.results - before.results,
            self.skipped - before.skipped,
            self.infer_ms - before.infer_ms,
            self.timed - before.timed,
        )

    def plus(self, more: Seen) -> Seen:
        """With what was seen of it in another life of the process."""
        return Seen(
            self.results + more.results,
            self.skipped + more.skipped,
            self.infer_ms + more.infer_ms,
            self.timed + more.timed,
        )

    def baseline(self) -> Baseline | None:
        """None where it has seen too little to be compared with."""
        if self.results < FEWEST:
            return None
        return Baseline(self.skipped / self.samples, self.mean_ms)


class Tried(msgspec.Struct, frozen=True):
    """What a trial has seen: samples that both models were given, the share of them on which they agree, how many
    each of the two skipped, and why the newest that the new one alone did."""

    samples: int
    agreement: float
    skipped: int
    skipped_before: int
    why: str = ""


class Limits(msgspec.Struct, frozen=True):
    """As the flags `--updates-...` say them. `agreement`: the least share of a trial's samples that both answer alike,
    0: any. `watch_most_s`: of so long a watch `FEWEST` samples are enough."""

    latency: float = 1.5
    memory: int = 32 * MB
    skips: float = 0.02
    watch_time_s: float = 600.0
    watch_samples: int = 200
    agreement: float = 0.0
    watch_most_s: float = 7 * 86400.0


def memory(left: int | None, limits: Limits) -> str:
    """`left`: bytes that are free while the new model is loaded beside the one that runs; None: not known."""
    if left is None or left >= limits.memory:
        return ""
    return (
        f"{left / MB:.0f} MB would stay free beside the model that runs, "
        f"--updates-memory wants {limits.memory / MB:.0f} MB"
    )


def latency(new_ms: Sequence[float], old_ms: Sequence[float], limits: Limits) -> str | None:
    """Inferences of both, taken by turns in one process. None where the `ALIKE` fastest lie so far apart that the limit
    is between them, or there are fewer: then nobody can say."""
    if min(len(new_ms), len(old_ms)) < ALIKE:
        return None
    new, old = sorted(new_ms)[:ALIKE], sorted(old_ms)[:ALIKE]
    if not _slower(new[-1], old[0], limits):
        return ""
    if not _slower(new[0], old[-1], limits):
        return None
    return (
        f"an inference takes {new[0]:.3g} ms, of the model that runs {old[0]:.3g} ms: {new[0] / old[0]:.2g} times as "
        f"long, --updates-latency allows {limits.latency:g}"
    )


def _slower(new_ms: float, old_ms: float, limits: Limits) -> bool:
    return new_ms - old_ms > CLOSE_MS and new_ms > limits.latency * old_ms


def unclear(new_ms: Sequence[float], old_ms: Sequence[float], limits: Limits) -> str:
    """Where `latency` cannot say: why, with what was seen."""
    if min(len(new_ms), len(old_ms)) < ALIKE:
        return f"there was time for {len(old_ms)} inferences of each, {ALIKE} are needed"
    new, old = (f"{min(ms):.3g} to {sorted(ms)[ALIKE - 1]:.3g} ms" for ms in (new_ms, old_ms))
    return (
        f"the fastest {ALIKE} of {len(new_ms)} inferences took {new}, of the model that runs {old}: the machine is too "
        f"busy, or they are too near to --updates-latency {limits.latency:g}, to tell on which side of it they are"
    )


def tried(found: Tried, limits: Limits) -> str:
    """On live samples, before the switch. Latency is no gate here: a trial runs in what time is left over. Both were
    given the very same samples, so what the new one alone skips tells of few of them, too; a share needs `FEWEST`."""
    if not found.samples:
        return ""
    if _too_many(found.skipped, found.samples, found.skipped_before / found.samples, limits):
        return (
            f"it skips {found.skipped} of {found.samples} live samples, the model that runs {found.skipped_before}; "
            f"--updates-skips allows {limits.skips:.1%} more" + (f"; of one it says: {found.why}" if found.why else "")
        )
    if found.samples >= FEWEST and found.agreement < limits.agreement:
        return (
            f"it agrees with the model that runs on {found.agreement:.1%} of {found.samples} live "
            f"samples, --updates-agreement wants {limits.agreement:.1%}"
        )
    return ""


def _too_many(skipped: int, samples: int, before: float, limits: Limits) -> bool:
    """Three standard errors are allowed for chance."""
    expected = min(1.0, before + limits.skips) * samples
    return skipped > expected + 3 * math.sqrt(expected) + 1


def watched(seen: Seen, before: Baseline | None, limits: Limits) -> str:
    """After the switch. Judged from `FEWEST` samples on, or from all that a shorter watch waits for."""
    if seen.samples < max(1, min(FEWEST, limits.watch_samples)):
        return ""
    old = before.skipped if before is not None else 0.0
    if _too_many(seen.skipped, seen.samples, old, limits):
        return (
            f"{seen.skipped} of {seen.samples} samples were skipped, of the model before {old:.1%}; "
            f"--updates-skips allows {limits.skips:.1%} more"
        )
    if before is None or not timed(seen, before):
        return ""
    if _slower(seen.mean_ms, before.infer_ms, limits):
        return (
            f"an inference takes {seen.mean_ms:.3g} ms on live samples, of the model before {before.infer_ms:.3g} ms; "
            f"--updates-latency allows {limits.latency:g} times as long"
        )
    return ""


def timed(seen: Seen, before: Baseline | None) -> bool:
    """Whether the watch can compare how long inferences take."""
    return before is not None and before.infer_ms > 0 and seen.mean_ms > 0


def watched_percent(seen: Seen, seconds: float, limits: Limits) -> int:
    """How much of the watch is over."""
    time = _part(seconds, limits.watch_time_s)
    long = min(_part(seconds, limits.watch_most_s), _part(seen.samples, FEWEST))
    return int(100 * min(1.0, time, max(_part(seen.samples, limits.watch_samples), long)))


def _part(done: float, of: float) -> float:
    return done / of if of else 1.0


def watched_enough(seen: Seen, seconds: float, limits: Limits) -> bool:
    """A device that sees nothing goes on watching: silence is no proof. One that sees little needs `FEWEST` samples,
    in `watch_most_s`."""
    if seconds < limits.watch_time_s:
        return False
    return seen.samples >= limits.watch_samples or (seconds >= limits.watch_most_s and seen.samples >= FEWEST)
