"""A device over hours: what it learns, what it tells, what it keeps."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from support.drifting import HOUR_S, NAMES, ROWS, Device, moved, names, of, sample, usual

from edge.drift import reference
from edge.drift.reference import Reference


@pytest.fixture
def device(folder: Path) -> Device:
    return Device(folder)


def test_it_learns_a_day_and_then_says_that_all_is_as_it_was(device: Device) -> None:
    reports = device.hours(26)

    assert [r.state for r in reports[:23]] == ["learning"] * 23
    assert [r.state for r in reports[23:]] == ["ok"] * 3
    assert reports[22].learned == 23
    assert device.alarms == 0


def test_a_feature_that_has_moved_is_one_alarm_that_names_it_first(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    device.hours(30)

    reports = device.hours(3, moved(1.0, feature=1))

    assert reports[1].state == "drifted"
    assert reports[1].features[0].name == "pressure"
    assert reports[1].features[0].direction == "up"
    assert device.alarms == 1
    (said,) = (record for record in caplog.records if record.getMessage() == "drift")
    assert vars(said)["model"] == "model"  # several runs have one log


def test_one_odd_hour_is_no_alarm(device: Device) -> None:
    device.hours(30)

    (odd,) = device.hours(1, moved(0.6))
    after = device.hours(2)[-1]

    assert odd.state == "suspect"
    assert all(f.alone for f in odd.features)
    assert after.state == "ok"
    assert device.alarms == 0


def test_an_alarm_ends_with_the_drift_and_the_next_one_counts_anew(device: Device) -> None:
    device.hours(30)
    device.hours(3, moved(1.0))

    assert device.hours(3)[-1].state == "ok"
    assert device.hours(3, moved(1.0))[-1].state == "drifted"
    assert device.alarms == 2


def test_a_wider_spread_is_told_as_such(device: Device) -> None:
    device.hours(30)

    report = device.hours(2, lambda random: usual(random) * np.array([1, 1, 2]))[-1]

    assert (report.features[0].name, report.features[0].kind, report.features[0].direction) == ("flow", "spread", "up")


def test_other_shares_of_classes_are_drift_of_the_prediction(device: Device) -> None:
    device.hours(30)

    report = device.hours(2, hot=0.8)[-1]

    assert {(f.of, f.kind) for f in report.features} == {("prediction", "share")}
    assert report.state == "drifted"


def test_it_tells_the_smallest_shift_that_it_can_see_and_sees_it(device: Device) -> None:
    device.hours(60)
    sees = device.watch.newest.sees
    assert sees is not None
    assert sees.worst_sd is not None

    assert device.hours(2, moved(1.3 * sees.worst_sd, NAMES.index(sees.worst)))[-1].state == "drifted"


# --- what needs no window -----------------------------------------------------------------------------------


def stuck(random: np.random.Generator) -> np.ndarray:
    values = usual(random)
    values[:, 2] = values[0, 2]
    return values


def test_a_sensor_that_stands_still_is_told_within_thirty_one_rows(device: Device) -> None:
    device.hours(24)
    values = np.repeat(usual(np.random.default_rng(9))[:1], 31, axis=0)
    values[:, :2] += np.arange(31)[:, None]

    device.give(values[:30])
    assert device.watch.newest.state == "ok"
    device.give(values[30:])

    assert device.watch.newest.state == "drifted"
    assert [(f.name, f.kind, f.rows) for f in device.watch.newest.features] == [("flow", "stuck", 31)]


def test_before_a_day_was_learnt_standing_still_is_told_where_the_sample_was_in_order(folder: Path) -> None:
    for order, state in (("time", "drifted"), ("", "learning")):
        device = Device(folder / order, of(sample(), order))
        device.path.parent.mkdir(exist_ok=True)

        assert device.hours(1, stuck)[-1].state == state


def test_a_coarse_sensor_that_often_stands_still_may_go_on(device: Device) -> None:
    def coarse(random: np.random.Generator) -> np.ndarray:
        values = usual(random)
        values[:, 0] = np.repeat(values[:: ROWS // 10, 0], ROWS // 10)
        return values

    device.hours(26, coarse)

    assert device.hours(3, coarse)[-1].state == "ok"


def test_a_sensor_that_falls_silent_is_told_at_once(device: Device) -> None:
    values = usual(np.random.default_rng(9))[:31]
    values[:, 0] = np.nan

    device.give(values)

    assert [(f.name, f.kind) for f in device.watch.newest.features] == [("temperature", "missing")]
    assert device.watch.newest.state == "drifted"


def test_now_and_then_a_missing_value_is_told_by_its_share(device: Device) -> None:
    def some_missing(random: np.random.Generator) -> np.ndarray:
        values = usual(random)
        values[::90, 1] = np.nan
        return values

    device.hours(30)

    (report,) = device.hours(1, some_missing)

    assert [(f.name, f.kind, f.share) for f in report.features] == [("pressure", "missing", round(8 / ROWS, 6))]


def test_a_text_that_the_sample_never_had_is_told_in_one_window(folder: Path) -> None:
    door = ["open"] * 10_000 + ["shut"] * 10_000
    device = Device(folder, of(sample(), door=door))
    usual_door = ["open", "shut"] * (ROWS // 2)
    device.hours(170, door=usual_door)

    (report,) = device.hours(1, door=["ajar"] * 4 + usual_door[4:])  # half a percent

    assert [(f.name, f.kind) for f in report.features] == [("door", "unknown")]
    assert report.state == "drifted"


def test_values_far_from_the_sample_are_told_while_it_still_learns(device: Device) -> None:
    (report,) = device.hours(1, moved(50))

    assert report.state == "suspect"
    assert [(f.name, f.kind, f.direction) for f in report.features] == [("temperature", "far", "up")]


def test_it_tells_what_it_has_learnt_while_it_looked_broken(device: Device) -> None:
    device.hours(25, moved(2.0, feature=2))

    assert device.watch.newest.doubtful == ("flow",)


# --- windows ------------------------------------------------------------------------------------------------


def test_an_hour_with_few_rows_goes_on_into_the_next(device: Device) -> None:
    few = usual(np.random.default_rng(1))[:150]

    device.hours(1, lambda random: few)
    assert device.watch.newest.windows == 0
    device.hours(1, lambda random: few)

    assert device.watch.newest.windows == 1


def test_a_clock_that_is_set_ends_no_window_early(device: Device) -> None:
    device.give(usual(np.random.default_rng(1)))
    device.clock.jump(5 * HOUR_S)
    device.watch.tick()
    assert device.watch.newest.windows == 0

    device.clock.advance(HOUR_S / 2)
    device.watch.tick()

    assert device.watch.newest.windows == 1


def test_a_daily_cycle_is_no_drift_and_half_a_deviation_in_it_is_seen_once_a_week_was_learnt(device: Device) -> None:
    hour = iter(range(10_000))

    def daily(random: np.random.Generator, by: float = 0.0) -> np.ndarray:
        values = usual(random)
        values[:, 0] = (values[:, 0] + np.sqrt(2) * np.sin(2 * np.pi * next(hour) / 24)) / np.sqrt(2) + by
        return values

    device.hours(10 * 24, daily)
    assert device.alarms == 0

    assert device.hours(4, lambda random: daily(random, 0.5))[-1].state == "drifted"


# --- what is kept -------------------------------------------------------------------------------------------


def test_a_restart_goes_on_where_it_was(folder: Path) -> None:
    Device(folder).hours(30)

    again = Device(folder)

    assert again.watch.newest.learned == 30
    assert again.watch.newest.state == "ok"
    assert again.hours(2, moved(1.0))[-1].state == "drifted"


def test_it_is_written_once_for_each_window_that_is_learnt_and_no_more_when_all_is(device: Device) -> None:
    device.hours(10)
    assert device.writes == 10

    device.hours(170)
    assert device.writes == 168
    assert list(device.path.parent.iterdir()) == [device.path]


def test_a_new_version_of_the_model_learns_its_predictions_anew_and_keeps_the_inputs(folder: Path) -> None:
    Device(folder).hours(30)

    # Made of another sample, so with other bins.
    new = Device(folder, of(sample(seed=7)), sha256="b" * 64)

    assert new.hours(3, hot=0.9)[-1].state == "ok"  # that is how this one answers
    assert new.hours(2, moved(1.0), hot=0.9)[-1].state == "drifted"
    assert new.hours(25, hot=0.9)[-1].state == "ok"
    assert new.hours(2, hot=0.5)[-1].state == "drifted"


def test_where_another_model_takes_over_the_baseline_of_the_inputs_goes_on_without_the_disk(folder: Path) -> None:
    device = Device(folder)
    device.hours(30)
    device.path.unlink()
    (folder / "other").mkdir()
    new = Device(folder / "other", of(sample(seed=7)), sha256="b" * 64, before=device.watch.learnt())

    assert new.watch.newest.state == "ok"  # armed from its first window on
    assert new.hours(3, hot=0.9)[-1].state == "ok"
    assert new.hours(2, moved(1.0), hot=0.9)[-1].state == "drifted"


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"schema":1}', b"\xff\x00"], ids=["empty", "cut", "nothing in it", "no text"]
)
def test_a_damaged_file_is_told_and_learnt_anew(folder: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    Device(folder).hours(25)
    Device(folder).path.write_bytes(content)

    again = Device(folder)

    assert again.hours(1)[-1].learned == 1
    assert "what was learnt of drift cannot be used: it is learnt anew" in caplog.text
    assert Device(folder).watch.newest.learned == 1


@pytest.mark.parametrize("key", ["scores", "counts", "slots"])
def test_a_file_whose_parts_do_not_fit_is_damaged_too(folder: Path, key: str) -> None:
    device = Device(folder)
    device.hours(25)
    saved = json.loads(device.path.read_text())
    saved["inputs"][key] = saved["inputs"][key][:-4]
    device.path.write_text(json.dumps(saved))

    assert Device(folder).watch.newest.learned == 0


def test_who_takes_the_file_away_wants_it_learnt_anew(device: Device) -> None:
    device.hours(25)
    device.path.unlink()

    device.watch.tick()

    assert (device.watch.newest.state, device.watch.newest.learned) == ("learning", 0)
    assert device.hours(1)[-1].learned == 1


def test_a_disk_that_cannot_be_written_stops_nothing(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "device.model.drift.json").mkdir()
    device = Device(folder)

    assert device.hours(26)[-1].state == "ok"
    assert device.writes == 0
    assert "what was learnt of drift is not kept" in caplog.text


def test_the_page_is_given_what_was_then_and_what_is_now(device: Device) -> None:
    device.hours(30)
    device.hours(2, moved(1.0))

    by_name = {f["name"]: f for f in device.watch.pictured()["features"]}

    moved_one, other = by_name["temperature"], by_name["pressure"]
    assert len(moved_one["edges"]) == 11
    assert sum(moved_one["then"]) == pytest.approx(1, abs=0.01)
    assert moved_one["now"][-2] > 2 * moved_one["then"][-2]
    assert other["now"][-2] == pytest.approx(other["then"][-2], abs=0.05)
    assert by_name["class"]["categories"] == ["cold", "hot", "other"]
    assert 0 < other["sees_sd"] < 1
    assert names(device.watch.newest.features) == ["temperature"]


# --- false alarms and detection, in short; at length: make bench-drift -----------------------------------------


@pytest.mark.parametrize("memory", [0.9, 0.99])
def test_thirty_features_that_go_together_over_time_cry_no_wolf_and_one_that_moves_is_found(
    folder: Path, memory: float
) -> None:
    state = np.zeros(30)

    def slow(random: np.random.Generator, by: float = 0.0) -> np.ndarray:
        values = random.normal(0, np.sqrt(1 - memory**2), (ROWS, 30))
        for row in values:
            row += memory * state
            state[:] = row
        values[:, 7] += by
        return values

    seen = Reference(
        rows=20_000,
        features=tuple(reference.of_numbers(f"f{i}", np.random.default_rng(i).normal(size=20_000)) for i in range(30)),
    )
    device = Device(folder, seen, seed=11)

    device.hours(3 * 24, slow)
    assert device.alarms == 0

    found = device.hours(2, lambda random: slow(random, 1.0))[-1]
    if memory == 0.9:
        assert found.state == "drifted"
        assert found.features[0].name == "f7"
    else:  # one hour is much like the value of one moment: the device says that it cannot see so little
        assert found.sees is not None
        assert found.sees.median_sd is None or found.sees.median_sd > 1


def test_a_model_whose_predictions_cannot_be_counted_is_watched_by_its_inputs(folder: Path) -> None:
    seen = Reference(rows=20_000, features=of(sample()).features)
    Device(folder, seen).hours(26)

    again = Device(folder, seen)

    assert again.watch.newest.state == "ok"
    assert again.hours(2, moved(1.0))[-1].state == "drifted"


def test_a_number_that_the_sample_never_had_is_unknown_once_it_comes(folder: Path) -> None:
    never = Reference(rows=20_000, features=(*of(sample()).features, reference.of_numbers("spare", np.full(9, np.nan))))
    device = Device(folder, never)
    assert device.hours(1, door=[""] * ROWS)[-1].state == "learning"

    (report,) = device.hours(1, door=["3.5"] * ROWS)

    assert [(f.name, f.kind) for f in report.features] == [("spare", "unknown")]


# --- hours of the day ----------------------------------------------------------------------------------------


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """The system's time zone."""

    def become(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    become("WINTER-1")
    yield become
    monkeypatch.undo()
    time.tzset()


class Habits:
    """Rows by the local time: what people do. The sun's hour is the first feature, `later` hours are the others'."""

    def __init__(self) -> None:
        self.hour, self.later = 0, 0

    def __call__(self, random: np.random.Generator) -> np.ndarray:
        hours = self.hour + np.arange(ROWS) / ROWS
        self.hour += 1
        cycle = np.stack([np.sin((hours + at) * np.pi / 12) for at in (0, self.later, self.later)], axis=1)
        return usual(random) / 2 + cycle


@pytest.fixture
def habits() -> Habits:
    return Habits()


@pytest.fixture
def at_home(folder: Path, habits: Habits, zone: Callable[[str], None]) -> Device:
    """It has learnt a week of winter."""
    device = Device(folder, of(np.concatenate([habits(np.random.default_rng(1)) for _ in range(48)])))
    device.hours(200, habits)
    assert device.alarms == 0
    return device


def test_after_a_silence_the_first_window_is_of_the_hour_in_which_it_begins(at_home: Device, habits: Habits) -> None:
    at_home.clock.advance(12 * HOUR_S)
    at_home.watch.tick()
    habits.hour += 12

    at_home.hours(24, habits)

    assert {r.state for r in at_home.told[-24:]} == {"ok"}


def test_summer_time_moves_what_people_do_by_an_hour_and_that_is_no_alarm(
    at_home: Device, habits: Habits, zone: Callable[[str], None]
) -> None:
    zone("SUMMER-2")
    habits.later = 1

    at_home.hours(48, habits)

    assert at_home.alarms == 0


def test_the_same_hour_without_summer_time_is_one(at_home: Device, habits: Habits) -> None:
    habits.later = 1

    at_home.hours(24, habits)

    assert at_home.alarms > 0


def test_a_restart_in_summer_knows_that_it_learnt_in_winter(
    folder: Path, at_home: Device, habits: Habits, zone: Callable[[str], None]
) -> None:
    at_home.hours(16, habits)  # until midnight, when the clock of the next one begins
    zone("SUMMER-2")
    habits.later = 1

    again = Device(folder, of(sample()), seed=6)
    again.hours(48, habits)

    assert again.alarms == 0


def test_what_moves_for_other_reasons_is_seen_in_summer_as_well(
    at_home: Device, habits: Habits, zone: Callable[[str], None]
) -> None:
    zone("SUMMER-2")
    habits.later = 1

    report = at_home.hours(2, lambda random: habits(random) + np.array([0, 1, 0]))[-1]

    assert names(report.features) == ["pressure"]
