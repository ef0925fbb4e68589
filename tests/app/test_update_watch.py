"""A watch on a device that few samples come to: what is told, and what counts over a restart."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from edge.app.update_watch import UpdateWatch
from edge.telemetry.metrics import Metrics
from edge.testing.fakes import FakeClock
from edge.updates.gates import Limits
from edge.updates.state import Baseline, State

DAY_S = 86400


class Watching:
    """A watch that begins, with a clock of its own."""

    def __init__(self) -> None:
        self.clock, self.metrics = FakeClock(), Metrics()
        self.watch = UpdateWatch(Limits(), self.clock)
        self.watch.counts_with(self.metrics)

    def passes(self, days: float, samples: int) -> None:
        self.clock.advance(days * DAY_S)
        self.metrics.inc("results", samples)
        self.watch.look(None)


@pytest.fixture
def watching() -> Watching:
    one = Watching()
    one.watch.begin(None)
    return one


def test_five_samples_a_day_are_watched_for_a_week_and_confirmed_with_the_reason(watching):
    for _ in range(6):
        watching.passes(1, 5)
        assert not watching.watch.enough
        assert watching.watch.told()["samples"] > 0
    assert watching.watch.note == (
        "30 of 200 samples came so far (--updates-watch-samples); 20 are enough after 7 days (--updates-watch-most)"
    )
    watching.passes(1, 5)

    assert watching.watch.enough
    assert "watched on 35 samples in 7 days: --updates-watch-samples wants 200" in watching.watch.ended(State())


def test_a_device_that_nothing_comes_to_is_never_confirmed_and_says_why(watching):
    watching.passes(365, 0)

    assert not watching.watch.enough
    assert watching.watch.told()["note"].startswith("0 of 200 samples came so far")


def test_a_watch_that_has_what_it_wants_has_nothing_to_say(watching):
    watching.passes(0.001, 0)
    early = watching.watch.note
    watching.passes(1, 200)

    assert (early, watching.watch.note, watching.watch.ended(State()), watching.watch.enough) == ("", "", "", True)


def test_a_device_that_is_switched_off_every_evening_comes_to_the_end_of_a_watch(watching):
    """Its clock begins at any time, and its counters anew."""
    for _ in range(7):
        watching.passes(1, 5)
        before, watching = watching, Watching()
        watching.watch.begin(before.watch.watched)
    watching.passes(0, 0)

    assert (watching.watch.seen.results, watching.watch.enough) == (35, True)


def test_what_the_model_before_did_is_none_of_the_watch():
    one = Watching()
    one.watch.begin(None)
    one.passes(1, 500)
    one.watch.begin(None)
    one.passes(0.001, 3)

    assert one.watch.seen.results == 3
    assert one.watch.seconds == pytest.approx(86.4)


def test_a_clock_that_jumps_a_year_ahead_or_back_ends_no_watch(watching):
    watching.passes(0.001, 50)
    for years in (1, -2):
        watching.clock.jump(years * 365 * DAY_S)
        watching.passes(0, 0)

        assert not watching.watch.enough
        assert watching.watch.seconds == pytest.approx(86.4)


def test_what_no_gate_could_judge_is_told_of_a_confirmed_model_unless_the_watch_could(watching):
    watching.passes(1, 200)
    watching.metrics.inc("infer_ms", 2000.0)
    noted = State(phase="watching", reason="latency is not compared: too busy")

    assert watching.watch.ended(noted) == "latency is not compared: too busy"
    assert watching.watch.ended(replace(noted, baseline=Baseline(0.0, 9.0))) == ""
