"""Which of several runs, that hangs, has the process restarted."""

from __future__ import annotations

import pytest

from edge.app.joined import APART_S, Hangs
from edge.testing.fakes import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def life(tmp_path, clock):
    """Another life of the process each time."""
    return lambda: Hangs(tmp_path / "state" / "pi.hangs.json", clock)


def test_a_run_that_hangs_has_the_process_restarted_and_is_waited_for_until_it_is(life):
    hangs = life()
    assert hangs.restarts("door")
    assert hangs.restarts("door")


def test_one_that_hangs_again_within_the_hour_stops_the_others_no_more(life, clock):
    assert life().restarts("door")
    clock.advance(APART_S / 2)
    again = life()
    assert not again.restarts("door")
    assert again.restarts("yard"), "another one has its own hour"
    clock.advance(APART_S / 2 + 1)
    assert again.restarts("door")


def test_what_cannot_be_written_down_would_restart_for_ever_and_restarts_nothing(tmp_path, clock):
    (tmp_path / "state").write_text("no folder")
    assert not Hangs(tmp_path / "state" / "pi.hangs.json", clock).restarts("door")


def test_a_file_that_is_damaged_counts_for_nothing(life, tmp_path):
    life().restarts("door")
    (tmp_path / "state" / "pi.hangs.json").write_text("{")
    assert life().restarts("door")
