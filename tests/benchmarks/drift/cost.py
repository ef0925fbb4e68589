"""What the watch costs for each row of 30 features, in the thread that infers: `python -m drift.cost`."""

from __future__ import annotations

import time
from statistics import median

import numpy as np

from edge.data.result import Classification, ModelRef, Result, Timing
from edge.data.sample import ModelInput
from edge.drift import reference
from edge.drift.places import Places
from edge.drift.tally import Counted, Reading, RowTally

FEATURES, ROWS, ROUNDS = 30, 20_000, 15


def main() -> None:
    """Prints microseconds a row."""
    random = np.random.default_rng(1)
    sample = random.normal(size=(5000, FEATURES))
    features = Places([reference.of_numbers(f"f{i}", sample[:, i]) for i in range(FEATURES)])
    classes = Places([reference.of_classes({"cold": 1, "hot": 1})])
    result = Result(
        1, "d/m/b/1", "", True, "d", ModelRef("m", "1", ""), "s", 1, "classify",
        [Classification(0, "cold", 0.9)], Timing(0, 0, 0),
    )  # fmt: skip
    rows = [ModelInput({"x": row[None]}) for row in random.normal(size=(ROWS, FEATURES)).astype(np.float32)]
    found: list[float] = []
    for _ in range(ROUNDS):
        counted: list[Counted] = []
        tally = RowTally(Reading(("x",)), counted.append, time.monotonic_ns)
        tally.open(features, classes)
        began = time.perf_counter()
        for row in rows:
            tally.watch(result, {}, row)
        tally.end()
        found.append((time.perf_counter() - began) / ROWS * 1e6)
    print(
        f"{median(found):.2f} us a row of {FEATURES} features (least {min(found):.2f}, {ROUNDS} rounds of {ROWS} rows)"
    )


if __name__ == "__main__":
    main()
