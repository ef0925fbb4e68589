"""What a new model must stand, in figures and in words."""

from __future__ import annotations

from edge.updates import gates
from edge.updates.gates import Limits, Seen, Tried
from edge.updates.state import Baseline

LIMITS = Limits()


def test_a_model_that_is_much_slower_is_refused_with_both_figures():
    reason = gates.latency([30.0, 31.0, 30.5], [10.0, 10.0, 10.0], LIMITS)

    assert "takes 30 ms, of the model that runs 10 ms: 3 times" in reason
    assert "--updates-latency allows 1.5" in reason


def test_microseconds_are_no_reason():
    assert gates.latency([0.05] * 3, [0.01] * 3, LIMITS) == ""


def test_memory_that_is_not_known_refuses_nothing():
    assert gates.memory(None, LIMITS) == ""
    assert "10 MB would stay free" in gates.memory(10_000_000, LIMITS)


def test_a_few_skips_among_many_samples_are_chance():
    assert gates.watched(Seen(results=195, skipped=5), None, LIMITS) == ""


def test_a_model_that_skips_what_the_old_one_took_is_given_up_after_twenty_samples():
    assert gates.watched(Seen(results=0, skipped=19), None, LIMITS) == ""
    assert "20 of 20 samples were skipped, of the model before 0.0%" in gates.watched(Seen(skipped=20), None, LIMITS)


def test_inputs_that_the_old_model_skipped_too_are_no_fault_of_the_new_one():
    assert gates.watched(Seen(results=100, skipped=100), Baseline(0.5, 0.0), LIMITS) == ""


def test_a_model_that_is_slow_on_live_samples_is_given_up():
    seen = Seen(results=100, infer_ms=3000.0, timed=100)

    assert "takes 30 ms on live samples, of the model before 10 ms" in gates.watched(seen, Baseline(0.0, 10.0), LIMITS)


def test_a_device_that_sees_nothing_goes_on_watching():
    assert not gates.watched_enough(Seen(), 1e6, LIMITS)
    assert not gates.watched_enough(Seen(results=200), 599.0, LIMITS)
    assert gates.watched_enough(Seen(results=199, skipped=1), 600.0, LIMITS)


def test_too_few_samples_are_no_baseline():
    assert Seen(results=5, timed=5, infer_ms=1.0).baseline() is None
    assert Seen(results=30, skipped=10, timed=30, infer_ms=60.0).baseline() == Baseline(0.25, 2.0)


def test_what_the_new_model_alone_skips_of_few_samples_of_a_trial_refuses_it():
    """Both were given the same ones, so few of them tell; one may be chance."""
    assert "skips 5 of 5 live samples, the model that runs 0" in gates.tried(Tried(5, 0.0, 5, 0), LIMITS)
    assert gates.tried(Tried(5, 1.0, 5, 5), LIMITS) == ""
    assert gates.tried(Tried(1, 0.0, 1, 0), LIMITS) == ""
    assert gates.tried(Tried(0, 0.0, 0, 0), LIMITS) == ""


def test_a_share_of_few_samples_is_no_agreement_and_no_want_of_it():
    wanted = Limits(agreement=0.9)

    assert gates.tried(Tried(19, 0.0, 0, 0), wanted) == ""
    assert "agrees with the model that runs on 0.0% of 20" in gates.tried(Tried(20, 0.0, 0, 0), wanted)


def test_a_watch_of_few_samples_is_judged_by_those():
    assert "5 of 5 samples were skipped" in gates.watched(Seen(skipped=5), None, Limits(watch_samples=5))
    assert gates.watched(Seen(), None, Limits(watch_samples=0)) == ""


def test_where_few_samples_come_twenty_are_enough_after_days_and_fewer_never():
    week = 7 * 86400.0

    assert not gates.watched_enough(Seen(results=35), week - 1, LIMITS)
    assert gates.watched_enough(Seen(results=35), week, LIMITS)
    assert not gates.watched_enough(Seen(results=19), 52 * week, LIMITS)
    assert [gates.watched_percent(Seen(results=n), week / 2, LIMITS) for n in (0, 10, 35, 150)] == [0, 50, 50, 75]
