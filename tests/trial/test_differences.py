"""What counts as a difference between two answers, task by task."""

from __future__ import annotations

import pytest

from edge.data.result import Anomaly, Classification, Detection, Raw, Regression, Segmentation, Text
from edge.trial.differences import between


def box(label: str, x: float = 0.0, score: float = 0.9) -> Detection:
    return Detection(0, label, score, (x, 0.0, x + 10.0, 10.0))


def label(name: str, score: float = 0.9) -> Classification:
    return Classification(0, name, score)


@pytest.mark.parametrize(
    ("ours", "theirs", "found"),
    [
        ([label("cat")], [label("cat", 0.4), label("dog", 0.3)], []),
        ([label("cat")], [label("dog")], [("cat", "dog")]),
        ([label("cat")], [], [("cat", "nothing")]),
        ([], [], []),
        ([box("cat")], [box("cat", 2)], []),
        ([box("cat")], [box("cat", 8)], [("cat", "nothing"), ("nothing", "cat")]),
        ([box("cat")], [box("dog", 1)], [("cat", "dog")]),
        ([box("cat"), box("cat", 50)], [box("cat", 50)], [("cat", "nothing")]),
        ([box("dog", 1), box("cat")], [box("cat")], [("dog", "nothing")]),
        ([Regression("price", 100.0)], [Regression("price", 100.9)], []),
        ([Regression("price", 100.0)], [Regression("price", 102.0)], [("price", "price higher")]),
        ([Regression("a", 1.0), Regression("b", 2.0)], [Regression("b", 2.0), Regression("a", 1.0)], []),
        ([Regression("a", 1.0)], [Regression("z", 2.0)], [("a", "a higher")]),
        ([Regression("price", float("nan"))], [Regression("price", float("nan"))], []),
        ([Anomaly(0.2, False)], [Anomaly(0.9, True)], [("normal", "anomaly")]),
        ([Segmentation(["road"], [0.5])], [Segmentation(["road", "sky"], [0.48, 0.02])], []),
        ([Segmentation(["road"], [0.5])], [Segmentation(["road"], [0.3])], [("road", "road smaller")]),
        ([Text("a", 0.9)], [Text("b", 0.9)], [("text", "another text")]),
        ([Raw("x", [2], "float32", [1.0, 2.0])], [Raw("x", [2], "float32", [1.0, 2.001])], []),
        ([Raw("x", [2], "float32", [1.0, 2.0])], [Raw("x", [1], "float32", [1.0])], [("x", "x with other values")]),
    ],
)  # fmt: skip
def test_two_answers(ours: list, theirs: list, found: list) -> None:
    assert between(ours, theirs) == found
