"""A flag that `edge-run` and `edge-convert` share means the same to both, and to `converter.convert`."""

from __future__ import annotations

import logging

import pytest
from support import onnxmodels

import converter
from converter import cli
from edge.app import loading
from edge.errors import ConfigError
from edge.model.manifest import Manifest
from edge.settings import layers, options
from edge.settings.settings import ManifestSettings, Settings

SHARES = ("--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225")
PIXELS = ("--mean", "123.675,116.28,103.53", "--std", "58.395,57.12,57.375")


@pytest.fixture
def model(tmp_path):
    return onnxmodels.mean(tmp_path / "mean.onnx", size=32)


@pytest.fixture
def run(model, tmp_path):
    """The manifest that `edge-run --model mean.onnx` goes by with these flags."""

    def manifest(*flags: str, file=model) -> Manifest:
        settings = layers.read(["--model", str(file), "--state-dir", str(tmp_path), *flags], {}, "0")
        loaded = loading.open_model(settings)
        loaded.engine.close()
        return loaded.manifest

    return manifest


@pytest.fixture
def convert(model, run, tmp_path, capsys):
    """The manifest of the file that `edge-convert mean.onnx` writes with these flags."""

    def manifest(*flags: str) -> Manifest:
        assert cli.main([str(model), "-o", str(tmp_path / "converted.onnx"), *flags]) == 0, capsys.readouterr().err
        return run(file=tmp_path / "converted.onnx")

    return manifest


def picture(manifest: Manifest) -> dict[str, object]:
    (image,) = [i for i in manifest.inputs if i.kind == "image"]
    return {name: getattr(image, name) for name in ("size", "layout", "color", "resize", "mean", "std")}


@pytest.mark.parametrize(
    "flags",
    [
        SHARES,
        PIXELS,
        ("--mean", "0.5", "--std", "0.5"),
        ("--std", "1"),
        ("--input-size", "32x32", "--color", "BGR", "--resize", "crop"),
        ("--input-size", "32", "--layout", "NCHW"),
    ],
    ids=" ".join,
)
def test_a_picture_is_described_alike_by_the_flags_of_both(run, convert, flags):
    assert picture(run(*flags)) == picture(convert(*flags))


def test_shares_and_pixel_values_are_the_same_picture_to_both_and_to_python(model, run, convert):
    as_shares, as_pixels = picture(run(*SHARES)), picture(run(*PIXELS))
    for name in ("mean", "std"):
        assert as_shares[name] == pytest.approx(as_pixels[name])
        assert picture(convert(*SHARES))[name] == as_shares[name]
    artifact = converter.convert(model, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    assert picture(artifact.manifest)["mean"] == as_shares["mean"]


def test_how_mean_and_std_were_understood_is_in_the_log_of_one_and_in_the_table_of_the_other(
    run, convert, caplog, capsys
):
    with caplog.at_level(logging.INFO):
        run(*SHARES)
    (record,) = [r for r in caplog.records if r.message == "normalization"]
    assert "understood as shares of 255: in pixel values mean 123.675,116.28,103.53" in record.note
    convert(*PIXELS)
    assert "understood as pixel values" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("flags", [("--mean", "0.485,116.28,103.53"), ("--mean", "0.5", "--std", "58.4")], ids=" ".join)
def test_a_mix_of_shares_and_pixel_values_is_2_for_both(run, model, tmp_path, capsys, flags):
    with pytest.raises(ConfigError, match="say all of them in the same measure"):
        run(*flags)
    assert cli.main([str(model), "-o", str(tmp_path / "x.onnx"), *flags]) == 2
    assert "say all of them in the same measure" in capsys.readouterr().err


def test_a_flag_for_pictures_is_2_for_both_where_the_model_takes_none(tmp_path, run, capsys):
    table = onnxmodels.scores(tmp_path / "scores.onnx", classes=3, features=4)
    with pytest.raises(ConfigError, match="--color: this model takes no picture"):
        run("--color", "BGR", file=table)
    assert cli.main([str(table), "-o", str(tmp_path / "x.onnx"), "--color", "BGR"]) == 2
    assert "--color: this model takes no picture" in capsys.readouterr().err


@pytest.mark.parametrize("said", ["labels.txt", "labels.yaml", "cat,dog,eel"])
def test_labels_are_read_by_both_from_the_same_files_or_from_the_flag(tmp_path, run, monkeypatch, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.txt").write_text("0 cat\n1 dog\n2 eel\n", encoding="utf-16")
    (tmp_path / "labels.yaml").write_text("names:\n  0: cat\n  1: dog\n  2: eel\n")
    table = onnxmodels.scores(tmp_path / "scores.onnx", classes=3, features=4)
    flags = ("--task", "classify", "--labels", said)
    assert run(*flags, file=table).labels == ("cat", "dog", "eel")
    assert cli.main([str(table), "-o", str(tmp_path / "x.onnx"), *flags]) == 0
    (tmp_path / "labels.txt").unlink()
    (tmp_path / "labels.yaml").unlink()
    assert run(file=tmp_path / "x.onnx").labels == ("cat", "dog", "eel")


def test_a_name_that_is_no_file_is_told_with_the_other_way_to_both(tmp_path, run, model, capsys):
    with pytest.raises(ConfigError, match="--labels cat: there is no such file; or give the names with commas"):
        run("--labels", "cat")
    assert cli.main([str(model), "-o", str(tmp_path / "x.onnx"), "--labels", "cat"]) == 2
    assert "there is no such file; or give the names with commas" in capsys.readouterr().err


def test_every_shared_flag_is_declared_once_and_known_to_both():
    shared = {option.name: option.flag for option in options.of(ManifestSettings)}
    for arguments in (Settings, cli.Arguments):
        ours = {option.name: option.flag for option in options.of(arguments)}
        assert shared.items() <= ours.items()
