"""Rows that change one another never run together, whoever sent them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import onnxmodels

from edge.app import assembly
from edge.data.sample import Sample
from edge.errors import SampleError
from edge.pipeline.neighbours import keeps_apart, may_join, same

ROW = {"x": np.array([[0.5, -1.0, 2.0]], np.float32)}


def apart(answer, sample=ROW):
    return keeps_apart(lambda tensors: {"y": answer(tensors["x"])}, sample)


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: x / np.abs(x).max(),
        lambda x: x - x.mean(axis=0),
        lambda x: np.exp(x) / np.exp(x).sum(axis=0),
        lambda x: np.cumsum(x, axis=0)[::-1],
        lambda x: np.sort(x, axis=0),
        lambda x: x + (len(x) > 1),
    ],
    ids=["one scale", "the mean", "softmax over the batch", "running sum", "sorted", "the count"],
)
def test_rows_that_depend_on_the_batch_are_found(answer):
    with np.errstate(over="ignore", invalid="ignore"):
        assert not apart(answer)


@pytest.mark.parametrize(
    "answer", [lambda x: x * 2, lambda x: x.sum(axis=1, keepdims=True), lambda x: np.where(x > 0, x, np.nan)]
)
def test_rows_that_depend_on_themselves_are_left_together(answer):
    assert apart(answer)


def test_pixels_are_tried_beside_their_opposite():
    pixels = {"x": np.full((1, 4, 4, 3), 7, np.uint8)}
    assert apart(lambda x: x.mean(axis=(1, 2)), pixels)
    assert not apart(lambda x: x - x.min(), pixels)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (np.float32([1000, 0]), np.float32([1000.05, 0]), True),
        (np.float32([1000, 0]), np.float32([1000.5, 0]), False),
        (np.float32([0.0]), np.float32([5e-6]), True),
        (np.float32([0.0]), np.float32([5e-5]), False),
        (np.float32([np.nan]), np.float32([np.nan]), True),
        (np.float32([1, 2]), np.float32([1]), False),
        (np.int64([7, 8]), np.int64([7, 8]), True),
        (np.int64([10_000_000]), np.int64([10_000_001]), False),
        (np.array(["a"]), np.array(["b"]), False),
    ],
)
def test_outputs_are_the_same_but_for_rounding_and_classes_exactly(one, other, alike):
    assert same({"y": one}, {"y": other}) is alike


def test_tokens_are_not_made_up():
    def answer(tokens):
        raise AssertionError

    assert apart(answer, {"x": np.array([[3, 1, 2]])})


def test_a_model_that_refuses_the_neighbour_is_judged_by_its_rows():
    def answer(x):
        if len(x) > 1:
            raise SampleError("too many")
        return x

    assert apart(answer)


def test_a_file_with_dynamic_quantisation_says_so_itself(tmp_path):
    assert not may_join(assembly.load_file(onnxmodels.dynamic(tmp_path / "d.onnx")).engine)
    assert may_join(assembly.load_file(onnxmodels.identity(tmp_path / "i.onnx")).engine)


ROWS = st.lists(st.lists(st.floats(-1000, 1000, width=16), min_size=3, max_size=3), min_size=2, max_size=5)


@pytest.fixture(params=[onnxmodels.dynamic, onnxmodels.less_the_mean], ids=["scale", "mean"])
def pipeline(request, tmp_path):
    return assembly.make_pipeline(assembly.load_file(request.param(tmp_path / "m.onnx")), "device")


def test_a_batch_of_rows_gives_what_each_row_gives_alone(pipeline):
    @given(ROWS)
    @settings(max_examples=40, deadline=None)
    def check(rows):
        values = [
            [[p.value for p in r.predictions] for r in pipeline.process(Sample(payload, "test", 0, 0))]
            for payload in (rows, *rows)
        ]
        assert values[0] == [alone for (alone,) in values[1:]]

    check()


def test_samples_that_wait_give_what_each_gives_alone(pipeline):
    samples = [Sample([1.0 * 10**n, 2.0, 3.0], "test", 0, 0) for n in range(5)]
    alone = [pipeline.process(s)[0].predictions for s in samples]
    for _ in range(3):
        together = pipeline.run(pipeline.prepare(samples))
        assert [found[0].predictions for found in together] == alone
