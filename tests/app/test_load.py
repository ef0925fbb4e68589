"""`edge.load`: a model in a program of one's own, and what the program says of it."""

from __future__ import annotations

import pytest
from support import guessing, onnxmodels

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


def test_what_is_doubtful_about_how_a_file_is_read_is_in_the_log(tmp_path, caplog):
    edge.load(guessing.build(tmp_path / "seeing.onnx", guessing.picture(), {"y": guessing.random(1, 2)})).close()
    said = [record.getMessage() for record in caplog.records if record.name == "edge.model"]
    assert any(text.startswith("seeing.onnx: ") and "how pixels become numbers" in text for text in said)
