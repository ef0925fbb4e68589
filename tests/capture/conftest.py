from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.capture.store import Store
from edge.testing.fakes import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def open_store(tmp_path: Path, clock: FakeClock) -> Iterator[Callable[..., Store]]:
    """Opens one in the folder `kept`; the one before it is closed."""
    made: list[Store] = []

    def make(most: int = 1_000_000, about: bytes = b"{}", boot: str = "0123abcd", **options: Any) -> Store:
        for one in made:
            one.close()
        now = options.pop("clock", clock)
        made.append(Store(tmp_path / "kept", most, now, boot, about, **options))
        assert made[-1].open() is None
        return made[-1]

    yield make
    for one in made:
        one.close()
