"""A clock that stands still until it is told, and messages to fill a spool with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.data.message import Message
from edge.storage import dbfile
from edge.storage.sqlite import SqliteSpool
from edge.testing.fakes import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def numbered():
    def make(start: int, stop: int, size: int = 20) -> list[Message]:
        return [Message("result", b'{"n":%d,"x":"%s"}' % (n, b"x" * size), n) for n in range(start, stop)]

    return make


@pytest.fixture
def numbers():
    def read(spool) -> list[int]:
        return [e.message.seq for e in spool.after(0, 1_000_000)]

    return read


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "state" / "lane.spool"


@pytest.fixture(params=["small", "large"])
def size_of_file(request, monkeypatch) -> str:
    """A file that is checked and counted at the start, and one that is as it is read."""
    if request.param == "large":
        monkeypatch.setattr(dbfile, "SMALL", -1)
    return request.param


@pytest.fixture
def make(path, clock) -> Iterator[object]:
    """Spools over one file, all closed at the end."""
    made: list[SqliteSpool] = []

    def build(max_bytes: int = 1_000_000, max_age_s: float | None = None, at: Path = path) -> SqliteSpool:
        made.append(SqliteSpool(at, max_bytes, max_age_s, clock))
        return made[-1]

    yield build
    for spool in made:
        spool.close()
