from __future__ import annotations

import numpy as np
import pytest

from edge.data.sample import Sample
from edge.data.tensor import TensorSpec
from edge.model.manifest import Feature, Input, Manifest
from edge.preprocess import table


def preprocessor(dtype="float32", names=("a", "b")):
    part = Input(name="x", kind="table", features=tuple(Feature(name=n) for n in names))
    return table.create(Manifest(name="m", inputs=(part,)), (TensorSpec("x", dtype, ("n", 2)),))


@pytest.mark.parametrize(
    ("dtype", "rows"),
    [
        ("float32", [[0.1, 2], [3, 4e30]]),
        ("float32", [[True, False], [True, True]]),
        ("float32", [{"b": 2, "a": 1}, {"id": "seven", "a": 0.1, "b": 4}]),
        ("float32", [[1.0, 2.0], {"a": 3, "b": 4.5}, np.array([5, 6])]),
        ("int64", [[1, -2], [3, 2**53 + 1]]),
        ("float64", [[0.1, 1e300], [2**60, -1]]),
    ],
)
def test_many_rows_at_once_give_the_same_as_one_by_one(dtype, rows):
    made = preprocessor(dtype)
    alone = [made(Sample(row, "test", 0, 0)).tensors["x"] for row in rows]
    together = [given.tensors["x"] for given in made.many(rows)]
    assert [t.dtype for t in together] == [a.dtype for a in alone]
    assert [t.tolist() for t in together] == [a.tolist() for a in alone]


@pytest.mark.parametrize(
    "bad",
    [
        [1.0], [1.0, 2.0, 3.0], [1.0, None], [1.0, float("nan")], [1.0, 1e300], [1.0, "x"], ["1", "2"],
        {"a": 1}, {"a": 1, "b": 2, "c": 3}, {"a": 1, "c": 2}, [[1.0], [2.0]], 5, "text", None,
    ],
)  # fmt: skip
def test_a_row_among_many_that_is_anything_else_is_left_to_be_told_one_by_one(bad):
    assert preprocessor().many([[1.0, 2.0], bad]) is None


def test_a_whole_number_that_a_float_cannot_hold_is_left_to_be_told_one_by_one():
    assert preprocessor("int64").many([[1, 2], [3, 4.5]]) is None
