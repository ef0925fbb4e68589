"""Chooses the best combination for a goal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from edge.app.profile import Goal, Profile, processor
from edge.tools.bench.figures import Round, Row, Subject

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
