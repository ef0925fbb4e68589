"""The file on the disk: whole, with its manifest, or not there at all."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from sklearn.ensemble import RandomForestClassifier
from support.tables import Split

import converter
from converter import model_file
from converter.artifact import Artifact
from converter.errors import OutputError
from edge.engines import onnxruntime
from edge.errors import ModelError
from edge.model import container, golden
from edge.model.manifest import TFLITE_ENTRY, decode
from edge.plugins.protocols import EngineOptions


@pytest.fixture(scope="module")
def artifact(forest: RandomForestClassifier, wine: Split) -> Artifact:
    return converter.convert(forest, sample=wine.held, name="wine", version="7")


def test_the_manifest_travels_inside_an_onnx_file(artifact: Artifact, tmp_path: Path) -> None:
    path = artifact.save(tmp_path / "wine.onnx")

    engine = onnxruntime.load(path, EngineOptions())
    manifest = container.read_manifest(path, engine.metadata)
    assert manifest is not None
    assert (manifest.name, manifest.version) == ("wine", "7")
    assert manifest.provenance is not None
    assert manifest.provenance.versions["scikit-learn"]
    assert manifest.provenance.passes == (), "a forest is left as it is"


def test_golden_samples_come_out_again(artifact: Artifact, tmp_path: Path) -> None:
    path = artifact.save(tmp_path / "wine.onnx")

    assert len(artifact.manifest.golden) == 4
    assert golden.replay(onnxruntime.load(path, EngineOptions()), artifact.manifest, file="wine.onnx") == 0.0


def test_other_metadata_of_the_file_stays(artifact: Artifact) -> None:
    model = onnx.load_model_from_string(artifact.model)
    onnx.helper.set_model_props(model, {"author": "somebody", "edge.manifest": "{}"})

    packed = onnx.load_model_from_string(model_file.pack("onnx", model.SerializeToString(), artifact.manifest))

    keys = [p.key for p in packed.metadata_props]
    assert sorted(keys) == ["author", "edge.manifest"]
    assert decode(next(p.value for p in packed.metadata_props if p.key == "edge.manifest")).name == "wine"


def test_a_tflite_file_keeps_its_archive_and_gets_one_manifest(artifact: Artifact) -> None:
    body = io.BytesIO(b"\x1c\x00\x00\x00TFL3" + b"model" * 20)
    body.seek(0, io.SEEK_END)
    with zipfile.ZipFile(body, "a") as archive:
        archive.writestr("labels.txt", "cat\ndog\n")
    tflite = replace(artifact, target="tflite", model=body.getvalue())

    once = model_file.pack("tflite", tflite.model, tflite.manifest)
    twice = model_file.pack("tflite", once, tflite.manifest)

    assert once[:108] == body.getvalue()[:108]
    assert twice == once
    with zipfile.ZipFile(io.BytesIO(twice)) as archive:
        assert sorted(archive.namelist()) == [TFLITE_ENTRY, "labels.txt"]
        assert decode(archive.read(TFLITE_ENTRY)).name == "wine"


def test_what_was_there_stays_until_the_new_file_is_whole(artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "wine.onnx").write_text("the old one")

    artifact.save(tmp_path / "wine.onnx")

    assert (tmp_path / "wine.onnx").stat().st_size > 1000
    assert [p.name for p in tmp_path.iterdir()] == ["wine.onnx"]


def test_a_folder_that_is_not_there_is_named(artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot be written .*No such file"):
        artifact.save(tmp_path / "nowhere" / "wine.onnx")


def test_no_space_left_leaves_what_was_there(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: the error comes from the same call."""
    (tmp_path / "wine.onnx").write_text("the old one")
    program = (
        "import resource; from pathlib import Path; from converter.model_file import write_whole;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); write_whole(Path('wine.onnx'), bytes(5000))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False
    )

    assert "OutputError: wine.onnx: cannot be written (5000 bytes): File too large" in done.stderr
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("wine.onnx", "the old one")]


def test_an_artifact_that_nobody_compared_is_not_written(artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has not been compared"):
        replace(artifact, comparison=None).save(tmp_path / "wine.onnx")

    assert list(tmp_path.iterdir()) == []


def test_the_suffix_has_to_be_the_target_s(artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"has to be named \*\.onnx"):
        artifact.save(tmp_path / "wine.tflite")
