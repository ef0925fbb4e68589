"""What a model is, told by its bytes."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import zipfile
from pathlib import Path

import joblib
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier

from converter.errors import UnrecognisedError
from converter.sources.recognise import recognise
from edge.errors import ConfigError


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
        (zipped("a.txt"), "not of skops, Keras or PyTorch"),
        (zipped("schema.json")[:40], "cut short"),
        (pickle.dumps({"a": 1}), "a pickle of no model"),
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
