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
    ],
)
def test_a_person_reads_what_was_found_and_what_a_second_model_says_of_it(prediction, line):
    told = describe({"time": "2026-01-02T03:04:05.000006Z", "seq": 1, "predictions": [prediction],
                     "timing_ms": {"infer": 1.0}})  # fmt: skip
    assert line + "  (1.0 ms)" in told
