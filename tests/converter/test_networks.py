"""What is told of a network that says little of itself: a fake one, for the frameworks are not needed here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter.errors import SampleFileError
from converter.networks import planning
from converter.networks.planning import Network
from converter.options import Options
from converter.rows.rows import Rows
from converter.source import Source
from edge.data.tensor import TensorSpec

ANYWHERE = Source("torch", "object", value=object())


def network(shape: tuple[Any, ...], answer: Callable[[np.ndarray], np.ndarray], dtype: str = "float32") -> Network:
    spec = TensorSpec(name="x", dtype=dtype, shape=shape)
    return Network("torch", (spec,), ("output",), lambda tensors: [answer(tensors["x"])], layout="NCHW")


def scores(count: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.stack([x.reshape(len(x), -1).sum(axis=1) * (i - 1) for i in range(count)], axis=1)


def test_a_flat_input_is_a_table_with_the_names_of_the_sample() -> None:
    rows = Rows({"age": np.arange(4.0), "height": np.arange(4.0)}, table=True)

    plan = planning.plan(network((None, 2), scores(3)), rows, Options(), ANYWHERE)

    assert plan.manifest.inputs[0].kind == "table"
    assert [f.name for f in plan.manifest.features] == ["age", "height"]


def test_a_sample_with_a_column_too_many_is_refused() -> None:
    rows = Rows({n: np.arange(4.0) for n in ("a", "b", "truth")}, table=True)

    with pytest.raises(SampleFileError, match=r"3 columns \(a, b, truth\), the model takes 2"):
        planning.plan(network((None, 2), scores(3)), rows, Options(), ANYWHERE)


def test_flags_describe_the_picture() -> None:
    options = Options(mean=(1.0, 2.0, 3.0), std=(4.0,), color="BGR", resize="letterbox")

    (picture,) = planning.plan(network((None, 3, 8, 16), scores(2)), None, options, ANYWHERE).manifest.inputs

    assert (picture.kind, picture.layout, picture.size) == ("image", "NCHW", (16, 8))
    assert (picture.mean, picture.std, picture.color, picture.resize) == ((1.0, 2.0, 3.0), (4.0,), "BGR", "letterbox")


def test_a_size_that_the_model_does_not_take_is_refused() -> None:
    with pytest.raises(SampleFileError, match="the model takes 16x8"):
        planning.plan(network((None, 3, 8, 16), scores(2)), None, Options(input_size=(9, 9)), ANYWHERE)


def test_files_beside_the_model_describe_the_picture_and_name_the_classes(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"id2label": {"0": "cat", "1": "dog"}}')
    (tmp_path / "preprocess.json").write_text('{"mean": [0.5], "std": [0.5]}')
    source = Source("torch", "pt2", tmp_path / "model.pt2")

    manifest = planning.plan(network((None, 3, 8, 8), scores(2)), None, Options(), source).manifest

    assert (manifest.labels, manifest.inputs[0].mean) == (("cat", "dog"), (127.5,))


def test_scores_that_are_no_probabilities_get_a_softmax() -> None:
    manifest = planning.plan(network((None, 4), scores(3)), None, Options(), ANYWHERE).manifest

    assert (manifest.task, manifest.activation) == ("classify", "softmax")


def test_one_number_is_a_regression() -> None:
    plan = planning.plan(network((None, 4), lambda x: x.sum(axis=1, keepdims=True)), None, Options(), ANYWHERE)

    assert (plan.manifest.task, plan.manifest.outputs[0].role) == ("regress", "value")


def test_one_logit_is_a_class_where_classes_are_expected() -> None:
    rows = Rows({"": np.random.default_rng(0).normal(size=(6, 4))}, expected=np.array([0, 1, 1, 0, 1, 0]))

    manifest = planning.plan(
        network((None, 4), lambda x: x.sum(axis=1, keepdims=True)), rows, Options(), ANYWHERE
    ).manifest

    assert (manifest.task, manifest.activation, manifest.labels) == ("classify", "sigmoid", ("0", "1"))


def test_expected_numbers_of_classes_become_their_names() -> None:
    rows = Rows({"": np.ones((3, 4))}, expected=np.array([2, 0, 1]))

    plan = planning.plan(network((None, 4), scores(3)), rows, Options(labels=("a", "b", "c")), ANYWHERE)

    assert plan.rows.expected is not None
    assert plan.rows.expected.tolist() == ["c", "a", "b"]


def test_words_are_made_up_within_the_vocabulary() -> None:
    words = Network(
        "torch", (TensorSpec(name="x", dtype="int64", shape=(None, 5)),), ("output",),
        lambda tensors: [tensors["x"].astype(np.float32)], vocabulary=7,
    )  # fmt: skip

    made = planning.plan(words, None, Options(), ANYWHERE).rows

    assert made.source == "generated"
    assert (made.array.min(), made.array.max()) == (0, 6)


TOKENS = Network(
    "torch", (TensorSpec(name="x", dtype="int64", shape=(None, 2)),), ("output",),
    lambda tensors: [tensors["x"].astype(np.float32)], vocabulary=7,
)  # fmt: skip


def test_a_table_of_words_numbers_is_taken_for_them() -> None:
    rows = Rows({"first": np.arange(4.0), "second": np.arange(4.0) + 1}, table=True)

    made = planning.plan(TOKENS, rows, Options(), ANYWHERE).rows

    assert made.array.tolist() == [[0, 1], [1, 2], [2, 3], [3, 4]]


def test_a_table_for_a_network_of_pictures_is_refused_with_the_way_out() -> None:
    rows = Rows({"a": np.arange(4.0), "b": np.arange(4.0)}, table=True)

    with pytest.raises(SampleFileError, match=r"the sample is a table; give arrays as \.npy, or one for each input"):
        planning.plan(network((None, 5, 8, 8), scores(2)), rows, Options(), ANYWHERE)


def test_answers_of_several_dimensions_are_given_as_they_are() -> None:
    manifest = planning.plan(network((None, 4), lambda x: np.ones((len(x), 3, 5))), None, Options(), ANYWHERE).manifest

    assert (manifest.task, manifest.activation) == ("raw", "")


def test_names_beside_the_model_that_do_not_fit_are_left_out_with_a_word(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"id2label": {"0": "cat", "1": "dog"}}')
    source = Source("torch", "pt2", tmp_path / "model.pt2")

    plan = planning.plan(network((None, 4), scores(5)), None, Options(task="classify"), source)

    assert plan.manifest.labels != ("cat", "dog")
    assert any(note.startswith("beside the model: ") and note.endswith(": left out") for note in plan.notes)
