"""What the watch costs for each row of 30 features, in the thread that infers: `python -m drift.cost`. By the
pipeline's hook; and of tensors that came over HTTP or gRPC, in requests of one row and of 32. Microseconds of processor
time.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

import converter
from edge.app.drift import TensorRows
from edge.app.loading import Loaded, load_file
from edge.data.result import Classification, ModelRef, Result, Timing
from edge.data.sample import ModelInput
from edge.drift import reference
from edge.drift.places import Places
from edge.drift.tally import Counted, Reading, RowTally

FEATURES, ROWS, ROUNDS = 30, 20_000, 15


def watched(folder: Path) -> Loaded:
    """A model of 30 features and two classes."""
    values = np.random.default_rng(1).normal(size=(5000, FEATURES))
    table = pd.DataFrame(values, columns=[f"f{i}" for i in range(FEATURES)])
    model = LogisticRegression().fit(table, np.where(values[:, 0] > 0, "hot", "cold"))
    return load_file(converter.convert(model, sample=table).save(folder / "plant.onnx"))


def by_hook(loaded: Loaded, rows: np.ndarray) -> Callable[[RowTally], None]:
    """Row by row, as the pipeline has them."""
    result = Result(
        1, "d/m/b/1", "", True, "d", ModelRef("m", "1", ""), "s", 1, "classify",
        [Classification(0, "cold", 0.9)], Timing(0, 0, 0),
    )  # fmt: skip
    given = [ModelInput({loaded.engine.inputs[0].name: row[None]}) for row in rows]

    def count(tally: RowTally) -> None:
        for one in given:
            tally.watch(result, {}, one)

    return count


def by_tensors(loaded: Loaded, rows: np.ndarray, batch: int, of: TensorRows) -> Callable[[RowTally], None]:
    """In requests of so many rows."""
    name = loaded.engine.inputs[0].name
    given = [{name: rows[at : at + batch]} for at in range(0, len(rows), batch)]
    outputs = [loaded.engine.infer(tensors) for tensors in given]

    def count(tally: RowTally) -> None:
        for tensors, found in zip(given, outputs, strict=True):
            ran = of.of(tensors, found)
            assert ran is not None
            tally.ran(ran)

    return count


def main() -> None:
    """Prints microseconds a row."""
    with tempfile.TemporaryDirectory() as folder:
        loaded = watched(Path(folder))
    known = reference.read(loaded.manifest.reference, [f.name for f in loaded.manifest.features])
    of = TensorRows(loaded, known)
    rows = np.random.default_rng(2).normal(size=(ROWS, FEATURES)).astype(np.float32)
    ways = {
        "the pipeline's hook": by_hook(loaded, rows),
        "tensors, requests of one row": by_tensors(loaded, rows, 1, of),
        "tensors, requests of 32 rows": by_tensors(loaded, rows, 32, of),
    }
    reading = Reading((loaded.engine.inputs[0].name,))
    for name, count in ways.items():
        found = []
        for _ in range(ROUNDS):
            counted: list[Counted] = []
            tally = RowTally(reading, counted.append, time.monotonic_ns, of.found)
            tally.open(Places(known.features), Places(known.predictions))
            began = time.thread_time()
            count(tally)
            tally.end()
            found.append((time.thread_time() - began) / ROWS * 1e6)
            assert sum(int(c.predictions.sum()) for c in counted) == ROWS
        print(f"{name}: {median(found):.2f} us a row of {FEATURES} features (least {min(found):.2f})")
    print(f"{ROUNDS} rounds of {ROWS} rows")


if __name__ == "__main__":
    main()
