from __future__ import annotations

import numpy as np
import pytest

from edge.data.sample import EncodedImage, Sample
from edge.data.tensor import TensorSpec
from edge.errors import ModelError, SampleError
from edge.model.manifest import Feature, Input, Manifest, Window
from edge.preprocess.window import create


def preprocessor(size=3, hop=2, shape=(1, 3, 2), names=("", ""), **fields):
    part = Input(name="in", kind="table", features=tuple(Feature(name=n) for n in names),
                 window=Window(size=size, hop=hop), **fields)  # fmt: skip
    return create(Manifest(name="m", inputs=(part,)), (TensorSpec("in", "float32", shape),))


def feed(made, payload) -> list:
    found = [made(Sample(p, "test", 0, 0)) for p in made.split(payload)]
    return [None if f is None else f.tensors["in"].tolist() for f in found]


def test_a_window_is_full_after_its_size_and_then_every_hop():
    made = preprocessor()
    found = [feed(made, [float(n), float(-n)])[0] for n in range(8)]
    full = {n: [[[float(i), float(-i)] for i in range(n - 2, n + 1)]] for n in (2, 4, 6)}
    assert found == [full.get(n) for n in range(8)]


def test_a_hop_past_the_window_leaves_rows_out():
    made = preprocessor(hop=4)
    found = [feed(made, [float(n), 0.0])[0] for n in range(7)]
    assert [n for n, f in enumerate(found) if f is not None] == [2, 6]


def test_rows_may_have_names():
    made = preprocessor(size=1, hop=1, shape=(1, 2), names=("a", "b"))
    assert feed(made, {"b": 2, "a": 1}) == [[[1, 2]]]


def test_a_bad_row_is_one_bad_sample_and_the_window_goes_on():
    made = preprocessor()
    feed(made, [1, 1])
    with pytest.raises(SampleError):
        feed(made, [1, "x"])
    with pytest.raises(SampleError):
        feed(made, [1, 2, 3])
    assert feed(made, [2, 2]) == [None]
    assert feed(made, [3, 3]) == [[[[1, 1], [2, 2], [3, 3]]]]


@pytest.mark.parametrize("shape", [(3, 2), (1, 3, 2)])
def test_a_whole_window_is_taken_as_it_is(shape):
    values = np.arange(6, dtype=np.float32).reshape(shape)
    for payload in (values, values.tolist()):
        assert feed(preprocessor(), payload) == [values.reshape(1, 3, 2).tolist()]


def test_many_whole_windows_are_cut():
    assert len(feed(preprocessor(), np.zeros((5, 3, 2)))) == 5


def test_a_flat_model_gets_its_rows_one_behind_the_other():
    made = preprocessor(shape=(1, 6))
    assert [feed(made, [n, n])[0] for n in range(3)][-1] == [[0, 0, 1, 1, 2, 2]]


def test_rows_are_scaled_by_the_manifest():
    made = preprocessor(size=1, hop=1, shape=(1, 1, 2), scaling="standard", mean=(1.0, 2.0), std=(2.0, 4.0))
    assert feed(made, [3, 10]) == [[[[1, 2]]]]


@pytest.mark.parametrize("payload", [EncodedImage(b""), np.full((3, 2), np.nan), "text", None])
def test_what_is_no_row_is_one_bad_sample(payload):
    with pytest.raises(SampleError):
        feed(preprocessor(), payload)


@pytest.mark.parametrize("fields", [{"size": 4}, {"size": 0}, {"hop": 0}, {"mean": (1.0, 2.0, 3.0)}, {"std": (0.0,)}])
def test_a_manifest_that_does_not_fit_is_a_model_error(fields):
    with pytest.raises(ModelError):
        preprocessor(**fields)
