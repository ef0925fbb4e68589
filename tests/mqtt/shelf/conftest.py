"""Runs that share a connection, as fixtures."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.shelving import Run, Shared

from edge.storage.sqlite import SqliteSpool
from edge.testing.fakes import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def session() -> Shared:
    return Shared()


@pytest.fixture
def life(clock, tmp_path) -> Iterator[Callable[..., Run]]:
    """A run in this session; without `clean` the one before of this name has been killed."""
    before: dict[str, Run] = {}

    def made(
        session: Shared,
        name: str = "one",
        *,
        topic: str = "",
        most: int = 10_000_000,
        retry_s: float = 0.0,
        shares: bool = True,
    ) -> Run:
        if name in before:
            before[name].spool.close()
        spool = SqliteSpool(tmp_path / f"{name}.spool", most, clock=clock, forgets_at_once=True)
        before[name] = Run(session, clock, spool, topic or name, retry_s, shares=shares)
        return before[name]

    yield made
    for run in before.values():
        run.spool.close()
