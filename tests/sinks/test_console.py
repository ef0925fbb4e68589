from __future__ import annotations

import pytest

from edge.sinks.console import describe

BOX = {"label": "car", "score": 0.91, "box": [10.0, 20.0, 50.0, 40.0]}


@pytest.mark.parametrize(
    ("prediction", "line"),
    [
        ({"text": "AB 12", "score": 0.97}, "AB 12 97%"),
        (BOX, "car 91% at 10,20-50,40"),
        (BOX | {"then": {"predictions": [{"text": "AB 12", "score": 0.97}]}}, "car 91% at 10,20-50,40 (AB 12 97%)"),
        (BOX | {"then": {"predictions": []}}, "car 91% at 10,20-50,40"),
        (BOX | {"track_id": 7}, "car #7 91% at 10,20-50,40"),
        ({"label": "cat", "score": 0.5}, "cat 50%"),
        ({"is_anomaly": True, "score": 3.25}, "ANOMALY 3.25"),
        ({"is_anomaly": False, "score": 0.5}, "normal 0.5"),
        ({"labels": ["road", "sky"], "areas": [0.75, 0.25]}, "road 75%, sky 25%"),
        ({"name": "t", "value": 21.5, "unit": "°C"}, "t = 21.5 °C"),
        ({"name": "t", "value": 21.5}, "t = 21.5"),
        ({"name": "out", "dtype": "float32", "shape": [1, 3], "data": [1, 2, 3]}, "out float32[1, 3]"),
    ],
)
def test_a_person_reads_what_was_found_whatever_the_task_and_what_a_second_model_says_of_it(prediction, line):
    told = describe({"time": "2026-01-02T03:04:05.000006Z", "seq": 1, "predictions": [prediction],
                     "timing_ms": {"infer": 1.0}})  # fmt: skip
    assert line + "  (1.0 ms)" in told


@pytest.mark.parametrize(("found", "line"), [([], "nothing found  ("), ([BOX] * 9, " and 6 more  (")])
def test_a_person_reads_that_nothing_was_found_or_how_much_more(found, line):
    told = describe(
        {"time": "2026-01-02T03:04:05.000006Z", "seq": 1, "predictions": found, "timing_ms": {"infer": 1.0}}
    )
    assert line in told
