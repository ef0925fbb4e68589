"""What is asked of a child process, what it answers, and what comes of it. All frozen."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from edge.app.profile import Goal, Profile, processor


class Case(Struct, frozen=True):
    """One combination; `path` is the model file's."""

    path: str
    provider: str
    threads: int

    @property
    def model(self) -> str:
        """The file's name."""
        return Path(self.path).name


class Request(Struct, frozen=True):
    """To a child: `seconds` of inferences; None: only say what the model is."""

    case: Case
    seconds: float | None = None


class Subject(Struct, frozen=True):
    """A model file as the engine sees it; `providers` are those that this installation has for it."""

    name: str
    sha256: str
    engine: str
    version: str
    size: int
    precision: str
    providers: tuple[str, ...]


class Round(Struct, frozen=True):
    """A child's figures. Milliseconds of wall clock, `cpu_ms` of processor time for one inference (all threads),
    `memory_mb` the process's largest resident set in 10^6 bytes, `load_ms` from the file to a ready engine."""

    p50_ms: float
    p99_ms: float
    per_second: float
    cpu_ms: float
    memory_mb: float
    load_ms: float
    runs: int


class Answer(Struct, frozen=True):
    """From a child: one of them is there. `code` is the exit code of an `error`."""

    subject: Subject | None = None
    round: Round | None = None
    error: str = ""
    code: int = 0


class Row(Struct, frozen=True):
    """A combination and the medians of its rounds; `runs` are all inferences that were timed."""

    case: Case
    median: Round


def median(case: Case, rounds: Sequence[Round]) -> Row:
    """The median of each figure, on its own."""
    names = ("p50_ms", "p99_ms", "per_second", "cpu_ms", "memory_mb", "load_ms")
    medians = {n: statistics.median(getattr(r, n) for r in rounds) for n in names}
    return Row(case, Round(**medians, runs=sum(r.runs for r in rounds)))


NEAR = 1.05
"""A figure at most so many times the best one is as good: the machine's own noise is no reason to take more cores."""

COSTS: Mapping[Goal, Callable[[Round], float]] = {
    "latency": lambda r: r.p50_ms,
    "throughput": lambda r: 1 / r.per_second,
    # Nothing on the board measures watts; what heats it is processor time.
    "power": lambda r: r.cpu_ms,
}


def best(rows: Sequence[Row], goal: Goal) -> Row:
    """The one with the fewest threads among those as good as the best; the earlier of two equals."""
    cost = COSTS[goal]
    limit = min(cost(row.median) for row in rows) * NEAR
    return min((row for row in rows if cost(row.median) <= limit), key=lambda row: row.case.threads)


def profile(subject: Subject, row: Row, goal: Goal) -> Profile:
    """As it is kept for `edge-run`."""
    return Profile(
        model=subject.sha256,
        engine=f"{subject.engine} {subject.version}",
        processor=processor(),
        goal=goal,
        threads=row.case.threads,
        provider=row.case.provider,
    )
