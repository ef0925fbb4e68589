"""The publishing rules, on results made by hand and a clock that is told what time it is."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import msgspec
import pytest
from msgspec import UNSET

from edge.data.result import (
    Anomaly,
    Classification,
    Detection,
    ModelRef,
    Nested,
    Raw,
    Regression,
    Result,
    Segmentation,
    Text,
    Timing,
)  # fmt: skip
from edge.delivery.news import differ
from edge.delivery.publish_filter import TRACKS_MOST, PublishFilter, PublishRules
from edge.errors import ConfigError
from edge.testing.fakes import FakeClock


class Door:
    """A publish filter, its clock, and what went through it in words: a word, a list of words, a number."""

    def __init__(self, task: str = "classify", **rules) -> None:
        self.task = task
        self.clock = FakeClock()
        self.held: Counter[str] = Counter()
        self.publish_filter = PublishFilter(PublishRules(**rules), lambda reason: self.held.update([reason]))
        self._seq = itertools.count(1)

    def offer(self, *said, source: str = "camera:0"):
        """What is published at once of these, in words."""
        found = [self.publish_filter.admit(self.result(s, source), self.clock.monotonic_ns()) for s in said]
        return [in_words(r) for r in found if r is not None]

    def after(self, seconds: float):
        """What is published when so much time has passed."""
        self.clock.advance(seconds)
        return [in_words(r) for r in self.publish_filter.due(self.clock.monotonic_ns())]

    def rest(self):
        return [in_words(r) for r in self.publish_filter.rest()]

    def result(self, said, source) -> Result:
        seq, model, when = next(self._seq), ModelRef("m", "1", ""), "2026-01-02T03:04:05.000006Z"
        found = PREDICTIONS[self.task](said)
        return Result(1, f"d/m/b/{seq}", when, True, "d", model, source, seq, self.task, found, Timing(0, 0, 0))


LABELS = ("cat", "dog", "mat")


def objects(said):
    pairs = [s if isinstance(s, tuple) else (s, 0.9) for s in said]
    return [Detection(LABELS.index(n), n, s, (1.0 * i, 2.0, 3.0, 4.0)) for i, (n, s) in enumerate(pairs)]


def top(said):
    name, score = said if isinstance(said, tuple) else (said, 0.9)
    return [Classification(LABELS.index(name), name, score), Classification(2, "mat", 0.05)]


PREDICTIONS = {
    "classify": top,
    "detect": objects,
    "regress": lambda said: [Regression("y", said)],
    "anomaly": lambda said: [Anomaly(said, said > 1)],
    "segment": lambda said: [Segmentation(list(said), [*said.values()])],
    "raw": lambda said: [Raw("y", [len(said)], "float32", list(said))],
}


def in_words(result: Result):
    found = result.predictions
    if result.task == "classify":
        return found[0].label
    if result.task == "detect":
        return [p.label for p in found]
    if result.task == "segment":
        return dict(zip(found[0].labels, found[0].areas, strict=True))
    return getattr(found[0], {"regress": "value", "anomaly": "score", "raw": "data"}[result.task])


def test_without_rules_everything_is_published():
    assert not PublishRules().any
    assert Door().offer("cat", "cat", "dog") == ["cat", "cat", "dog"]


# --- on change --------------------------------------------------------------------------------------------


def test_a_class_is_published_when_another_is_on_top_whatever_its_score():
    door = Door(on_change=True)
    assert door.offer("cat", ("cat", 0.6), "dog", "dog", "cat") == ["cat", "dog", "cat"]
    assert door.held == {"unchanged": 2}


def test_objects_are_a_change_when_one_comes_or_goes_not_when_it_moves():
    door = Door("detect", on_change=True)
    assert door.offer(["cat"], [("cat", 0.5)], ["cat", "cat"], ["cat", "dog"], ["dog", "cat"], [], []) == [
        ["cat"], ["cat", "cat"], ["cat", "dog"], []
    ]  # fmt: skip


def test_one_that_comes_into_a_zone_is_a_change():
    door = Door("detect", on_change=True)
    rows = [msgspec.structs.replace(door.result(["cat"], "s"), counts={"door": {"cat": n}}) for n in (0, 0, 1, 1, 0)]
    assert [r.seq for r in rows if door.publish_filter.admit(r, 0) is not None] == [1, 3, 5]


def test_an_anomaly_is_a_change_when_it_begins_and_when_it_ends():
    assert Door("anomaly", on_change=True).offer(0.1, 0.4, 1.5, 2.5, 0.3, 0.2) == [0.1, 1.5, 0.3]


def test_a_number_is_a_change_when_it_differs():
    assert Door("regress", on_change=True).offer(1.0, 1.0, 1.1) == [1.0, 1.1]


def test_a_segmentation_changes_with_the_labels_seen_whatever_their_order_and_areas():
    said = [{"cat": 0.5, "mat": 0.5}, {"mat": 0.6, "cat": 0.4}, {"mat": 1.0}]
    assert Door("segment", on_change=True).offer(*said) == [said[0], said[2]]


def test_two_raw_outputs_that_are_not_a_number_say_the_same():
    nan = float("nan")
    assert len(Door("raw", on_change=True).offer([nan, 1], [nan, 1], [nan, 2], [nan, 2, 3])) == 3


# --- deadband ---------------------------------------------------------------------------------------------


def test_a_number_is_published_when_it_left_the_band_around_the_last_one_published():
    door = Door("regress", deadband=0.5)
    assert door.offer(20.0, 20.25, 20.5, 20.75, 20.5, 20.25, 20.125) == [20.0, 20.75, 20.125]
    assert door.held == {"unchanged": 4}


def test_an_anomaly_s_score_has_a_band_and_its_flips_none():
    assert Door("anomaly", deadband=1.0).offer(0.9, 0.2, 1.1, 1.9, 2.2) == [0.9, 1.1, 2.2]


def test_an_area_has_a_band():
    assert len(Door("segment", deadband=0.1).offer({"cat": 0.5}, {"cat": 0.55}, {"cat": 0.7})) == 2


def test_a_deadband_for_words_and_a_score_for_numbers_are_refused_with_the_way_out():
    with pytest.raises(ConfigError, match=r"--deadband 0\.5: it is for numbers.*classify; say --on-change"):
        PublishRules(deadband=0.5).check("classify")
    with pytest.raises(ConfigError, match=r"--min-score 0\.5: a result of task regress has no score; leave it out"):
        PublishRules(min_score=0.5).check("regress")


# --- min score --------------------------------------------------------------------------------------------


def test_a_class_that_is_not_sure_is_held_back():
    door = Door(min_score=0.7)
    assert door.offer("cat", ("dog", 0.6), ("dog", 0.7)) == ["cat", "dog"]
    assert door.held == {"score": 1}


def test_objects_that_are_not_sure_are_left_out():
    door = Door("detect", min_score=0.5)
    assert door.offer(["cat", ("dog", 0.4)], ["dog"]) == [["cat"], ["dog"]]


def test_that_the_last_object_has_gone_is_said_once():
    door = Door("detect", min_score=0.5)
    assert door.offer([], ["cat"], [("cat", 0.4)], [], [("dog", 0.1)], ["dog"]) == [["cat"], [], ["dog"]]
    assert door.held == {"score": 3}


def test_where_changes_are_asked_for_an_empty_scene_is_the_first_word():
    assert Door("detect", min_score=0.5, on_change=True).offer([], [], ["cat"], []) == [[], ["cat"], []]


def test_the_end_of_an_anomaly_is_published_below_the_score_too():
    assert Door("anomaly", min_score=0.8).offer(0.1, 0.9, 1.5, 0.2, 0.1) == [0.9, 1.5, 0.2]


# --- min interval -----------------------------------------------------------------------------------------


def test_a_camera_of_thirty_frames_a_second_gives_one_result_a_second():
    door = Door("regress", min_interval_s=1.0)
    published = []
    for number in range(90):
        published += door.after(1 / 30)
        published += door.offer(float(number))
    assert len(published) == 3
    assert door.held["interval"] == 90 - len(published) - len(door.rest())


def test_the_newest_that_was_held_back_is_published_when_the_interval_is_over():
    door = Door("regress", min_interval_s=10)
    assert door.offer(1.0, 2.0, 3.0) == [1.0]
    assert door.after(9) == []
    assert door.after(1) == [3.0]
    assert door.after(100) == []
    assert door.held == {"interval": 1}


def test_the_interval_begins_again_with_what_is_published_late():
    door = Door("regress", min_interval_s=10)
    door.offer(1.0, 2.0)
    assert door.after(10) == [2.0]
    assert door.offer(3.0) == []
    assert door.after(10) == [3.0]


def test_it_says_how_long_until_something_is_due():
    door = Door(min_interval_s=10)
    now = door.clock.monotonic_ns
    door.offer("cat")
    assert door.publish_filter.due_in_s(now(), 0.5) == 0.5
    door.offer("dog")
    door.clock.advance(9.75)
    assert door.publish_filter.due_in_s(now(), 0.5) == 0.25
    door.clock.advance(1)
    assert door.publish_filter.due_in_s(now(), 0.5) == 0.0


def test_a_change_within_the_interval_is_published_after_it():
    door = Door(on_change=True, min_interval_s=10)
    assert door.offer("cat", "cat", "dog", "dog") == ["cat"]
    assert door.after(10) == ["dog"]
    assert door.held == {"unchanged": 2}


def test_another_class_or_text_in_an_object_is_news_and_its_score_is_not():
    def car(then):
        return Detection(0, "car", 0.9, (0.0, 0.0, 9.0, 9.0), then=then)

    plate, other, surer = (Nested("plate", "text", [Text(t, s)]) for t, s in (("A1", 0.5), ("B2", 0.5), ("B2", 0.9)))
    red, blue = (Nested("colour", "classify", [Classification(i, n, 0.9)]) for i, n in enumerate(("red", "blue")))
    said = (UNSET, plate, other, surer, red, red, blue)
    results = [msgspec.structs.replace(Door("detect").result([], "s"), predictions=[car(then)]) for then in said]
    assert [differ(a, b) for a, b in itertools.pairwise(results)] == [True, True, False, True, False, True]


def test_a_state_that_came_and_went_within_the_interval_is_told_late_rather_than_never():
    door = Door("detect", on_change=True, min_interval_s=10)
    assert door.offer([], ["cat"], ["cat", "dog"], []) == [[]]
    assert door.after(10) == [["cat"]]
    assert door.after(10) == [[]]
    assert door.after(100) == []


def test_nothing_waits_where_all_stayed_as_it_was():
    door = Door(on_change=True, min_interval_s=10)
    door.offer("cat", "cat")
    assert door.after(10) == []
    assert door.offer("cat") == []


def test_a_short_anomaly_is_told_although_only_an_interval_was_asked_for():
    door = Door("anomaly", min_interval_s=10)
    assert door.offer(0.1, 0.2, 1.5, 2.5, 0.3, 0.4) == [0.1]
    assert door.after(10) == [2.5]
    assert door.after(10) == [0.4]


def test_that_an_object_has_gone_waits_for_its_interval_behind_the_object():
    door = Door("detect", min_score=0.5, on_change=True, min_interval_s=10)
    assert door.offer([], ["cat"], [("cat", 0.2)], []) == [[]]
    assert door.after(10) == [["cat"]]
    assert door.after(10) == [[]]


def test_what_waits_is_published_at_the_end():
    door = Door("detect", on_change=True, min_interval_s=10)
    door.offer([], ["cat"], ["dog"])
    assert door.rest() == [["cat"], ["dog"]]
    assert door.rest() == []


# --- several sensors --------------------------------------------------------------------------------------


def test_each_topic_has_its_own_last_state_and_interval():
    door = Door(on_change=True, min_interval_s=10)
    assert door.offer("cat", source="mqtt:a") == ["cat"]
    assert door.offer("cat", source="mqtt:b") == ["cat"]
    assert door.offer("dog", source="mqtt:a") == []
    assert door.after(10) == ["dog"]


def test_the_files_of_a_folder_are_one_stream():
    door = Door(on_change=True)
    assert door.offer("cat", source="a.jpg") + door.offer("cat", source="b.jpg") == ["cat"]


def test_topics_past_the_limit_are_forgotten_and_what_waits_for_them_is_published():
    door = Door(on_change=True, min_interval_s=10)
    door.offer("cat", "dog", source="mqtt:first")
    for number in range(TRACKS_MOST):
        door.offer("cat", source=f"mqtt:{number}")
    assert door.after(0) == ["dog"]
    assert door.offer("dog", source="mqtt:first") == ["dog"]


def test_as_many_topics_as_the_limit_are_all_remembered():
    door = Door(on_change=True, min_interval_s=10)
    for number in range(TRACKS_MOST):
        door.offer("cat", source=f"mqtt:{number}")
    assert door.offer("cat", source="mqtt:0") == []


def test_what_waits_for_several_forgotten_topics_is_published_together_and_at_once():
    door = Door(on_change=True, min_interval_s=10)
    door.offer("cat", "dog", source="mqtt:first")
    door.offer("cat", "mat", source="mqtt:second")
    for number in range(TRACKS_MOST):
        door.offer("cat", source=f"mqtt:{number}")
    assert door.publish_filter.due_in_s(door.clock.monotonic_ns(), 60) == 0
    assert door.after(0) == ["dog", "mat"]


def test_at_the_end_what_waits_of_every_topic_is_published():
    door = Door(min_interval_s=10)
    door.offer("cat", "dog", source="mqtt:a")
    door.offer("cat", "mat", source="mqtt:b")
    assert door.rest() == ["dog", "mat"]


def test_a_result_that_was_asked_for_comes_at_once_behind_what_waits():
    door = Door(min_interval_s=10)
    door.offer("cat", "dog")
    asked = door.result("mat", "camera:0")
    told = door.publish_filter.insist(asked, door.clock.monotonic_ns())
    assert [in_words(r) for r in told] == ["dog", "mat"]
    assert (door.after(9.9), door.offer("cat"), door.after(0.1)) == ([], [], ["cat"])


def test_what_is_exactly_as_sure_as_was_asked_for_is_published():
    assert Door("detect", min_score=0.9).offer([("cat", 0.9), ("dog", 0.89)]) == [["cat"]]
    assert Door(min_score=0.9).offer(("cat", 0.9)) == ["cat"]


def test_a_result_in_which_all_objects_are_sure_goes_on_as_it_is():
    door = Door("detect", min_score=0.5)
    result = door.result(["cat"], "camera:0")
    assert door.publish_filter.admit(result, 0) is result


def test_a_result_without_predictions_is_not_sure():
    door = Door(min_score=0.1)
    empty = msgspec.structs.replace(door.result("cat", "camera:0"), predictions=[])
    assert door.publish_filter.admit(empty, 0) is None
    assert door.held == {"score": 1}


def test_what_gives_way_to_a_newer_one_is_counted():
    door = Door(on_change=True, min_interval_s=10)
    door.offer("cat", "dog", "mat", "dog")
    assert (door.held, door.rest()) == ({"interval": 1, "unchanged": 1}, ["dog"])


@pytest.mark.parametrize("task", ["segment", "text", "classify"])
def test_a_rule_that_was_not_given_refuses_no_task(task):
    PublishRules(on_change=True).check(task)


# --- at random --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_the_last_state_is_told_in_the_end_in_order_and_never_too_often(seed):
    dice = random.Random(seed)
    on_change, interval = dice.random() < 0.7, dice.choice([0.0, 1.0, 3.0])
    door = Door(on_change=on_change, min_interval_s=interval)
    times: list[float] = []
    published: list[str] = []
    offered: list[str] = []
    now = 0.0

    def heard(words):
        published.extend(words)
        times.extend([now] * len(words))

    for _ in range(300):
        step = dice.choice([0.25, 0.5, 2.0])
        now += step
        heard(door.after(step))
        offered.append(dice.choice(LABELS))
        heard(door.offer(offered[-1]))
    for _ in range(3):
        now += 3.0
        heard(door.after(3.0))

    assert published[-1] == offered[-1]
    assert all(b - a >= interval for a, b in itertools.pairwise(times))
    if on_change:
        assert all(a != b for a, b in itertools.pairwise(published))
    assert len(published) + sum(door.held.values()) == len(offered)
