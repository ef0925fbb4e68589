from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

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
        ("20 km/h\n30 km/h\n50 km/h", ("20 km/h", "30 km/h", "50 km/h")),
        ("0-2\n3-9\n10-20", ("0-2", "3-9", "10-20")),
        ("a\r\r\nb\r\r\n", ("a", "b")),
        ("names:\n  0: Cat\n  1: Dog # small\n", ("Cat", "Dog")),
        ("train: x\nnc: 3\nnames: ['Cat', 'Dog''s', \"Bird, big\"]\n", ("Cat", "Dog's", "Bird, big")),
        ("names: ['a'', b', c]", ("a', b", "c")),
        ("names:\n- Cat\n- it's\nother: 1\n", ("Cat", "it's")),
        ("names:\n  0: 7\n  1: 8\n", ("7", "8")),
        ('{"Cat": 0, "Dog": 1}', ("Cat", "Dog")),
        ('{"0": 0, "1": 1, "10": 2}', ("0", "1", "10")),
        ('{"hidden": 768, "layers": 12}', ()),
        ('{"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0}}', ("a", "b")),
        ('{"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}', ("tench", "goldfish")),
        ("id,name\n0,Cat\n1,Dog\n", ("Cat", "Dog")),
        ('index,mid,display_name\n0,/m/1,"Speech, loud"\n1,/m/2,Dog\n', ("Speech, loud", "Dog")),
        ("name;colour\ncat;red\ndog;blue", ("cat", "dog")),
        ("cat,0\ndog,1", ("cat", "dog")),
        ("tench, Tinca tinca\ngoldfish, Carassius auratus", ("tench, Tinca tinca", "goldfish, Carassius auratus")),
        ("3 rooms\n1 room\n2 rooms", ("3 rooms", "1 room", "2 rooms")),
        ("1 euro\n2 euro", ("1 euro", "2 euro")),
        ("1 euro, 2 euro", ("1 euro", "2 euro")),
        ("2 dog\n0 cat\n1 bird", ("cat", "bird", "dog")),
        ("dog: 1\ncat: 0", ("cat", "dog")),
        ("classes:\n- cat\n- dog", ("cat", "dog")),
        ("- cat\n- dog", ("cat", "dog")),
        ('"cat"\n"dog"', ("cat", "dog")),
        ("cat; dog; cow", ("cat", "dog", "cow")),
        ('[{"id": 1, "name": "dog"}, {"id": 0, "name": "cat"}]', ("cat", "dog")),
        ('{"categories": [{"id": 1, "name": "a", "supercategory": "x"}, {"id": 2, "name": "b"}]}', ("???", "a", "b")),
        ('{"0": {"name": "cat"}, "1": {"name": "dog"}}', ("cat", "dog")),
        ('{"label2id": {"dog": 1, "cat": 0}}', ("cat", "dog")),
        ('{"class_to_idx": {"dog": 1, "cat": 0}}', ("cat", "dog")),
        ('"0","cat"\n"1","dog, small"', ("cat", "dog, small")),
        ("name,target\ncat,1\ndog,0", ("dog", "cat")),
        ("labels = ['cat', 'dog']\n", ("cat", "dog")),
        ("name,count\ncat,3\ndog,1\ncow,2", ("cat", "dog", "cow")),
        ("# my labels\n# of July\ncat\ndog\n", ("cat", "dog")),
        ("; animals\n0 cat\n# no animal\n1 car\n", ("cat", "car")),
        ("# made by hand\n# id,name\n1,cat\n2,dog\n", ("???", "cat", "dog")),
        ("#\n!\na", ("#", "!", "a")),
        ("#cat\n#dog", ("#cat", "#dog")),
        ("[labels]\n1 = dog\n0 = cat\n", ("cat", "dog")),
        ("[labels]\ncat = 0\ndog = 1\n", ("cat", "dog")),
        ("[labels]\ncat\ndog\n", ("cat", "dog")),
        ('[labels]\nnames = ["cat", "dog"] # two\n', ("cat", "dog")),
        ('title = "x"\n[model]\nlabels = ["cat",\n "dog"]\n', ("cat", "dog")),
        ('[[labels]]\nid = 1\nname = "dog"\n[[labels]]\nid = 0\nname = "cat"', ("cat", "dog")),
        ("[PAD]\n[UNK]\nthe", ("[PAD]", "[UNK]", "the")),
        ("[background]\ncat", ("[background]", "cat")),
        ('[[1, "dog"], [0, "cat"]]', ("cat", "dog")),
        ("[('cat', 0), ('dog', 1)]", ("cat", "dog")),
        ('[["n1", "cat"], ["n2", "dog"]]', ()),
        ("   \n", ()),
        ("{not python", ()),
    ],
)
def test_labels_are_read_from_the_forms_people_keep_them_in(text, expected):
    assert labels.parse(text) == expected


TWICE = {
    "JSON": '{"0": "cat", "0": "dog"}',
    "names to indexes": '{"cat": 0, "cat": 1}',
    "JSON of two writings": '{"0": "cat", "00": "dog"}',
    "Python": "{0: 'cat', 0: 'dog'}",
    "YAML": "names:\n  0: cat\n  0: dog\n",
    "CSV": "id,name\n1,cat\n1,dog\n",
    "records": '[{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]',
    "pbtxt": "item { id: 1 name: 'cat' }\nitem { id: 1 name: 'dog' }",
}


@pytest.mark.parametrize("text", [
    '{"id2label": {"0": "cat", "1": "dog"}, "label2id": {"dog": 0, "cat": 1}}',
    '{"class_to_idx": {"cat": 0, "dog": 1}, "idx_to_class": {"0": "cat", "1": "bird"}}',
])  # fmt: skip
def test_two_tables_that_disagree_are_no_labels_and_the_reason_is_told(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"says that . is '\w+', .* that it is"):
        labels.read(path)
    assert labels.beside(tmp_path / "m.onnx") == (path, ())


def test_a_list_of_names_that_comes_twice_in_yaml_is_told(tmp_path):
    path = tmp_path / "data.yaml"
    path.write_text("names: [cat, dog]\nnc: 2\nnames: [dog, cat]\n")
    with pytest.raises(ConfigError, match="'names' comes twice, in the lines 1 and 3"):
        labels.read(path)


@pytest.mark.parametrize("form", TWICE)
def test_an_index_that_comes_twice_is_refused_and_beside_a_model_left_out_with_the_reason(tmp_path, form):
    path = tmp_path / "labels.txt"
    path.write_text(TWICE[form])
    with pytest.raises(ConfigError, match="comes twice, as"):
        labels.read(path)
    assert labels.beside(tmp_path / "m.onnx") == (path, ())
    assert "comes twice" in labels.doubts(path)[0]


@pytest.mark.parametrize(
    ("text", "doubtful"),
    [
        ("3 rooms\n1 room\n2 rooms", True),
        ("1 euro\n2 pounds", True),
        ("2 dog\n0 cat\n1 bird", True),
        ("0: cat\n0: dog", True),
        ("0 cat\n1 dog", False),
        ("1: cat\n2: dog", False),
        ("1 euro\n2 euro", False),
        ("5 euro\n10 euro", False),
    ],
)
def test_numbers_before_names_that_may_be_either_are_told(tmp_path, text, doubtful):
    path = tmp_path / "labels.txt"
    path.write_text(text)
    assert bool(labels.doubts(path)) == doubtful


NAMES = ("cat", "dog")
IMAGENET = tuple(f"c{i}" for i in range(1000))


@pytest.mark.parametrize(
    ("names", "classes", "expected"),
    [
        (("background", *NAMES), 2, NAMES),
        (("???", *NAMES), 2, NAMES),
        (IMAGENET, 1001, ("background", *IMAGENET)),
        (("background", *IMAGENET), 1000, IMAGENET),
        (NAMES, 2, NAMES),
        (NAMES, 0, NAMES),
        (("???", "cat", "???", "dog"), 2, NAMES),
        ((), 5, ()),
    ],
)
def test_labels_fit_where_only_the_background_is_amiss(names, classes, expected):
    assert labels.align(names, classes) == expected


@pytest.mark.parametrize(("count", "classes"), [(2, 3), (3, 2), (2, 9), (80, 91), (1001, 1000)])
def test_labels_that_do_not_fit_are_none(count, classes):
    names = tuple(f"c{i}" for i in range(count))
    assert labels.align(names, classes) == ()
    with pytest.raises(ConfigError, match=f"--labels: {count} labels for a model of {classes} classes"):
        labels.require_fit(names, classes)


def test_a_column_for_the_background_is_named_where_the_model_has_one():
    assert labels.align(NAMES, 3, background=True) == ("background", *NAMES)


HEADERS = ("background", "name", "names", "label", "labels", "class", "classes", "category", "title")
word = st.text("abcdefghijklmnopqrstuvwxyzäßé' -", min_size=2, max_size=12).filter(
    lambda w: w[0].isalpha() and w == w.strip() and w not in HEADERS
)


def lines(w, header, template, turn=lambda pairs: pairs):
    """A table: a header, and a line for each name and its number."""
    return "\n".join([header, *(template.format(i=i, n=n) for i, n in turn(list(enumerate(w))))])


words = st.lists(word, min_size=2, max_size=30, unique=True)

FORMS = {
    "lines": lambda w: "\n".join(w) + "\n",
    "numbered": lambda w: "\n".join(f"{i} {n}" for i, n in enumerate(w)),
    "colons": lambda w: "\n".join(f"{i}: {n}" for i, n in enumerate(w)),
    "commas": lambda w: "\n".join(f"{i},{n}" for i, n in enumerate(w)),
    "csv": lambda w: "id,name\n" + "\n".join(f"{i},{n}" for i, n in enumerate(w)),
    "csv shuffled": lambda w: "class_name,class_id\n" + "\n".join(f"{n},{i}" for i, n in reversed(list(enumerate(w)))),
    "csv of names and numbers": lambda w: lines(w, "name,label", "{n},{i}", reversed),
    "csv of targets": lambda w: lines(w, "target,name", "{i},{n}", reversed),
    "csv of numbered classes": lambda w: lines(w, "class,species", "{i},{n}"),
    "csv of signs": lambda w: lines(w, "ClassId,SignName", "{i},{n}"),
    "label_names": lambda w: json.dumps({"architecture": "vit", "label_names": list(w)}),
    "list": lambda w: json.dumps(list(w)),
    "categories": lambda w: json.dumps({"categories": [{"id": i, "name": n} for i, n in reversed(list(enumerate(w)))]}),
    "label2id": lambda w: json.dumps({"label2id": {n: i for i, n in reversed(list(enumerate(w)))}}),
    "numbers behind": lambda w: "\n".join(f"{n}: {i}" for i, n in reversed(list(enumerate(w)))),
    "python": lambda w: repr(dict(enumerate(w))),
    "tuple": lambda w: "NAMES = (\n" + "".join(f"    {n!r},\n" for n in w) + ")",
    "between brackets": lambda w: ",\n".join(json.dumps(n) for n in w),
    "csv of pandas": lambda w: lines(w, ",label", "{i},{n}"),
    "class_indices": lambda w: json.dumps({n: i for i, n in enumerate(w)}),
    "id2label": lambda w: json.dumps({"model_type": "vit", "id2label": {str(i): n for i, n in enumerate(w)}}),
    "data.yaml": lambda w: yaml.safe_dump({"nc": len(w), "names": list(w), "train": "images"}, allow_unicode=True),
    "data.yaml by index": lambda w: yaml.safe_dump({"names": dict(enumerate(w))}, allow_unicode=True),
    "data.yaml in a line": lambda w: yaml.safe_dump({"names": list(w)}, default_flow_style=None, width=10_000),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "dress", [lambda t: t, lambda t: "\ufeff" + t.replace("\n", "\r\n") + "\r\n\r\n"], ids=["", "Windows"]
)
@given(names=words)
def test_every_form_gives_the_same_names(form, dress, names):
    assert labels.parse(dress(FORMS[form](names))) == tuple(names)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_file_is_read_in_the_encodings_of_windows(tmp_path, encoding):
    path = tmp_path / "labels.txt"
    path.write_bytes("Käse\nBrot\n".encode(encoding))
    assert labels.read(path) == ("Käse", "Brot")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("names", [("cat", "dog"), ("kočka", "пёс"), ("猫", "犬")])
def test_a_file_in_utf_16_without_a_mark_or_in_utf_32_is_read(tmp_path, encoding, names):
    path = tmp_path / "labels.txt"
    path.write_bytes("\n".join([*names, ""]).encode(encoding))
    assert labels.read(path) == names


@pytest.mark.parametrize(("content", "reason"), [
    (b"cat\n# these are cars\ncar\n", "may be a comment or a class"),
    (b"# nothing\n# else\n", "only lines of comments"),
    (b"[net]\nbatch=1\nwidth=2\n", r"'\[net\]' heads a section"),
    (b"[animals]\ncat\n[cars]\ncar\n", r"'\[animals\]' heads a section"),
    (b"[labels]\nfile = x.txt\n0 = cat\n", r"'\[labels\]' heads a section"),
    (b"cat\0dog\0\0", "zero bytes"),
    (b'[[0, "cat"], [0, "dog"]]', "0 comes twice"),
])  # fmt: skip
def test_what_may_not_be_labels_is_refused_with_the_reason(tmp_path, content, reason):
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=reason):
        labels.read(path)
    assert labels.beside(tmp_path / "m.onnx") == (path, ())


@pytest.mark.parametrize("name", ["data.yaml", "class_indices.json", "config.json"])
def test_the_files_of_other_tools_beside_a_model_are_read(tmp_path, name):
    texts = {
        "data.yaml": "names: [a, b]\n",
        "class_indices.json": '{"a": 0, "b": 1}',
        "config.json": '{"id2label": {"0": "a", "1": "b"}}',
    }
    (tmp_path / name).write_text(texts[name])
    assert labels.beside(tmp_path / "m.onnx") == (tmp_path / name, ("a", "b"))


def test_the_hubs_folder_of_onnx_files_has_its_labels_above(tmp_path):
    (tmp_path / "onnx").mkdir()
    (tmp_path / "config.json").write_text('{"id2label": {"0": "a", "1": "b"}}')
    assert labels.beside(tmp_path / "onnx" / "model.onnx") == (tmp_path / "config.json", ("a", "b"))


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


@pytest.mark.parametrize("first", ["no", "number", "id"])
def test_a_class_that_is_called_like_an_index_is_no_title(first):
    assert labels.parse(f"{first}\nyes\nup\n") == (first, "yes", "up")


def test_a_device_that_never_ends_is_no_list_of_labels() -> None:
    with pytest.raises(ConfigError, match="--labels /dev/zero: it is larger than 16 MB"):
        labels.read(Path("/dev/zero"))
