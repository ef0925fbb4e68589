"""What a model is, told by its bytes."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import catboost
import joblib
import lightgbm
import pytest
import skops.io
import xgboost
from sklearn.ensemble import RandomForestClassifier
from support.tables import Split

import converter
from converter.cli import main
from converter.errors import UnrecognisedError, UnsupportedError
from converter.sources.recognise import recognise
from edge.errors import ConfigError, ModelError


def zipped(*names: str, data: bytes = b"") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, data)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "framework", "form"),
    [
        (b"CBM1" + bytes(60), "catboost", "catboost-cbm"),
        (b"tree\nversion=v4\n", "lightgbm", "lightgbm-txt"),
        (b'{"learner": {}, "version": [3, 2, 0]}', "xgboost", "xgboost-json"),
        (b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner{", "xgboost", "xgboost-ubj"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(60), "tflite", "tflite"),
        (b"\x08\x08\x12\x07pytorch" + bytes(60), "onnx", "onnx"),
        (b"\x89HDF\r\n\x1a\n" + bytes(60), "keras", "hdf5"),
        (zipped("config.json", "metadata.json", "model.weights.h5"), "keras", "keras"),
        (zipped("m/data.pkl", "m/version", "m/byteorder"), "torch", "torch-zip"),
        (zipped("m/data.pkl", "m/code/__torch__.py", "m/constants.pkl"), "torch", "torchscript"),
        (zipped("m/archive_format", "m/models/model.json"), "torch", "pt2"),
        (zipped("schema.json", data=b'{"__module__": "sklearn.svm._classes"}'), "sklearn", "skops"),
        (zipped("schema.json", data=b'{"__module__": "xgboost.sklearn"}'), "xgboost", "skops"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_file_is_told_by_its_bytes_and_not_by_its_name(
    content: bytes, framework: str, form: str, tmp_path: Path
) -> None:
    (tmp_path / "model.bin").write_bytes(content)

    source = recognise(tmp_path / "model.bin")

    assert (source.framework, source.form) == (framework, form)


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("lzma", 3), ("xz", 3)], ids=str)
def test_a_joblib_file_is_told_by_what_it_would_import(
    compress: object, forest: RandomForestClassifier, tmp_path: Path
) -> None:
    joblib.dump(forest, tmp_path / "model", compress=compress)

    source = recognise(str(tmp_path / "model"))

    assert (source.framework, source.form) == ("sklearn", "pickle")
    assert "sklearn.tree._tree.Tree" in source.globals
    assert "numpy.dtype" in source.globals


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_pickle_of_any_protocol_is_told(protocol: int, forest: RandomForestClassifier, tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(forest, protocol))

    assert recognise(tmp_path / "model.pkl").framework == "sklearn"


def test_folders_and_uris_are_told(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors:\n")
    assert recognise(tmp_path).framework == "mlflow"
    (tmp_path / "MLmodel").unlink()
    (tmp_path / "saved_model.pb").write_bytes(b"")
    assert recognise(tmp_path).framework == "tensorflow"
    assert recognise(tmp_path / "saved_model.pb").path == tmp_path
    assert recognise("models:/name@champion").uri == "models:/name@champion"


def test_a_native_object_is_told_by_its_package(forest: RandomForestClassifier) -> None:
    assert recognise(forest).framework == "sklearn"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"just some words", "no model file that the converter knows"),
        (b'{"learner": {', "cut short"),
        (b'{"a": 1}', "no 'learner'"),
        (zipped("a.txt"), "not of skops, Keras or PyTorch .*; give the model file in it"),
        (zipped("network.pt", "model_params.json"), r"weights of pytorch-tabnet .*torch\.save\(model\.network"),
        (zipped("schema.json")[:40], "cut short"),
        (
            pickle.dumps({"a": 1}),
            "a pickle of no model .*; it knows those of .*sklearn.*: save the model in it by itself",
        ),
        (pickle.dumps([1] * 100)[:50], "not a whole pickle"),
        (gzip.compress(pickle.dumps([1] * 5000))[:30], "cannot be read"),
        (json.dumps([1]).encode(), "no model file"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_is_no_model_is_named(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "thing").write_bytes(content)

    with pytest.raises(UnrecognisedError, match=reason):
        recognise(tmp_path / "thing")


def test_a_skops_file_cut_short_is_named(forest: RandomForestClassifier, tmp_path: Path) -> None:
    skops.io.dump(forest, tmp_path / "model.skops")
    whole = (tmp_path / "model.skops").read_bytes()
    (tmp_path / "model.skops").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(UnrecognisedError, match=r"model\.skops: a zip archive that is cut short"):
        recognise(tmp_path / "model.skops")


def test_a_thing_that_is_no_model_is_refused() -> None:
    with pytest.raises(UnrecognisedError, match="is no model that the converter knows"):
        recognise(object())


def test_an_unknown_framework_names_those_there_are(forest: RandomForestClassifier) -> None:
    with pytest.raises(ConfigError, match=r"known: catboost, .*sklearn"):
        recognise(forest, "sklaern")


def test_a_folder_of_no_model_says_what_would_make_it_one(tmp_path: Path) -> None:
    with pytest.raises(UnrecognisedError, match=r"a folder with neither MLmodel \(MLflow\) nor saved_model\.pb"):
        recognise(tmp_path)


BOOSTERS = {
    "xgboost": lambda: xgboost.XGBClassifier(n_estimators=3),
    "lightgbm": lambda: lightgbm.LGBMClassifier(n_estimators=3, verbose=-1),
    "catboost": lambda: catboost.CatBoostClassifier(iterations=3, verbose=0, allow_writing_files=False),
}


@pytest.mark.parametrize("framework", BOOSTERS)
def test_trees_on_tflite_are_refused_and_onnx_recommended(
    framework: str, wine: Split, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    joblib.dump(BOOSTERS[framework]().fit(wine.train, wine.target), tmp_path / "wine.joblib")

    typed = [str(tmp_path / "wine.joblib"), "--trust-pickle", "-o", str(tmp_path / "wine.tflite")]
    assert main(typed) == 3
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "convert to ONNX instead" in said


@pytest.mark.parametrize("framework", [*BOOSTERS, "sklearn"])
def test_a_pickle_of_another_thing_than_the_framework_s_model_is_named(
    framework: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    joblib.dump({"model": "elsewhere"}, tmp_path / "thing.joblib")

    typed = [str(tmp_path / "thing.joblib"), "--framework", framework, "--trust-pickle"]
    assert main([*typed, "-o", str(tmp_path / "thing.onnx")]) == 3
    assert "thing.joblib holds a dict, not a" in (said := capsys.readouterr().err)
    assert said.endswith("; save the model in it by itself, in a file of its own\n")


@pytest.mark.parametrize(("framework", "says"), [("catboost", "a CatBoost"), ("sklearn", "a scikit-learn")])
def test_an_object_is_what_the_user_says_it_is(framework: str, says: str) -> None:
    """Where its package is unknown, as that of a class of one's own is."""
    with pytest.raises(UnsupportedError, match=f"holds a dict, not {says}"):
        converter.convert({}, framework=framework)


def test_a_file_that_nothing_knows_is_what_the_user_says_it_is(tmp_path: Path) -> None:
    (tmp_path / "words.bin").write_bytes(b"just some words")

    source = recognise(tmp_path / "words.bin", "tflite")

    assert (source.framework, source.path) == ("tflite", tmp_path / "words.bin")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- a\n- list\n", "MLmodel does not describe an MLflow model"),
        ("flavors: [unclosed", "MLmodel cannot be read"),
        ("flavors:\n  spark: {}\n", "the flavour spark has no way to ONNX or TFLite here; the converter knows"),
        ("flavors:\n  sklearn:\n    pickled_model: gone.pkl\n", r"there is no model file in it \(gone\.pkl\)"),
    ],
)
def test_a_folder_of_mlflow_without_its_model_is_named(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text(text)

    with pytest.raises(ModelError, match=reason):
        converter.convert(tmp_path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"target": "tensorrt"}, "target='tensorrt': one of 'onnx', 'tflite' belongs there"),
        ({"sample_order": "size"}, "sample_order='size': 'time' belongs there, or leave it out"),
        ({"max_accuracy_drop": float("nan")}, "--max-accuracy-drop nan: a finite number belongs there"),
    ],
)
def test_a_choice_that_there_is_not_names_those_there_are(
    options: Any, says: str, forest: RandomForestClassifier
) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        converter.convert(forest, **options)
