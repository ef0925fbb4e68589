"""`edge.load`: a model in a program of one's own, and what the program says of it."""

from __future__ import annotations

import pytest
from support import onnxmodels

import edge
from edge.errors import ConfigError


@pytest.fixture
def scores(tmp_path):
    return onnxmodels.scores(tmp_path / "m.onnx", classes=2, features=2)


def test_a_program_names_the_classes_as_the_flag_does(scores):
    model = edge.load(scores, overrides=edge.Overrides(task="classify", labels=("cat", "dog"), top_k=1))

    (best,) = model.predict([0.0, 0.0]).predictions
    assert best.label in ("cat", "dog")


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (edge.Overrides(task="clasify"), "task clasify: one of classify"),
        (edge.Overrides(labels=("cat", "dog", "cow")), "3"),
        (edge.Overrides(layout="NHWC"), "--layout: this model takes no picture"),
    ],
)
def test_what_the_flag_would_refuse_is_refused(scores, said, answer):
    with pytest.raises(ConfigError, match=answer):
        edge.load(scores, overrides=said)
