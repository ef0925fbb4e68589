"""The rule: learns a day, judges from then on, and takes neither one odd window nor a daily cycle for drift."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats

from edge.drift.rule import ARMED, FULL, Baseline, Rule, t_limit

SCORES = 6
KINDS = ("place",) * SCORES
FLOOR = np.full(SCORES, 0.1 / 720**0.5)


def windows(count: int, seed: int = 0, cycle: float = 0.0) -> Iterator[np.ndarray]:
    """Scores of hours; with a `cycle` of the day in all of them."""
    random = np.random.default_rng(seed)
    for hour in range(count):
        yield 0.5 + random.normal(0, 0.02, SCORES) + cycle * np.sin(2 * np.pi * hour / 24)


def fed(rule: Rule, scores: Iterator[np.ndarray], start: int = 0, floor: float = 0.1 / 720**0.5) -> list[np.ndarray]:
    """What drifts after each window."""
    return [rule.window(s, (start + i) % 24, np.full(len(s), floor)).drifts for i, s in enumerate(scores)]


def moved(by: float, which: int = 2) -> Iterator[np.ndarray]:
    for scores in windows(60, seed=1):
        scores[which] += by
        yield scores


@pytest.mark.parametrize("df", [20, 23, 60, 167, 1000])
@pytest.mark.parametrize("tail", [1e-3, 1e-5, 1e-7])
def test_the_limit_is_the_textbooks(df: int, tail: float) -> None:
    assert t_limit(np.array([tail]), np.array([df])) == pytest.approx(stats.t.isf(tail, df), rel=0.01)


def test_nothing_is_judged_before_a_day_was_learnt() -> None:
    rule = Rule(KINDS, 24)

    assert not np.any(fed(rule, moved(5.0), start=0)[: ARMED - 1])
    assert not Rule(KINDS, 24).armed
    assert rule.armed


@pytest.mark.parametrize("learnt", [ARMED, FULL])
def test_a_score_that_has_moved_is_told_within_two_windows_with_its_side(learnt: int) -> None:
    rule = Rule(KINDS, 24)
    fed(rule, windows(learnt))

    found = fed(rule, moved(-0.2), start=learnt)[1]

    assert found.tolist() == [0, 0, -1, 0, 0, 0]


def test_one_window_that_is_far_off_is_none() -> None:
    alarms = 0
    for seed in range(20):
        rule = Rule(KINDS, 24)
        fed(rule, windows(FULL, seed=100 + seed))
        odd = list(windows(10, seed=seed))
        odd[3] = odd[3] + 0.4
        alarms += bool(np.any(fed(rule, iter(odd))))

    assert alarms <= 1  # by chance the windows beside it are odd, too: once in fifty times


def test_a_daily_cycle_is_none_and_a_shift_within_it_is_found_once_a_week_was_learnt() -> None:
    rule = Rule(KINDS, 24)
    assert not np.any(fed(rule, windows(FULL + 240, cycle=0.2)))

    shift = (s + 0.12 for s in windows(12, seed=5, cycle=0.2))

    assert np.any(fed(rule, shift)[:4])


def test_hours_of_which_some_scatter_more_are_no_drift() -> None:
    """A quarter of the day, whose middle differs, scatters by two fifths more than the whole."""
    alarms = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        slots = np.arange(FULL + 480) % 24
        middles = 0.5 + 0.2 * np.sin(2 * np.pi * slots / 24)
        spreads = np.where(slots < 6, 0.0285, 0.0172)
        scores = middles[:, None] + random.normal(0, spreads[:, None], (len(slots), 30))
        rule = Rule(("place",) * 30, 24, Baseline(scores[:FULL], slots[:FULL]))
        hours = zip(scores[FULL:], slots[FULL:].tolist(), strict=True)
        alarms += sum(bool(rule.window(s, slot, np.zeros(30)).drifts.any()) for s, slot in hours)

    assert alarms <= 2  # windows, in 13 months; by the spread of all hours alone it is 18


def test_what_creeps_is_found_before_a_window_alone_is_far_off() -> None:
    rule = Rule(KINDS, 24)
    fed(rule, windows(FULL))

    found = fed(rule, (s + 0.03 for s in windows(120, seed=3)))

    assert np.any(found)


def test_half_of_what_one_window_shows_is_mostly_found_within_four_where_features_are_alike() -> None:
    kinds, found = ("place",) * 30, []
    for seed in range(8):
        random = np.random.default_rng(seed)
        rule = Rule(kinds, 24)
        fed(rule, (random.normal(0, 1, 30) for _ in range(FULL)), floor=0.1)
        found.append(np.any(fed(rule, (random.normal(3.05, 1, 30) for _ in range(4)), floor=0.1), axis=0))

    # Each by itself, with spreads and middles of hours of a week alone, it is 0.76.
    assert np.mean(found) > 0.86


def test_a_score_that_is_unlike_the_others_of_its_kind_keeps_its_own_spread() -> None:
    spreads = np.where(np.arange(30) == 7, 0.06, 0.02)
    random = np.random.default_rng(3)
    rule = Rule(("place",) * 30, 24)
    fed(rule, (random.normal(0.5, spreads) for _ in range(FULL)))

    assert not np.any(fed(rule, (random.normal(0.5, spreads) for _ in range(700))))


def test_an_hour_that_is_unlike_the_others_of_the_day_is_none() -> None:
    def lunch(count: int, seed: int) -> Iterator[np.ndarray]:
        return (s + 0.1 * (hour % 24 == 12) for hour, s in enumerate(windows(count, seed=seed)))

    rule = Rule(KINDS, 24)
    fed(rule, lunch(FULL, 0))

    assert not np.any(fed(rule, lunch(480, 1)))


def test_it_learns_no_longer_than_a_week() -> None:
    rule = Rule(KINDS, 24)
    fed(rule, windows(FULL + 50))

    assert len(rule.baseline) == FULL


def test_what_drifts_is_not_learnt() -> None:
    rule = Rule(KINDS, 24)
    fed(rule, windows(ARMED))

    fed(rule, moved(1.0))

    assert len(rule.baseline) < ARMED + 3


def test_a_score_that_never_moved_drifts_with_a_move_that_chance_does_not_make() -> None:
    rule = Rule(("place",), 24)
    fed(rule, iter([np.array([0.5])] * ARMED))

    assert not np.any(fed(rule, iter([np.array([0.501])] * 2)))
    assert np.all(fed(rule, iter([np.array([0.9])] * 2))[1] == 1)


def test_it_goes_on_from_a_baseline_that_was_kept() -> None:
    before = Rule(KINDS, 24)
    fed(before, windows(FULL))

    rule = Rule(KINDS, 24, Baseline(before.baseline.scores, before.baseline.slots))

    assert rule.armed
    assert np.any(fed(rule, moved(-0.2))[1])


def test_windows_that_do_not_divide_a_day_have_one_middle() -> None:
    rule = Rule(KINDS, 0)
    fed(rule, windows(FULL))

    assert not np.any(fed(rule, windows(50, seed=4)))


def test_it_says_the_smallest_distance_that_would_be_seen() -> None:
    rule = Rule(KINDS, 24)
    fed(rule, windows(FULL))
    least = rule.window(np.full(SCORES, 0.5), 0, FLOOR).least
    assert least is not None

    found = fed(rule, (np.full(SCORES, 0.5) + 1.5 * least for _ in range(2)))

    assert np.all(found[1] == 1)
