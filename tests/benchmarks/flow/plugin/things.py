"""What all contenders read: frames of 640 x 480 (uint8, RGB), or rows of 64 numbers, at a rate or as fast as may be."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import numpy as np


def parse(spec: str) -> tuple[str, float, int]:
    """Kind, rate and count of `frames@10x500`."""
    kind, rate, count = re.fullmatch(r"(frames|rows)@([0-9.]+)x(\d+)", spec).groups()  # type: ignore[union-attr]
    return kind, float(rate), int(count)


class Paced:
    """Things in turn from a few that were made before, so that making them costs nothing."""

    def __init__(self, spec: str) -> None:
        kind, self._rate, self._count = parse(spec)
        rng = np.random.default_rng(3)
        self._things: list[Any] = (
            [rng.integers(0, 256, (480, 640, 3), dtype=np.uint8) for _ in range(8)]
            if kind == "frames"
            else rng.normal(size=(64, 64)).round(4).tolist()
        )

    def __iter__(self) -> Iterator[Any]:
        due = time.monotonic()
        for number in range(self._count):
            if self._rate:
                due += 1 / self._rate
                time.sleep(max(0.0, due - time.monotonic()))
            yield self._things[number % len(self._things)]
