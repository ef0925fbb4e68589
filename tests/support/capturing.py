"""Samples to be kept, as the pipeline hands them over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from edge.capture.record import Candidate
from edge.capture.rules import Rule, picked
from edge.data.result import Classification, ModelRef, Result, Timing
from edge.data.sample import EncodedImage, Frame

RANDOM: Rule = ("random", 1.0)
SCORE: Rule = ("score<", 0.6)
PIXELS = np.full((48, 64, 3), 200, np.uint8)
JPEG = cv2.imencode(".jpg", PIXELS)[1].tobytes()
PNG = cv2.imencode(".png", PIXELS)[1].tobytes()


def result(seq: int, predictions: Sequence[Any] = (Classification(0, "cat", 0.5),), called: str = "") -> Result:
    when = "2026-01-02T03:04:05.000006Z"
    model, timing = ModelRef("m", "1", "0" * 64), Timing(0, 0, 0)
    return Result(
        1, called or f"pi/m/b/{seq}", when, True, "pi", model, "s", seq, "classify", list(predictions), timing
    )


def row(seq: int, rule: Rule = RANDOM, payload: Any = None) -> Candidate:
    return Candidate(picked([rule]), {"x": seq} if payload is None else payload, None, result(seq))


def picture(seq: int, rule: Rule = RANDOM, data: bytes = JPEG) -> Candidate:
    return Candidate(picked([rule]), EncodedImage(data), Frame(64, 48), result(seq))
