from __future__ import annotations

import pytest

from edge.errors import ConfigError
from edge.model import labels


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat\ndog\n", ("cat", "dog")),
        ("\ufeffcat\r\ndog\r\n\r\n", ("cat", "dog")),
        ("0 cat\n1 dog\n", ("cat", "dog")),
        ("0,cat\n2,dog\n", ("cat", "???", "dog")),
        ("1: cat\n2: dog", ("???", "cat", "dog")),
        ("person\n???\ncar", ("person", "???", "car")),
        ("n01440764 tench, Tinca tinca\nn01443537 goldfish", ("tench, Tinca tinca", "goldfish")),
        ("{0: 'cat', 1: 'dog'}", ("cat", "dog")),
        ('["cat", "dog"]', ("cat", "dog")),
        ('{"0": "cat", "1": "dog"}', ("cat", "dog")),
        ("cat, dog, cow", ("cat", "dog", "cow")),
        (
            'item {\n name: "/m/01"\n id: 2\n display_name: "dog"\n}\nitem { id: 1 name: \'cat\' }',
            ("???", "cat", "dog"),
        ),
        ("3 point turn\nhop", ("3 point turn", "hop")),
        ("2 wheels\n4 wheels", ("???", "???", "wheels", "???", "wheels")),
        ("   \n", ()),
        ("{not python", ()),
    ],
)
def test_labels_are_read_from_the_forms_people_keep_them_in(text, expected):
    assert labels.parse(text) == expected


@pytest.mark.parametrize(
    ("names", "classes", "expected"),
    [
        (("background", "cat", "dog"), 2, ("cat", "dog")),
        (("???", "cat", "dog"), 2, ("cat", "dog")),
        (("cat", "dog"), 3, ("background", "cat", "dog")),
        (("cat", "dog"), 2, ("cat", "dog")),
        (("cat", "dog"), 9, ("cat", "dog")),
        (("cat", "dog"), 0, ("cat", "dog")),
        ((), 5, ()),
    ],
)
def test_labels_are_shifted_where_only_the_background_is_amiss(names, classes, expected):
    assert labels.align(names, classes) == expected


def test_the_models_own_labels_come_before_the_usual_name(tmp_path):
    (tmp_path / "labels.txt").write_text("wrong\n")
    (tmp_path / "bird_labels.txt").write_text("robin\nwren\n")
    assert labels.beside(tmp_path / "bird.onnx") == (tmp_path / "bird_labels.txt", ("robin", "wren"))
    assert labels.beside(tmp_path / "fish.onnx") == (tmp_path / "labels.txt", ("wrong",))


def test_the_only_file_that_is_named_like_labels_is_taken(tmp_path):
    (tmp_path / "README.txt").write_text("labels")
    assert labels.beside(tmp_path / "m.onnx") is None
    (tmp_path / "VOC-class-names.txt").write_text("a\nb\n")
    assert labels.beside(tmp_path / "m.onnx") == (tmp_path / "VOC-class-names.txt", ("a", "b"))
    (tmp_path / "old_labels.txt").write_text("c\n")
    assert labels.beside(tmp_path / "m.onnx") is None


def test_prose_beside_a_model_is_no_list_of_labels(tmp_path):
    (tmp_path / "m.txt").write_text("This model was trained " * 20)
    assert labels.beside(tmp_path / "m.onnx") is None


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_file_of_labels_is_told(tmp_path, content):
    path = tmp_path / "labels.txt"
    path.write_text(content)
    with pytest.raises(ConfigError, match="no labels in it"):
        labels.read(path)


def test_a_file_of_labels_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        labels.read(tmp_path / "none.txt")
