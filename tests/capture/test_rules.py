"""Which results are worth their samples, and what they are worth."""

from __future__ import annotations

import pytest
from support.capturing import result

from edge.capture.rules import Rules, text
from edge.data.result import Anomaly, Classification, Detection, Regression, Segmentation
from edge.settings.parsers import capture_rules


def rules(said: str, chance: float = 0.5, drifted: bool = False) -> Rules:
    return Rules(capture_rules(said), lambda: chance, lambda: drifted)


def classes(best: float) -> list[Classification]:
    return [Classification(0, "cat", best), Classification(1, "dog", 1 - best)]


def box(label: str, score: float) -> Detection:
    return Detection(0, label, score, (0.0, 0.0, 9.0, 9.0))


@pytest.mark.parametrize(
    ("said", "predictions", "picks"),
    [
        ("score<0.6", classes(0.59), True),
        ("score<0.6", classes(0.6), False),  # the second class's 0.4 says nothing
        ("score<0.6", [box("cat", 0.9), box("dog", 0.5)], True),
        ("score<0.6", [], False),
        ("score<0.6", [Classification(0, "cat", float("nan"))], False),
        ("score>0.8", [Anomaly(0.9, True)], True),
        ("score<0.6", [Regression("y", 0.1)], False),
        ("class:cat", classes(0.6), True),
        ("class:dog", classes(0.6), False),
        ("class:dog", [box("cat", 0.9), box("dog", 0.5)], True),
        ("class:anomaly", [Anomaly(0.9, True)], True),
        ("class:road", [Segmentation(["road", "sky"], [0.0, 1.0])], False),
        ("random:0.5", [], False),
        ("random:0.51", [], True),
        ("drift", [], False),
    ],
)
def test_a_rule_looks_at_what_was_found(said, predictions, picks):
    assert (rules(said).of(result(1, predictions)) is not None) is picks


def test_drift_picks_while_something_looks_unlike_before():
    assert rules("drift", drifted=True).of(result(1)).reasons == ("drift",)


def test_of_several_rules_one_is_enough_and_all_that_pick_are_told_the_most_valuable_first():
    found = rules("random:0.9,class:dog,score<0.6").of(result(1, classes(0.55)))

    assert found.reasons == ("score<0.6", "random:0.9")
    assert found.worth == rules("score<0.6").of(result(1, classes(0.55))).worth
    assert found.worth > rules("random:1").of(result(1, classes(0.9))).worth


def test_rules_are_read_as_they_are_written():
    said = "score<0.6,score>0.9,class:traffic light,random:0.01,drift,trial-differs"

    assert ",".join(text(rule) for rule in capture_rules(said)) == said
    assert capture_rules(" score < 0.6 , drift,drift") == (("score<", 0.6), ("drift", ""))


@pytest.mark.parametrize("said", ["", "score", "score<", "score<=0.6", "score<x", "class:", "random", "random:0",
                                  "random:2", "drifting", "drift,", "class:a\nb", "random:nan"])  # fmt: skip
def test_what_is_no_rule_is_refused(said):
    with pytest.raises(ValueError, match="belong"):
        capture_rules(said)
