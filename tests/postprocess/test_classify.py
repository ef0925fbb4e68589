from __future__ import annotations

import numpy as np
import pytest

from edge.data.sample import ModelInput
from edge.data.tensor import TensorSpec
from edge.errors import SampleError
from edge.model.manifest import Manifest, Output
from edge.postprocess import classify

LABEL = TensorSpec("label", "string", (None,))
SCORES = TensorSpec("scores", "float32", (None, 3))
NOTHING = ModelInput({})


def read(outputs, specs=(SCORES,), roles=(("scores", "scores"),), **manifest):
    outputs = {k: v if isinstance(v[0], dict) else np.asarray(v) for k, v in outputs.items()}
    described = Manifest(name="m", outputs=tuple(Output(name=n, role=r) for n, r in roles), **manifest)
    return [(p.index, p.label, p.score) for p in classify.create(described, specs)(outputs, NOTHING)]


def test_classes_come_best_first_with_their_labels():
    found = read({"scores": [[0.2, 0.5, 0.3]]}, labels=("a", "b", "c"))
    assert found == [(1, "b", 0.5), (2, "c", 0.3), (0, "a", 0.2)]


def test_labels_that_are_too_few_give_the_number():
    assert read({"scores": [[0.2, 0.3, 0.5]]}, labels=("a",))[0] == (2, "2", 0.5)


def test_top_k_and_the_threshold_cut():
    assert len(read({"scores": [[0.2, 0.5, 0.3]]}, top_k=2)) == 2
    assert read({"scores": [[0.2, 0.5, 0.3]]}, threshold=0.4) == [(1, "1", 0.5)]


def test_logits_become_probabilities():
    found = read({"scores": [[0.0, 100.0, 0.0]]}, activation="softmax")
    assert found[0][2] == pytest.approx(1.0)
    assert read({"scores": [[0.0]]}, activation="sigmoid", labels=("no", "yes"))[0][2] == pytest.approx(0.5)


def test_one_probability_tells_two_classes():
    assert read({"scores": [[0.9]]}, labels=("no", "yes")) == [(1, "yes", 0.9), (0, "no", 0.1)]


def test_the_models_own_label_comes_first_where_its_scores_say_the_opposite():
    found = read(
        {"label": ["b"], "scores": [[0.7, -0.7]]},
        specs=(LABEL, SCORES),
        roles=(("label", "label"), ("scores", "scores")),
        labels=("a", "b"),
    )
    assert found[0][:2] == (1, "b")


def test_a_label_alone_is_certain():
    outputs = {"label": ["b"]}
    assert read(outputs, specs=(LABEL,), roles=(("label", "label"),), labels=("a", "b")) == [(1, "b", 1.0)]


def test_a_label_is_shown_by_the_name_the_user_gave_it():
    described = Manifest(
        name="m", labels=("off", "on"), outputs=(Output(name="label", role="label", values=("False", "True")),)
    )
    (found,) = classify.create(described, (LABEL,))({"label": np.array(["True"], dtype=object)}, NOTHING)
    assert (found.index, found.label) == (1, "on")


def test_classes_that_nobody_named_keep_the_models_own_label():
    found = read({"label": np.array([7]), "scores": [[0.1, 0.9, 0.0]]}, specs=(LABEL, SCORES), roles=(
        ("label", "label"), ("scores", "scores")))  # fmt: skip
    assert found == [(1, "7", 0.9)]


def test_a_sequence_of_maps_brings_its_own_labels():
    found = read({"scores": [{"x": 0.25, "y": 0.75}]}, specs=(TensorSpec("scores", "seq(map)", None),))
    assert found == [(1, "y", 0.75), (0, "x", 0.25)]


def test_scores_that_are_no_numbers_skip_the_sample():
    with pytest.raises(SampleError, match="not finite"):
        read({"scores": [[float("nan"), 0.0, 0.0]]})


SAID = (("label", "label"), ("scores", "scores"))


@pytest.mark.parametrize(
    ("roles", "more"),
    [
        (SAID[1:], {}),
        (SAID[1:], {"top_k": 2, "threshold": 0.3, "activation": "softmax"}),
        (SAID, {"labels": ("a", "b", "c")}),
        (SAID, {"labels": ("a", "b", "c"), "top_k": 1}),
    ],
)
def test_many_samples_at_once_give_the_same_as_one_by_one(roles, more):
    outputs = {
        "label": np.array(["a", "b", "c", "b"], dtype=object),
        "scores": np.array([[0.2, 0.5, 0.3], [0.1, 0.8, 0.1], [1 / 3, 1 / 3, 1 / 3], [0.9, 0.05, 0.05]]),
    }
    described = Manifest(name="m", outputs=tuple(Output(name=n, role=r) for n, r in roles), **more)
    read_one = classify.create(described, (LABEL, SCORES))
    alone = [read_one({n: v[i : i + 1] for n, v in outputs.items()}, NOTHING) for i in range(4)]
    assert read_one.many(outputs, 4) == alone


@pytest.mark.parametrize("decimals", [1, 8], ids=["with equal scores", "all different"])
@pytest.mark.parametrize("top_k", [None, 0, 1, 3])
@pytest.mark.parametrize("classes", [1, 2, 5, 6, 200])
def test_a_row_alone_is_told_as_among_others(classes, top_k, decimals):
    rng = np.random.default_rng(classes)
    scores = rng.random((64, classes)).round(decimals)
    for threshold in (None, 0.5):
        described = Manifest(name="m", labels=("a", "b"), top_k=top_k, threshold=threshold)
        read_one = classify.create(described, (SCORES,))
        assert read_one.many({"scores": scores}, 64) == [read_one({"scores": row[None]}, NOTHING) for row in scores]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_is_found_wherever_it_stands(bad):
    read_one = classify.create(Manifest(name="m"), (SCORES,))
    for at in range(3):
        scores = np.full((1, 3), 0.3)
        scores[0, at] = bad
        with pytest.raises(SampleError, match="not finite"):
            read_one({"scores": scores}, NOTHING)
        assert read_one({"scores": np.full((1, 3), 0.3)}, NOTHING)[0].score == 0.3


def test_a_score_of_many_that_is_not_finite_is_left_to_be_told_one_by_one():
    described = Manifest(name="m", outputs=(Output(name="scores", role="scores"),))
    outputs = {"scores": np.array([[0.2, 0.5, 0.3], [0.1, np.nan, 0.1]])}
    assert classify.create(described, (SCORES,)).many(outputs, 2) is None


def test_a_class_that_no_one_named_is_left_to_be_told_alone():
    described = Manifest(name="m", outputs=tuple(Output(name=n, role=r) for n, r in SAID))
    outputs = {"label": np.array(["x", "y"], dtype=object), "scores": np.array([[0.2, 0.5, 0.3]] * 2)}
    assert classify.create(described, (LABEL, SCORES)).many(outputs, 2) is None
