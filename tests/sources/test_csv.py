"""Cells of a .csv file, by the kind of the feature they belong to."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.errors import EndOfStream
from edge.protocols import SourceContext
from edge.sources import csv
from edge.testing.fakes import FakeClock


def rows(path: Path, kinds: dict[str, str]) -> list[dict[str, object]]:
    source = csv.create(
        str(path), SourceContext(clock=FakeClock(), features=tuple(kinds), feature_kinds=tuple(kinds.values()))
    )
    source.open()
    found = [source.read(0.1).payload for _ in range(path.read_text().count("\n") - 1)]
    with pytest.raises(EndOfStream):
        source.read(0.1)
    source.close()
    return found


def test_true_is_one_and_an_empty_cell_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("age,member,city\n41,True,Bern\n,false,\n")

    assert rows(path, {"age": "number", "member": "number", "city": "text"}) == [
        {"age": 41.0, "member": 1.0, "city": "Bern"},
        {"age": None, "member": 0.0, "city": None},
    ]
