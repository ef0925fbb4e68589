from __future__ import annotations

import itertools

import numpy as np
import pytest

from edge.data.tensor import TensorSpec
from edge.errors import SampleError
from edge.pipeline.batching import TOGETHER_NS, Batching, row

X, Y = TensorSpec("x", "float32", ("n", 2)), TensorSpec("y", "float32", ("n", 2))


def rows(*values):
    return [{"x": np.array([[v, v + 1]], np.float32)} for v in values]


class Model:
    """Counts how many rows each run had; `answer` makes the output."""

    def __init__(self, answer=lambda x: x * 2):
        self.runs = []
        self._answer = answer

    def __call__(self, tensors):
        self.runs.append(len(tensors["x"]))
        return {"y": self._answer(tensors["x"])}


def outputs(runs):
    return [
        said
        for ran, count, _ in runs
        for said in ([ran] if isinstance(ran, str) else [row(ran, i)["y"].tolist() for i in range(count)])
    ]


@pytest.fixture
def warm():
    def make(model, inputs=(X,), outputs_=(Y,)):
        together = Batching(model, inputs, outputs_, now=lambda: 0)
        together.run(rows(0.0))
        model.runs.clear()
        return together

    return make


def test_the_first_sample_runs_alone_for_nobody_knows_how_long_it_takes():
    model = Model()
    together = Batching(model, (X,), (Y,), now=lambda: 0)
    assert together.at_once == 1
    together.run(rows(1.0))
    assert model.runs == [1]


def test_rows_that_wait_run_at_once_and_come_back_in_order(warm):
    model = Model()
    together = warm(model)
    together.run(rows(1.0, 2.0))
    model.runs.clear()
    assert outputs(together.run(rows(1.0, 2.0, 3.0))) == [[[2, 4]], [[4, 6]], [[6, 8]]]
    assert model.runs == [3]


def test_the_first_batch_is_compared_with_its_rows_alone(warm):
    model = Model()
    warm(model).run(rows(1.0, 2.0, 3.0))
    assert model.runs == [3, 1, 1, 3]


@pytest.mark.parametrize("mixes", [lambda x: x - x.mean(axis=0), lambda x: x * len(x)])
def test_a_model_that_mixes_its_rows_runs_them_alone_for_good(warm, mixes):
    model = Model(mixes)
    together = warm(model)
    for _ in range(2):
        model.runs.clear()
        assert outputs(together.run(rows(1.0, 5.0))) == [mixes(r["x"]).tolist() for r in rows(1.0, 5.0)]
    assert model.runs == [1, 1]


def test_a_model_that_gives_one_answer_for_all_rows_runs_them_alone(warm):
    model = Model(lambda x: x.sum(axis=0, keepdims=True))
    assert outputs(warm(model).run(rows(1.0, 2.0))) == [[[1, 2]], [[2, 3]]]


def test_a_fixed_batch_dimension_runs_alone(warm):
    fixed = TensorSpec("x", "float32", (1, 2))
    model = Model()
    warm(model, (fixed,)).run(rows(1.0, 2.0))
    assert model.runs == [1, 1]


def test_a_slow_model_runs_alone_and_is_given_one_sample_at_a_time():
    model = Model()
    together = Batching(model, (X,), (Y,), now=itertools.count(0, TOGETHER_NS).__next__)
    together.run(rows(0.0))
    assert together.at_once == 1
    together.run(rows(1.0, 2.0))
    assert model.runs == [1, 1, 1]


def test_how_soon_a_row_is_refused_says_nothing_of_the_pace():
    def refuse(x):
        raise SampleError("negative")

    together = Batching(Model(refuse), (X,), (Y,), now=lambda: 0)
    together.run(rows(-9.0))
    assert (together.each_ns, together.at_once) == (0, 1)


def test_a_row_that_is_refused_costs_the_others_nothing(warm):
    def answer(x):
        if (x < 0).any():
            raise SampleError("negative")
        return x

    assert outputs(warm(Model(answer)).run(rows(1.0, -9.0, 3.0))) == [[[1, 2]], "negative", [[3, 4]]]


def test_the_outputs_of_a_model_of_one_row_are_laid_side_by_side(warm):
    one = TensorSpec("x", "float32", (1, 2)), TensorSpec("y", "float32", (1, 2))
    model = Model()
    (ran,) = warm(model, one[:1], one[1:]).run(rows(1.0, 2.0, 3.0))
    assert model.runs == [1, 1, 1]
    assert (ran[1], outputs([ran])) == (3, [[[2, 4]], [[4, 6]], [[6, 8]]])


def test_a_refused_row_of_a_model_of_one_row_stands_by_itself(warm):
    def answer(x):
        if (x < 0).any():
            raise SampleError("negative")
        return x

    one = TensorSpec("x", "float32", (1, 2)), TensorSpec("y", "float32", (1, 2))
    assert outputs(warm(Model(answer), one[:1], one[1:]).run(rows(1.0, -9.0))) == [[[1, 2]], "negative"]


def test_outputs_of_the_size_of_their_inputs_are_told_one_by_one():
    one_row = TensorSpec("y", "float32", (1, "w"))
    together = Batching(Model(), (TensorSpec("x", "float32", (1, "w")),), (one_row,), now=lambda: 0)
    together.run(rows(0.0))
    samples = [{"x": np.ones((1, width), np.float32)} for width in (2, 3)]
    assert outputs(together.run(samples)) == [[[2.0, 2.0]], [[2.0, 2.0, 2.0]]]
